//! Turns DataFusion's errors into ours: with a place in the file, and in words for someone who writes SQL, not Rust.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields};
use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};
use datafusion::sql::sqlparser::ast::{Expr, Query, SelectItem, SetExpr};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location as SqlLocation, Span as SqlSpan, Tokenizer};

use crate::catalog::statements::{parse_error, unreadable};
use crate::catalog::types::normalized;
use crate::error::Error;
use crate::file::{Location, SqlFile};
use crate::names::{nearest, written};
use crate::other_engines;
use crate::planner::Spot;
use crate::session::session_state;
use crate::text::Text;
use crate::type_names::sql_types;
use crate::wording::{Wording, first_lower, of_message};

/// The names that a misspelt name can mean.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    /// Names of functions.
    pub(crate) functions: BTreeSet<String>,
    /// Names of members of structs.
    pub(crate) members: BTreeSet<String>,
}

impl Known {
    /// Adds the members of all structs among some columns, at any depth.
    pub(crate) fn add_members(&mut self, fields: &Fields) {
        for field in fields {
            match field.data_type() {
                DataType::Struct(inner) => {
                    self.members.extend(inner.iter().map(|member| member.name().clone()));
                    self.add_members(inner);
                }
                DataType::List(item) | DataType::LargeList(item) => self.add_members(&Fields::from(vec![Arc::clone(item)])),
                _ => {}
            }
        }
    }
}

/// Returns the error for a query that Alluvium refuses.
pub(crate) fn refused(message: String, help: String, spot: &Spot, query: &Query, text: &Text) -> Error {
    let at = match spot {
        Spot::Call(name) => text.call(name).or_else(|| match name.as_str() {
            // The other way to write each of them.
            "now" => text.word("current_timestamp"),
            "current_date" => text.word("today"),
            _ => None,
        }),
        Spot::Word(word @ ("LIMIT" | "OFFSET")) => text.unordered(word),
        Spot::Word(word) => text.word(word),
        Spot::Literal(literal) => text.literal(literal),
        Spot::Output(name) => output(query, name, text).or_else(|| text.word("SELECT")),
        Spot::Whole => None,
    };
    Error { message, help: Some(help), at: at.unwrap_or_else(|| text.head()) }
}

/// Returns the place of the last column with this name in the outermost SELECT.
fn output(query: &Query, name: &str, text: &Text) -> Option<Location> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let mut spans = select.projection.iter().filter_map(|item| {
        let named = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias,
            SelectItem::UnnamedExpr(Expr::Identifier(column)) => column,
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last()?,
            _ => return None,
        };
        (normalized(named) == name).then_some(named.span)
    });
    spans.next_back().map(|span| text.span(span))
}

/// Returns the error for a fault that nothing a user writes can cause.
pub(crate) fn internal(error: &DataFusionError, at: Location) -> Error {
    Error {
        message: format!("internal error: {}", error.strip_backtrace()),
        help: Some("please report it with the statement".to_owned()),
        at,
    }
}

/// Turns an error of parsing or planning a query into ours. The query is in no file, so the place is in its text.
#[must_use]
pub fn query_error(error: &DataFusionError, sql: &str) -> Error {
    let file = Arc::new(SqlFile { path: "query".to_owned(), text: sql.to_owned() });
    if let Err(error) = Tokenizer::new(&GenericDialect {}, sql).tokenize() {
        return unreadable(&file, &error);
    }
    let whole = Location { file, offset: 0, length: sql.len() };
    let Some(text) = Text::of(&whole) else {
        let Wording { message, help } = crate::wording::of_error(error);
        return Error { message, help, at: whole };
    };
    if matches!(error.find_root(), DataFusionError::SQL(..)) {
        return parse_error(&text, error);
    }
    let mut known = Known::default();
    if let Ok(state) = session_state() {
        known.functions = state.scalar_functions().keys().chain(state.aggregate_functions().keys()).cloned().collect();
        known.functions.extend(state.window_functions().keys().cloned());
    }
    from_datafusion(error, None, &text, &known)
}

