//! Reads every statement of the files, before anything is planned.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{CreateFunction, Statement as SqlStatement};
use datafusion::sql::sqlparser::tokenizer::{Span, Token};

use crate::catalog::diagnose::internal;
use crate::catalog::functions::{self, Function};
use crate::catalog::statements::{Parsed, parse};
use crate::catalog::views::Declared;
use crate::catalog::{sources, views};
use crate::declarations::Source;
use crate::error::Error;
use crate::file::{Location, SqlFile};
use crate::schemas::Schemas;
use crate::session::{Names, session_state};
use crate::text::Text;

/// What the files declare, before planning.
#[derive(Default)]
pub(super) struct Declarations {
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) views: BTreeMap<String, Declared>,
    /// Names that invalid statements declare. A view that reads one is not to blame.
    pub(super) broken: BTreeSet<String>,
    pub(super) table_functions: BTreeSet<String>,
    /// Names of all functions, for messages.
    pub(super) function_names: BTreeSet<String>,
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) broken_functions: BTreeSet<String>,
}

/// Reads all statements. `None` if no session can be created.
pub(super) fn read(files: &[SqlFile], schemas: &Schemas<'_>, errors: &mut Vec<Error>) -> Option<Declarations> {
    let mut found = Declarations::default();
    let mut places: BTreeMap<String, Location> = BTreeMap::new();
    let state = match session_state() {
        Ok(state) => state,
        Err(error) => {
            errors.extend(
                files.first().map(|file| internal(&error, Location { file: Arc::new(file.clone()), offset: 0, length: 1 })),
            );
            return None;
        }
    };
    found.table_functions = state.table_functions().keys().cloned().collect();
    found.function_names = state
        .scalar_functions()
        .keys()
        .chain(state.aggregate_functions().keys())
        .chain(state.window_functions().keys())
        .cloned()
        .collect();
    let names = Names { state: &state, tables: BTreeMap::new() };
    for file in files {
        let file = Arc::new(file.clone());
        let (statements, broken) = parse(&file, errors);
        for text in &broken {
            found.declared_wrongly(text);
        }
        for parsed in statements {
            let (name, at) = match &parsed.statement {
                Statement::CreateExternalTable(statement) => {
                    let Some(source) = sources::source(statement, &parsed.text, (&names, schemas), errors) else {
                        found.declared_wrongly(&parsed.text);
                        continue;
                    };
                    let (name, at) = (source.name.clone(), parsed.text.span(name_span(&parsed.text)));
                    if !places.contains_key(&name) {
                        found.sources.insert(name.clone(), source);
                    }
                    (name, at)
                }
                Statement::Statement(statement) if matches!(statement.as_ref(), SqlStatement::CreateFunction(_)) => {
                    let SqlStatement::CreateFunction(statement) = statement.as_ref() else { continue };
                    found.function(statement, &parsed.text, &names, errors);
                    continue;
                }
                Statement::Statement(statement) => {
                    let Some(view) = declared_view(statement, &parsed, errors) else {
                        found.declared_wrongly(&parsed.text);
                        continue;
                    };
                    let (name, at) = (view.name.clone(), view.name_at.clone());
                    if !places.contains_key(&name) {
                        found.views.insert(name.clone(), view);
                    }
                    (name, at)
                }
                _ => continue,
            };
            match places.get(&name) {
                Some(first) => errors.push(declared_twice(&name, first, at)),
                None => {
                    places.insert(name, at);
                }
            }
        }
    }
    Some(found)
}

fn declared_twice(name: &str, first: &Location, at: Location) -> Error {
    let (line, column) = first.line_column();
    Error {
        message: format!("{name} is declared twice, first at {}:{line}:{column}", first.file.path),
        help: Some("give one of them another name, or delete it".to_owned()),
        at,
    }
}

impl Declarations {
    fn function(&mut self, statement: &CreateFunction, text: &Text, names: &Names<'_>, errors: &mut Vec<Error>) {
        match functions::declared(statement, text, names, &self.function_names, errors) {
            None => self.declared_wrongly(text),
            Some(function) => match self.functions.get(&function.name) {
                Some(first) => errors.push(declared_twice(&function.name, &first.name_at, function.name_at.clone())),
                None => {
                    self.functions.insert(function.name.clone(), function);
                }
            },
        }
    }

    /// Remembers the name that an invalid statement means to declare, as far as its words tell.
    fn declared_wrongly(&mut self, text: &Text) {
        if let Some(name) = name_after(text, &["TABLE", "VIEW"]) {
            self.broken.insert(name);
        } else if let Some(name) = name_after(text, &["FUNCTION"]) {
            self.broken_functions.insert(name);
        }
    }
}

fn declared_view(statement: &SqlStatement, parsed: &Parsed, errors: &mut Vec<Error>) -> Option<Declared> {
    match statement {
        SqlStatement::CreateView(view) => views::declared(view, parsed, errors),
        _ => {
            errors.push(Error {
                message: "this statement is not for these files".to_owned(),
                help: Some("write CREATE EXTERNAL TABLE, CREATE MATERIALIZED VIEW, CREATE VIEW or CREATE FUNCTION".to_owned()),
                at: parsed.text.head(),
            });
            None
        }
    }
}

/// Returns the name after one of the first words of a statement.
fn name_after(text: &Text, words: &[&str]) -> Option<String> {
    let word = text
        .tokens
        .iter()
        .take(4)
        .position(|token| matches!(&token.token, Token::Word(word) if words.contains(&word.value.to_uppercase().as_str())))?;
    match &text.tokens.get(word + 1)?.token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_lowercase()),
        _ => None,
    }
}

fn name_span(text: &Text) -> Span {
    let index = text.word_index("TABLE").map_or(0, |index| index + 1);
    text.tokens[index.min(text.tokens.len() - 1)].span
}
