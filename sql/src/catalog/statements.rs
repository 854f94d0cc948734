//! Splits a file's text into statements at the semicolons, so that an error in one leaves the others readable.

mod hints;
mod misspelt;

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, TokenizerError};

use self::hints::hint;
use self::misspelt::{misspelt_clause, misspelt_head};
use crate::dialect;
use crate::error::Error;
use crate::file::{Location, SqlFile};
use crate::nesting::{CALLS, IN_A_ROW_MESSAGE, too_many_in_a_row};
use crate::other_engines;
use crate::text::{Text, byte_offset, is_word};
use crate::wording::first_lower;

/// What may stand in a file, for messages.
const ALLOWED: &str = "a file holds CREATE EXTERNAL TABLE, CREATE MATERIALIZED VIEW, CREATE VIEW and CREATE FUNCTION statements";

/// A statement with its tokens, which carry their places in the file.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    pub(crate) text: Text,
}

/// Returns the error for text that cannot be split into tokens.
pub(crate) fn unreadable(file: &Arc<SqlFile>, error: &TokenizerError) -> Error {
    let offset = byte_offset(&file.text, error.location.line, error.location.column);
    let offset = file.text.floor_char_boundary(offset.min(file.text.len().saturating_sub(1)));
    Error {
        message: first_lower(&error.message),
        help: Some("close what was opened: a quote, a comment or a quoted name".to_owned()),
        at: Location { file: Arc::clone(file), offset, length: 1 },
    }
}

/// Returns all statements that can be parsed, and the texts of those that cannot. Errors go to `errors`.
pub(crate) fn parse(file: &Arc<SqlFile>, errors: &mut Vec<Error>) -> (Vec<Parsed>, Vec<Text>) {
    let tokens = match Tokenizer::new(&GenericDialect {}, &file.text).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            errors.push(unreadable(file, &error));
            return (Vec::new(), Vec::new());
        }
    };
    let mut statements = Vec::new();
    let mut broken = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        let tokens: Vec<TokenWithSpan> =
            tokens.iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).cloned().collect();
        if tokens.is_empty() {
            continue;
        }
        let text = Text { file: Arc::clone(file), tokens };
        match parse_statement(&text) {
            Ok(statement) => statements.push(Parsed { statement, text }),
            Err(error) => {
                errors.push(error);
                broken.push(text);
            }
        }
    }
    (statements, broken)
}

fn parse_statement(text: &Text) -> Result<Statement, Error> {
    refuse_other_statements(text)?;
    refuse_samples(text)?;
    let mut tokens = text.tokens.clone();
    if text.tokens.iter().take(5).any(|token| is_word(token, "EXTERNAL")) {
        nested_types(&mut tokens);
    }
    if let Some(token) = too_many_in_a_row(&tokens) {
        return Err(Error {
            message: IN_A_ROW_MESSAGE.to_owned(),
            help: Some("write IN (...) in the place of many ORs, or compute a part of it in a view of its own".to_owned()),
            at: text.span(token.span),
        });
    }
    dialect::rewrite(&mut tokens);
    let parsed =
        DFParserBuilder::new(tokens).with_recursion_limit(CALLS).build().and_then(|mut parser| parser.parse_statements());
    parsed.map(VecDeque::into_iter).map_err(|error| parse_error(text, &error)).and_then(|mut statements| {
        statements.next().ok_or_else(|| Error { message: "an empty statement".to_owned(), help: None, at: text.at() })
    })
}

/// Refuses TABLESAMPLE, which DataFusion ignores.
fn refuse_samples(text: &Text) -> Result<(), Error> {
    let sample = text
        .tokens
        .windows(2)
        .find(|pair| is_word(&pair[0], "TABLESAMPLE") && matches!(&pair[1].token, Token::LParen | Token::Word(_)));
    sample.map_or(Ok(()), |pair| {
        Err(Error {
            message: "a sample is not a function of the events: it would differ at each run".to_owned(),
            help: Some("keep a share of the events by what they hold, as in WHERE id % 10 = 0".to_owned()),
            at: text.span(pair[0].span),
        })
    })
}