/// Turns an error of parsing names and types, or of planning, into ours.
pub(crate) fn from_datafusion(error: &DataFusionError, query: Option<&Query>, text: &Text, known: &Known) -> Error {
    let diagnostic = error.diagnostic();
    let span = diagnostic.and_then(|found| found.span.or_else(|| found.notes.iter().find_map(|note| note.span)));
    let at = span.map(|span| {
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
        return twin_columns(field.name(), query, text);
    }
    if let Some(SchemaError::AmbiguousReference { field }) = schema_error(error) {
        let at = at.or_else(|| text.word(field.name())).unwrap_or_else(|| text.head());
        return Error {
            message: format!("{} is a column of more than one relation", field.name()),
            help: Some(format!("say which: {}", qualified(diagnostic, field.name()))),
            at,
        };
    }
    let root = error.find_root().strip_backtrace();
    // If the diagnostic leaves out the types, the error has them.
    let told = diagnostic.map(|found| found.message.as_str()).filter(|message| *message != "expressions have incompatible types");
    let message = told.unwrap_or(&root);
    if let Some(name) = quoted_after(message, "Invalid function ") {
        let near = || nearest(&name, known.functions.iter().map(String::as_str)).map(|near| format!("did you mean {near}?"));
        return Error {
            message: format!("no function is named {name}"),
            help: other_engines::function(&name).map(|ours| format!("write {ours}")).or_else(near),
            at: at.or_else(|| text.call(&name)).unwrap_or_else(|| text.head()),
        };
    }
    if let Some((_, rest)) = message.split_once("Field ")
        && let Some(name) = rest.strip_suffix(" not found in struct")
    {
        return unknown_member(name, text, known);
    }
    if matches!(error.find_root(), DataFusionError::Internal(_)) {
        return internal(error, at.unwrap_or_else(|| text.head()));
    }
    let Wording { message: said, help } = of_message(message);
    let help =
        help.or_else(|| diagnostic.and_then(|found| found.helps.first()).map(|help| first_lower(&sql_types(&help.message))));
    let at = json_operator(message, text).or(at).or_else(|| place_of(message, text)).unwrap_or_else(|| text.head());
    Error { message: said, help, at }
}

/// Returns the place of the operator that a message of the JSON functions is about. The span of the message is that of the member.
fn json_operator(message: &str, text: &Text) -> Option<Location> {
    message.contains("Unexpected argument type to 'json_").then(|| text.symbol("->>").or_else(|| text.symbol("->")))?
}

/// Returns the place in a statement of the words that a message mentions.
fn place_of(message: &str, text: &Text) -> Option<Location> {
    const WORDS: [(&str, &str); 7] = [
        ("Substring without", "substr"),
        ("WHERE clause", "WHERE"),
        ("LIMIT", "LIMIT"),
        ("Query INSERT", "INSERT"),
        ("Query UPDATE", "UPDATE"),
        ("Query DELETE", "DELETE"),
        ("Query MERGE", "MERGE"),
    ];
    let word = WORDS.iter().find(|(part, _)| message.contains(part)).and_then(|(_, word)| text.word(word));
    let named = || message.rsplit_once("Unsupported SQL type ").and_then(|(_, name)| text.word(name.split('(').next()?));
    let place = word.or_else(named).or_else(|| text.quoted_in(message)).or_else(|| called(message, text));
    place.or_else(|| if message.contains("Divide by zero") { text.symbol("/") } else { text.symbol(operator_of(message)?) })
}

/// Returns the operator whose two types do not go together: the message has it between them.
fn operator_of(message: &str) -> Option<&str> {
    let is_pair = message.contains("Cannot coerce arithmetic") || message.contains("Cannot infer common argument type");
    let mut words = message.split(' ').filter(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_punctuation()));
    words.next().filter(|_| is_pair)
}

fn unknown_member(name: &str, text: &Text, known: &Known) -> Error {
    let help = match nearest(name, known.members.iter().map(String::as_str)) {
        Some(near) if near != name && near.eq_ignore_ascii_case(name) => {
            Some(format!("did you mean {}? Quotes keep capital letters", written(near)))
        }
        Some(near) => Some(format!("did you mean {}?", written(near))),
        None if known.members.is_empty() => None,
        None => Some(format!("there are {}", known.members.iter().cloned().collect::<Vec<_>>().join(", "))),
    };
    let at = text.literal(name).or_else(|| text.word(name)).unwrap_or_else(|| text.head());
    Error { message: format!("the struct has no member {name}"), help, at }
}

/// Returns the columns that an ambiguous name can mean, as they have to be written.
fn qualified(diagnostic: Option<&Diagnostic>, name: &str) -> String {
    let notes = diagnostic.map(|found| found.notes.as_slice()).unwrap_or_default();
    let columns = notes.iter().filter_map(|note| note.message.strip_prefix("possible column "));
    let columns: Vec<&str> =
        columns.filter(|column| column.rsplit('.').next().is_some_and(|last| last.trim_matches('"') == name)).collect();
    match columns.as_slice() {
        [] => format!("relation.{name}"),
        columns => columns.join(" or "),
    }
}

/// Returns the error for two columns of one SELECT with the same name.
fn twin_columns(name: &str, query: Option<&Query>, text: &Text) -> Error {
    Error {
        message: format!("two columns of the view are named {name}"),
        help: Some("give one of them another name with AS".to_owned()),
        at: query.and_then(|query| output(query, name, text)).or_else(|| text.word("SELECT")).unwrap_or_else(|| text.head()),
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
        return Some(format!("did you mean {}? Quotes keep capital letters", written(exact)));
    }
    if let Some(other) = valid.iter().find(|column| column.name() == field.name()) {
        return Some(format!("did you mean {}?", other.flat_name()));
    }
    match nearest(field.name(), names.iter().copied()) {
        Some(near) => Some(format!("did you mean {}?", written(near))),
        None if names.is_empty() => None,
        None => Some(format!("there are {}", names.join(", "))),
    }
}

/// Returns the first quoted word after a prefix.
fn quoted_after(message: &str, prefix: &str) -> Option<String> {
    let (_, rest) = message.split_once(prefix)?;
    rest.split('\'').nth(1).map(str::to_owned)
}

/// Returns the place of a function that a message names as `'name'` or `name(`.
fn called(message: &str, text: &Text) -> Option<Location> {
    let words = message.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| word.len() > 2);
    words.into_iter().find_map(|word| text.call_only(word))
}
