//! Turns DataFusion's errors into ours: with a place in the file, and in words for someone who writes SQL, not Rust.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`columns`] | columns and members that are not known, or known twice |
//! | [`known`] | what a name can have meant |
//! | [`outputs`] | the columns of a SELECT |
//! | [`expressions`] | where an expression stands in the syntax tree |

mod columns;
mod expressions;
mod known;
mod outputs;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DataFusionError, SchemaError};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Location as SqlLocation, Span as SqlSpan, Tokenizer};

use self::columns::{qualified, twin_columns, unknown_column, unknown_member};
pub(crate) use self::known::Known;
use self::outputs::output;
use crate::catalog::statements::{parse_error, unreadable};
use crate::dialect;
use crate::error::Error;
use crate::file::{Location, SqlFile};
use crate::names::nearest;
use crate::other_engines;
use crate::planner::Spot;
use crate::session::session_state;
use crate::text::Text;
use crate::type_names::sql_types;
use crate::wording::{Wording, first_lower, of_message, without_kinds};

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
        Spot::Word("WHERE") if message.contains("window functions") => {
            expressions::window_in_where(query).map(|span| text.span(span)).or_else(|| text.word("WHERE"))
        }
        Spot::Word(word) => text.word(word),
        Spot::Column(name) => text.qualified(name),
        Spot::Literal(literal) => text.literal(literal),
        Spot::Output(name) => output(query, name, text).or_else(|| text.word("SELECT")),
        Spot::Whole => None,
    };
    let at = at.unwrap_or_else(|| text.head());
    // The columns of a `*` have no AS.
    let help = match (spot, at.file.text.as_bytes().get(at.offset)) {
        (Spot::Output(name), Some(b'*')) => {
            format!("write the columns in place of *, as in a.{name}, b.{name} AS other")
        }
        _ => help,
    };
    Error { message, help: Some(help), at }
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
    let query = match dialect::parse(sql) {
        Ok(Statement::Statement(statement)) => match *statement {
            SqlStatement::Query(query) => Some(*query),
            _ => None,
        },
        _ => None,
    };
    from_datafusion(error, query.as_ref(), &text, &known)
}

/// An error of planning a view down to the operators that run it, at what it is about in the view's statement.
#[must_use]
pub fn plan_error(told: &str, statement: &Location) -> Error {
    let Wording { message, help } = of_message(told);
    let help = help.or_else(|| Some("write the query otherwise; this form of it has no plan yet".to_owned()));
    let text = Text::of(statement);
    let told = without_kinds(told);
    let unresolved = told.strip_prefix("No field named ").and_then(|rest| rest.split_once(". ")).map(|(name, _)| name);
    let at = text.and_then(|text| match unresolved {
        Some(name) => text.qualified(name),
        None => place_of(told, &text),
    });
    Error { message, help, at: at.unwrap_or_else(|| statement.clone()) }
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
        return unknown_column(field, valid_fields, query, text, at);
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
    if let Some(name) = twin_expressions(message) {
        return twin_columns(&name, query, text);
    }
    let Wording { message: said, help } = of_message(message);
    let help =
        help.or_else(|| diagnostic.and_then(|found| found.helps.first()).map(|help| first_lower(&sql_types(&help.message))));
    let in_query = |message: &str| query.and_then(|query| place_in_query(message, query, &known.types));
    let of_query = in_query(message).or_else(|| in_query(without_kinds(&root))).map(|span| text.span(span));
    let at = json_operator(message, text).or(of_query).or(at).or_else(|| place_of(message, text)).unwrap_or_else(|| text.head());
    Error { message: said, help, at }
}

/// Returns the place of the operator that a message of the JSON functions is about. The span of the message is that of the member.
fn json_operator(message: &str, text: &Text) -> Option<Location> {
    message.contains("Unexpected argument type to 'json_").then(|| text.symbol("->>").or_else(|| text.symbol("->")))?
}

/// Where the expression that a message is about stands.
fn place_in_query(message: &str, query: &Query, types: &BTreeMap<String, String>) -> Option<SqlSpan> {
    if let Some((left, operator, right)) = pair_of(message) {
        return expressions::operation(query, &operator, (&left, &right), types);
    }
    if let Some((_, calls)) = message.split_once("function calls cannot be nested: '") {
        let (inner, outer) = calls.split_once("' is nested inside '")?;
        return expressions::nested_call(query, outer.split('(').next()?, inner.split('(').next()?);
    }
    if message.contains(" to Boolean") || message.contains("to BOOLEAN") {
        return expressions::filter(query);
    }
    if message.starts_with("Aggregate") && message.contains("WHERE clause") {
        return expressions::aggregate_in_where(query);
    }
    if message.starts_with("HAVING clause references") {
        return expressions::having(query);
    }
    if message.starts_with("Cannot access field at argument") {
        return expressions::member_of_list(query, types);
    }
    message.starts_with("Too many columns! The subquery").then(|| expressions::several_columns(query))?
}

/// The name that two expressions of a SELECT have, in a message about them.
fn twin_expressions(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("require unique expression names but the expression \"")?;
    let (first, rest) = rest.split_once("\" at position ")?;
    rest.contains("have the same name").then(|| {
        let name = first.rsplit_once(" AS ").map_or(first, |(_, alias)| alias);
        let name = if name.contains('(') { name } else { name.rsplit('.').next().unwrap_or(name) };
        sql_types(name.trim_matches('"'))
    })
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
    place.or_else(|| if message.contains("Divide by zero") { text.symbol("/") } else { text.symbol(&pair_of(message)?.1) })
}

/// An operator whose two types do not go together, between them.
fn pair_of(message: &str) -> Option<(String, String, String)> {
    let pair = match message.split_once("Cannot coerce arithmetic expression ") {
        Some((_, pair)) => pair.strip_suffix(" to valid types").unwrap_or(pair),
        None => message.split_once("Cannot infer common argument type for ")?.1.split_once("operation ")?.1,
    };
    let pair = sql_types(pair);
    let is_operator =
        |word: &&str| matches!(*word, "AND" | "OR") || (!word.is_empty() && word.chars().all(|c| c.is_ascii_punctuation()));
    let operator = pair.split(' ').find(is_operator)?.to_owned();
    let (left, right) = pair.split_once(&format!(" {operator} "))?;
    Some((left.to_owned(), operator.clone(), right.to_owned()))
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

/// The first quoted word after a prefix.
fn quoted_after(message: &str, prefix: &str) -> Option<String> {
    let (_, rest) = message.split_once(prefix)?;
    rest.split('\'').nth(1).map(str::to_owned)
}

/// Returns the place of a function that a message names as `'name'` or `name(`.
fn called(message: &str, text: &Text) -> Option<Location> {
    let words = message.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| word.len() > 2);
    words.into_iter().find_map(|word| text.call_only(word))
}