/// Refuses other statements by their first words, since the parser's message about them would not help.
fn refuse_other_statements(text: &Text) -> Result<(), Error> {
    let refuse =
        |message: &str, help: &str| Err(Error { message: message.to_owned(), help: Some(help.to_owned()), at: text.head() });
    let words: Vec<String> = text
        .tokens
        .iter()
        .take(5)
        .map_while(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_uppercase()),
            _ => None,
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["CREATE", "OR", "REPLACE", ..] => refuse(
            "CREATE OR REPLACE has no meaning here: the files are the whole truth",
            "leave out OR REPLACE; to change a view, change its statement",
        ),
        ["CREATE", "EXTERNAL", "TABLE", "IF", ..]
        | ["CREATE", "MATERIALIZED", "VIEW", "IF", ..]
        | ["CREATE", "VIEW", "IF", ..]
        | ["CREATE", "FUNCTION", "IF", ..] => {
            refuse("IF NOT EXISTS has no meaning here: each name is declared once", "leave out IF NOT EXISTS")
        }
        ["CREATE", "EXTERNAL", "TABLE", ..] | ["CREATE", "MATERIALIZED", "VIEW", ..] | ["CREATE", "VIEW" | "FUNCTION", ..] => {
            Ok(())
        }
        ["CREATE", "UNBOUNDED", ..] => refuse("every source is unbounded", "write CREATE EXTERNAL TABLE"),
        ["CREATE", "EXTERNAL", ..] => refuse("a source is a table", "write CREATE EXTERNAL TABLE"),
        ["CREATE", "TABLE", ..] => refuse(
            "a table of its own cannot be made: rows come from events",
            "write CREATE EXTERNAL TABLE name (columns) STORED AS NATS LOCATION 'nats://host:port/STREAM'",
        ),
        ["SELECT" | "WITH" | "VALUES" | "FROM", ..] => refuse(
            "a query alone is not kept",
            "write CREATE MATERIALIZED VIEW name AS before it, or run it once with `alluvium query`",
        ),
        ["INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY" | "TRUNCATE", ..] => refuse(
            "views and sources cannot be written to: they follow from the events",
            "publish an event to the stream instead",
        ),
        ["DROP", ..] => {
            refuse("DROP is not for these files", "delete the statement that declares it, then run `alluvium drop VIEW`")
        }
        _ if other_engines::statement(&words).is_some() => {
            let (message, help) = other_engines::statement(&words).unwrap_or_default();
            refuse(message, help)
        }
        _ => match misspelt_head(text, &words) {
            Some((at, near)) => Err(Error {
                message: "this statement is not for these files".to_owned(),
                help: Some(format!("did you mean {near}?")),
                at,
            }),
            None => refuse("this statement is not for these files", ALLOWED),
        },
    }
}

/// Rewrites `STRUCT(a INT)` as `STRUCT<a INT>` and `MAP<k, v>` as `MAP(k, v)`: the parser knows only one kind of bracket for each.
fn nested_types(tokens: &mut Vec<TokenWithSpan>) {
    let mut index = 0;
    while index + 1 < tokens.len() {
        let keyword = match &tokens[index].token {
            Token::Word(word) if word.quote_style.is_none() => word.keyword,
            _ => Keyword::NoKeyword,
        };
        match (keyword, &tokens[index + 1].token) {
            (Keyword::STRUCT, Token::LParen) => rebracket(tokens, index + 1, Token::Lt, Token::Gt),
            (Keyword::MAP, Token::Lt) => rebracket(tokens, index + 1, Token::LParen, Token::RParen),
            _ => {}
        }
        index += 1;
    }
}

