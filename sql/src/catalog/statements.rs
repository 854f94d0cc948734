//! From a file's text to its statements: cut at the semicolons, so that an error in one leaves the others readable.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};

use crate::catalog::SqlFile;
use crate::dialect;
use crate::error::{Error, Location};

/// What may stand in a file, for messages.
const ALLOWED: &str = "a file holds CREATE EXTERNAL TABLE, CREATE MATERIALIZED VIEW and CREATE FUNCTION statements";

/// A statement with its tokens, which carry their places in the file.
#[derive(Debug, Clone)]
pub(crate) struct Parsed {
    pub(crate) statement: Statement,
    pub(crate) text: Text,
}

/// A statement's text in its file. Never empty.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) file: Arc<SqlFile>,
    /// Without white space and comments.
    pub(crate) tokens: Vec<TokenWithSpan>,
}

impl Text {
    /// The whole statement.
    pub(crate) fn at(&self) -> Location {
        self.between(self.tokens.first().map(|t| t.span), self.tokens.last().map(|t| t.span))
    }

    /// The first words of the statement: what a message about the whole of it underlines.
    pub(crate) fn head(&self) -> Location {
        self.between(self.tokens.first().map(|t| t.span), self.tokens.get(2).or(self.tokens.last()).map(|t| t.span))
    }

    /// The statement's source text.
    pub(crate) fn sql(&self) -> &str {
        let at = self.at();
        &self.file.text[at.offset..at.offset + at.length]
    }

    /// A place given by lines and columns.
    pub(crate) fn span(&self, span: Span) -> Location {
        self.between(Some(span), Some(span))
    }

    /// The first token that is this word, in any case.
    pub(crate) fn word(&self, word: &str) -> Option<Location> {
        self.word_index(word).map(|index| self.span(self.tokens[index].span))
    }

    pub(crate) fn word_index(&self, word: &str) -> Option<usize> {
        self.tokens.iter().position(|token| is_word(token, word))
    }

    /// What stands after the last token that is this word, quoted or not: the value of an option.
    pub(crate) fn value_of(&self, option: &str) -> Option<Location> {
        let is_key = |token: &TokenWithSpan| match &token.token {
            Token::SingleQuotedString(text) => text.eq_ignore_ascii_case(option),
            _ => is_word(token, option),
        };
        let value = self.tokens.iter().rposition(is_key).and_then(|index| self.tokens.get(index + 1));
        value.map(|token| self.span(token.span))
    }

    /// The second of two words that stand together.
    pub(crate) fn pair(&self, first: &str, second: &str) -> Option<Location> {
        let pair = self.tokens.windows(2).find(|pair| is_word(&pair[0], first) && is_word(&pair[1], second));
        pair.map(|pair| self.span(pair[1].span))
    }

    /// The call of a function: its name directly before a parenthesis, or else the word.
    pub(crate) fn call(&self, name: &str) -> Option<Location> {
        self.call_only(name).or_else(|| self.word(name))
    }

    /// The call of a function with its parenthesis.
    pub(crate) fn call_only(&self, name: &str) -> Option<Location> {
        let call = self.tokens.windows(2).find(|pair| is_word(&pair[0], name) && pair[1].token == Token::LParen);
        call.map(|pair| self.span(pair[0].span))
    }

    fn between(&self, first: Option<Span>, last: Option<Span>) -> Location {
        let start = first.map_or(0, |span| byte_offset(&self.file.text, span.start.line, span.start.column));
        let end = last.map_or(start, |span| byte_offset(&self.file.text, span.end.line, span.end.column));
        Location { file: Arc::clone(&self.file), offset: start, length: end.saturating_sub(start).max(1) }
    }
}

fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found) if found.value.eq_ignore_ascii_case(word))
}

/// The byte offset of a line and a column, both from 1, columns in characters.
fn byte_offset(text: &str, line: u64, column: u64) -> usize {
    let (line, column) = (usize::try_from(line).unwrap_or(1), usize::try_from(column).unwrap_or(1));
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[start..];
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(offset, _)| offset)
}

/// All statements that can be read, and the texts of those that cannot, whose errors go to `errors`.
pub(crate) fn parse(file: &Arc<SqlFile>, errors: &mut Vec<Error>) -> (Vec<Parsed>, Vec<Text>) {
    let tokens = match Tokenizer::new(&GenericDialect {}, &file.text).tokenize_with_location() {
        Ok(tokens) => tokens,
        Err(error) => {
            let offset = byte_offset(&file.text, error.location.line, error.location.column);
            let offset = file.text.floor_char_boundary(offset.min(file.text.len().saturating_sub(1)));
            errors.push(Error {
                message: first_lower(&error.message),
                help: Some("close what was opened: a quote, a comment or a quoted name".to_owned()),
                at: Location { file: Arc::clone(file), offset, length: 1 },
            });
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
    let mut tokens = text.tokens.clone();
    if text.tokens.iter().take(5).any(|token| is_word(token, "EXTERNAL")) {
        nested_types(&mut tokens);
    }
    dialect::rewrite(&mut tokens);
    let parsed = DFParserBuilder::new(tokens).build().and_then(|mut parser| parser.parse_statements());
    parsed.map(VecDeque::into_iter).map_err(|error| parse_error(text, &error)).and_then(|mut statements| {
        statements.next().ok_or_else(|| Error { message: "an empty statement".to_owned(), help: None, at: text.at() })
    })
}

/// Refuses by its first words what is neither a source nor a view, since the parser's words for it would not help.
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
        | ["CREATE", "FUNCTION", "IF", ..] => {
            refuse("IF NOT EXISTS has no meaning here: each name is declared once", "leave out IF NOT EXISTS")
        }
        ["CREATE", "EXTERNAL", "TABLE", ..] | ["CREATE", "MATERIALIZED", "VIEW", ..] | ["CREATE", "FUNCTION", ..] => Ok(()),
        ["CREATE", "UNBOUNDED", ..] => refuse("every source is unbounded", "write CREATE EXTERNAL TABLE"),
        ["CREATE", "EXTERNAL", ..] => refuse("a source is a table", "write CREATE EXTERNAL TABLE"),
        ["CREATE", "VIEW", ..] => refuse("a plain VIEW is not kept", "write CREATE MATERIALIZED VIEW name AS SELECT ..."),
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
        _ => refuse("this statement is not for these files", ALLOWED),
    }
}

/// Writes `STRUCT(a INT)` as `STRUCT<a INT>` and `MAP<k, v>` as `MAP(k, v)`: each form is known to the parser in one
/// bracket only.
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

fn parse_error(text: &Text, error: &DataFusionError) -> Error {
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
        // The token that stands there, with its length.
        Some((line, column)) => text
            .tokens
            .iter()
            .find(|token| token.span.start.line == line && token.span.start.column == column)
            .map(|token| text.span(token.span)),
        // The parser ran into the end: the last word is what something is missing after.
        None => text.tokens.last().map(|token| text.span(token.span)),
    };
    let message = message.strip_prefix("Expected: ").map_or_else(|| first_lower(message), |rest| format!("expected {rest}"));
    Error { message, help: missing_clause(text), at: at.unwrap_or_else(|| text.head()) }
}

/// What a source most often lacks.
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

/// The text with its first letter small, unless it is a word in capitals.
pub(crate) fn first_lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(text[first.len_utf8()..].chars()).collect()
        }
        _ => text.to_owned(),
    }
}
