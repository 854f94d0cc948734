//! Columns and members that are not known, or known more than once: what was meant.

use datafusion::common::{Column, Diagnostic};
use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::expressions;
use super::known::Known;
use super::outputs::output;
use crate::error::Error;
use crate::file::Location;
use crate::names::{listed, nearest, written};
use crate::text::Text;

/// A name that is no column's.
pub(super) fn unknown_column(
    field: &Column,
    valid: &[Column],
    query: Option<&Query>,
    text: &Text,
    at: Option<Location>,
) -> Error {
    let at = at.or_else(|| text.word(field.name())).unwrap_or_else(|| text.head());
    let message = match &field.relation {
        Some(relation) => format!("{relation} has no column {}", field.name()),
        None => format!("no column is named {}", field.name()),
    };
    Error { message, help: meant(field, valid, query, text, &at), at }
}

fn meant(field: &Column, valid: &[Column], query: Option<&Query>, text: &Text, at: &Location) -> Option<String> {
    let name = field.name();
    let names: Vec<&str> = valid.iter().map(Column::name).filter(|name| !name.contains('(')).collect();
    if let Some(exact) = names.iter().find(|other| **other != name && other.eq_ignore_ascii_case(name)) {
        return Some(format!("did you mean {}? Quotes keep capital letters", written(exact)));
    }
    if let Some(other) = valid.iter().find(|column| column.name() == name) {
        return Some(format!("did you mean {}?", other.flat_name()));
    }
    if field.relation.is_none() && query.is_some_and(|query| expressions::is_alias(query, name)) {
        return Some(format!(
            "SELECT gives the name {name} to what it computes, after this is read: write the expression here, or read {name} from a \
             subquery in FROM"
        ));
    }
    if let Some(near) = nearest(name, names.iter().copied()) {
        return Some(format!("did you mean {}?", written(near)));
    }
    if field.relation.is_none() && is_in_double_quotes(name, text, at) {
        return Some(format!("double quotes are for names: for a text write '{name}'"));
    }
    (!names.is_empty()).then(|| format!("there are {}", listed(&names)))
}

/// Whether a name was written in double quotes at a place.
fn is_in_double_quotes(name: &str, text: &Text, at: &Location) -> bool {
    text.tokens.iter().any(|token| {
        matches!(&token.token, Token::Word(word) if word.quote_style == Some('"') && word.value == name)
            && text.span(token.span).offset == at.offset
    })
}

/// A name that is no member's of a struct.
pub(super) fn unknown_member(name: &str, text: &Text, known: &Known) -> Error {
    let help = match nearest(name, known.members.iter().map(String::as_str)) {
        Some(near) if near != name && near.eq_ignore_ascii_case(name) => {
            Some(format!("did you mean {}? Quotes keep capital letters", written(near)))
        }
        Some(near) => Some(format!("did you mean {}?", written(near))),
        None if known.members.is_empty() => None,
        None => Some(format!("there are {}", listed(&known.members))),
    };
    let at = text.literal(name).or_else(|| text.word(name)).unwrap_or_else(|| text.head());
    Error { message: format!("the struct has no member {name}"), help, at }
}

/// The columns that an ambiguous name can mean, as they have to be written.
pub(super) fn qualified(diagnostic: Option<&Diagnostic>, name: &str) -> String {
    let notes = diagnostic.map(|found| found.notes.as_slice()).unwrap_or_default();
    let columns = notes.iter().filter_map(|note| note.message.strip_prefix("possible column "));
    let columns: Vec<&str> =
        columns.filter(|column| column.rsplit('.').next().is_some_and(|last| last.trim_matches('"') == name)).collect();
    match columns.as_slice() {
        [] => format!("relation.{name}"),
        columns => columns.join(" or "),
    }
}

/// Two columns of one SELECT with one name.
pub(super) fn twin_columns(name: &str, query: Option<&Query>, text: &Text) -> Error {
    Error {
        message: format!("two columns of the view are named {name}"),
        help: Some("give one of them another name with AS".to_owned()),
        at: query.and_then(|query| output(query, name, text)).or_else(|| text.word("SELECT")).unwrap_or_else(|| text.head()),
    }
}