/// Replaces the bracket at `open` and its partner.
fn rebracket(tokens: &mut Vec<TokenWithSpan>, open: usize, left: Token, right: Token) {
    let mut depth = 0usize;
    let mut index = open;
    while index < tokens.len() {
        if tokens[index].token == Token::ShiftRight {
            // Two closing brackets of nested types in one token.
            let span = tokens[index].span;
            tokens[index].token = Token::Gt;
            tokens.insert(index, TokenWithSpan { token: Token::Gt, span });
        }
        match tokens[index].token {
            Token::LParen | Token::Lt => depth += 1,
            Token::RParen | Token::Gt => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            tokens[index].token = right;
            tokens[open].token = left;
            return;
        }
        index += 1;
    }
}

/// Turns an error of the parser into ours, with its place.
pub(crate) fn parse_error(text: &Text, error: &DataFusionError) -> Error {
    let message = match error.find_root() {
        DataFusionError::SQL(error, _) => error.to_string(),
        DataFusionError::Diagnostic(diagnostic, _) => diagnostic.message.clone(),
        other => other.to_string(),
    };
    let message = message.trim_start_matches("sql parser error: ").trim_start_matches("ParserError: ");
    let (message, place) = match message.rsplit_once(" at Line: ") {
        Some((message, place)) => (message, line_and_column(place)),
        None => (message, None),
    };
    let at = match place {
        // The token at that place, with its length.
        Some((line, column)) => text
            .tokens
            .iter()
            .find(|token| token.span.start.line == line && token.span.start.column == column)
            .map(|token| text.span(token.span)),
        // The parser ran into the end: the last word is what something is missing after, if it does not say which is.
        None => {
            let named = message.rsplit_once(" after ").and_then(|(_, word)| text.word(word));
            named.or_else(|| text.tokens.last().map(|token| text.span(token.span)))
        }
    };
    let message = message.strip_prefix("Expected: ").map_or_else(|| first_lower(message), |rest| format!("expected {rest}"));
    let at = at.unwrap_or_else(|| text.head());
    if message.ends_with("recursion limit exceeded") {
        return Error {
            message: "the statement nests too deeply".to_owned(),
            help: Some("give the inner queries names in WITH, or in views of their own".to_owned()),
            at: text.head(),
        };
    }
    if let Some(expected) = message.strip_suffix(", found: EOF") {
        return at_end(text, expected, at);
    }
    if let Some((word, help)) = misspelt_clause(text, at.offset) {
        return Error { message, help: Some(help), at: word };
    }
    if let Some(hint) = hint(text, at.offset) {
        return Error { message: hint.message.unwrap_or(message), help: Some(hint.help), at: hint.at };
    }
    let help = message.contains("or JOIN after").then(|| "write JOIN after it".to_owned());
    Error { message, help: help.or_else(|| missing_clause(text)), at }
}

/// A statement that ends too early.
fn at_end(text: &Text, expected: &str, at: Location) -> Error {
    if expected == "expected )"
        && let Some(open) = text.unclosed()
    {
        return Error {
            message: "this parenthesis is not closed".to_owned(),
            help: Some("write ) after what belongs in it".to_owned()),
            at: open,
        };
    }
    let help = missing_clause(text).unwrap_or_else(|| "write what is missing after it, or leave it out".to_owned());
    Error { message: format!("{expected}, and the statement ends"), help: Some(help), at }
}

/// Returns a hint for the clauses that a source most often lacks.
fn missing_clause(text: &Text) -> Option<String> {
    text.word("EXTERNAL")?;
    (text.word("STORED").is_none() || text.word("LOCATION").is_none()).then(|| {
        "write CREATE EXTERNAL TABLE name (columns) STORED AS NATS LOCATION 'nats://host:port/STREAM' OPTIONS (subject 'a.>', format 'json')"
            .to_owned()
    })
}

fn line_and_column(place: &str) -> Option<(u64, u64)> {
    let (line, column) = place.split_once(", Column: ")?;
    Some((line.parse().ok()?, column.trim().parse().ok()?))
}
