//! The relations that a view's query names.

use std::collections::BTreeSet;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use datafusion::sql::sqlparser::tokenizer::Token;

use crate::catalog::read::Declarations;
use crate::catalog::views::Declared;
use crate::dialect::TIME_WINDOWS;
use crate::error::Error;
use crate::file::Location;
use crate::names::nearest;
use crate::text::Text;
use crate::time_windows::relations_named;

/// Returns the relations that a view's query names. Undeclared ones go to `errors`. A name that an invalid statement declares is
/// returned too, so that the view is skipped.
pub(super) fn relations_read_by(view: &Declared, declarations: &Declarations, errors: &mut Vec<Error>) -> BTreeSet<String> {
    let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(view.query.clone()))));
    let Ok(references) = relations_named(&statement) else {
        return BTreeSet::new();
    };
    let mut named = BTreeSet::new();
    for reference in references {
        let name = reference.table().to_owned();
        let known = declarations.sources.contains_key(&name) || declarations.views.contains_key(&name);
        if let Some(schema) = reference.schema() {
            errors.push(Error {
                message: format!("there is no {reference}: names have no schema here"),
                help: Some(if known {
                    format!("write {name}")
                } else if schema == "information_schema" {
                    "run `alluvium status` and `alluvium check` for what is declared".to_owned()
                } else {
                    "read a source or a view that these files declare".to_owned()
                }),
                at: relation_place(&view.text, schema),
            });
        } else if !known
            && !declarations.broken.contains(&name)
            && !declarations.table_functions.contains(&name)
            && !is_time_window(&name)
        {
            let candidates = declarations.sources.keys().chain(declarations.views.keys()).map(String::as_str);
            let functions = declarations.table_functions.iter().map(String::as_str).chain(TIME_WINDOWS);
            let relation = nearest(&name, candidates.clone().filter(|candidate| *candidate != view.name));
            let help = match relation.or_else(|| view.text.call_only(&name).and_then(|_| nearest(&name, functions))) {
                Some(near) => format!("did you mean {near}?"),
                None => {
                    let all: Vec<&str> = candidates.filter(|candidate| *candidate != view.name).collect();
                    let all =
                        if all.is_empty() { "there is none yet".to_owned() } else { format!("there are {}", all.join(", ")) };
                    format!("{all}; declare another with CREATE EXTERNAL TABLE")
                }
            };
            errors.push(Error {
                message: format!("no source or view is named {name}"),
                help: Some(help),
                at: relation_place(&view.text, &name),
            });
        } else if !known && (declarations.table_functions.contains(&name) || is_time_window(&name)) {
            continue;
        }
        named.insert(name);
    }
    named
}

/// Checks whether a name is that of TUMBLE, HOP or SESSION. Planning the call reports what is wrong with it.
fn is_time_window(name: &str) -> bool {
    TIME_WINDOWS.iter().any(|window| name.eq_ignore_ascii_case(window))
}

/// Returns the place where a relation is read: its name after FROM, JOIN or a comma.
fn relation_place(text: &Text, name: &str) -> Location {
    let is_name = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_some() => word.value == name,
        Token::Word(word) => word.value.to_lowercase() == name,
        Token::SingleQuotedString(value) => value == name,
        _ => false,
    };
    let read = text.tokens.windows(2).find(|pair| {
        let before = match &pair[0].token {
            Token::Word(word) => ["FROM", "JOIN", "TABLE"].contains(&word.value.to_uppercase().as_str()),
            Token::Comma | Token::LParen => true,
            _ => false,
        };
        before && is_name(&pair[1].token)
    });
    let read = read.map(|pair| &pair[1]).or_else(|| text.tokens.iter().find(|token| is_name(&token.token)));
    read.map_or_else(|| text.head(), |token| text.span(token.span))
}
