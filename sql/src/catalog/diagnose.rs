//! From DataFusion's errors to ours: a place in the file, and words for someone who writes SQL, not Rust.

use std::collections::BTreeSet;

use datafusion::common::{Column, DataFusionError, SchemaError};
use datafusion::sql::sqlparser::tokenizer::{Location as SqlLocation, Span as SqlSpan};

use crate::catalog::statements::{Text, first_lower};
use crate::error::{Error, Location};
use crate::names::nearest;
use crate::planner::Spot;

/// A query that Alluvium refuses.
pub(crate) fn refused(message: String, help: String, spot: &Spot, text: &Text) -> Error {
    let at = match spot {
        Spot::Call(name) => text.call(name),
        Spot::Word(word) => text.word(word),
        Spot::Whole => None,
    };
    Error { message, help: Some(help), at: at.unwrap_or_else(|| text.head()) }
}

/// What cannot happen by anything a user writes.
pub(crate) fn internal(error: &DataFusionError, at: Location) -> Error {
    Error {
        message: format!("internal error: {}", error.strip_backtrace()),
        help: Some("please report it with the statement".to_owned()),
        at,
    }
}

/// An error of parsing names and types, or of planning.
pub(crate) fn from_datafusion(error: &DataFusionError, text: &Text, functions: &BTreeSet<String>) -> Error {
    let diagnostic = error.diagnostic();
    let at = diagnostic.and_then(|found| found.span).map(|span| {
        text.span(SqlSpan {
            start: SqlLocation { line: span.start.line, column: span.start.column },
            end: SqlLocation { line: span.end.line, column: span.end.column },
        })
    });
    if let Some(SchemaError::FieldNotFound { field, valid_fields }) = schema_error(error) {
        let at = at.or_else(|| text.word(field.name())).unwrap_or_else(|| text.head());
        return Error { message: unknown_column(field), help: nearest_column(field, valid_fields), at };
    }
    if let (Some(SchemaError::AmbiguousReference { field }), None) = (schema_error(error), &at) {
        return twin_columns(field.name(), text);
    }
    if let Some(SchemaError::AmbiguousReference { field }) = schema_error(error) {
        let at = at.or_else(|| text.word(field.name())).unwrap_or_else(|| text.head());
        return Error {
            message: format!("{} is a column of more than one relation", field.name()),
            help: Some(format!("say which: relation.{}", field.name())),
            at,
        };
    }
    let root = error.find_root().strip_backtrace();
    let message = diagnostic.map_or_else(|| without_prefix(&root).to_owned(), |found| found.message.clone());
    if let Some(name) = quoted_after(&message, "Invalid function ") {
        return Error {
            message: format!("no function is named {name}"),
            help: nearest(&name, functions.iter().map(String::as_str)).map(|near| format!("did you mean {near}?")),
            at: at.or_else(|| text.call(&name)).unwrap_or_else(|| text.head()),
        };
    }
    if matches!(error.find_root(), DataFusionError::Internal(_)) {
        return internal(error, at.unwrap_or_else(|| text.head()));
    }
    let help = diagnostic.and_then(|found| found.helps.first()).map(|help| first_lower(&help.message));
    let at = at.or_else(|| called(&message, text)).unwrap_or_else(|| text.head());
    Error { message: first_lower(message.trim()), help, at }
}

/// Two columns of one SELECT with one name.
fn twin_columns(name: &str, text: &Text) -> Error {
    Error {
        message: format!("two columns of the view are named {name}"),
        help: Some("give one of them another name with AS".to_owned()),
        at: text.word("SELECT").unwrap_or_else(|| text.head()),
    }
}

fn schema_error(error: &DataFusionError) -> Option<&SchemaError> {
    match error.find_root() {
        DataFusionError::SchemaError(error, _) => Some(error),
        DataFusionError::Diagnostic(_, inner) => schema_error(inner),
        DataFusionError::Context(_, inner) => schema_error(inner),
        DataFusionError::Collection(errors) => errors.iter().find_map(schema_error),
        _ => None,
    }
}

fn unknown_column(field: &Column) -> String {
    match &field.relation {
        Some(relation) => format!("{relation} has no column {}", field.name()),
        None => format!("no column is named {}", field.name()),
    }
}

fn nearest_column(field: &Column, valid: &[Column]) -> Option<String> {
    let names: Vec<&str> = valid.iter().map(Column::name).collect();
    if let Some(exact) = names.iter().find(|name| **name != field.name() && name.eq_ignore_ascii_case(field.name())) {
        return Some(format!("did you mean \"{exact}\"? Quotes keep capital letters"));
    }
    if let Some(other) = valid.iter().find(|column| column.name() == field.name()) {
        return Some(format!("did you mean {}?", other.flat_name()));
    }
    match nearest(field.name(), names.iter().copied()) {
        Some(near) => Some(format!("did you mean {near}?")),
        None if names.is_empty() => None,
        None => Some(format!("there are {}", names.join(", "))),
    }
}

/// The first quoted word after a prefix.
fn quoted_after(message: &str, prefix: &str) -> Option<String> {
    let (_, rest) = message.split_once(prefix)?;
    rest.split('\'').nth(1).map(str::to_owned)
}

/// The place of a function that a message names as `'name'` or `name(`.
fn called(message: &str, text: &Text) -> Option<Location> {
    let words = message.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| word.len() > 2);
    words.into_iter().find_map(|word| text.call_only(word))
}

fn without_prefix(message: &str) -> &str {
    let prefixes =
        ["Error during planning: ", "This feature is not implemented: ", "Schema error: ", "SQL error: ", "Execution error: "];
    prefixes.iter().find_map(|prefix| message.strip_prefix(prefix)).unwrap_or(message)
}
