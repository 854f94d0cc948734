//! Guesses what was meant where the parser gave up: a comma, a semicolon, quotes around a keyword, or a clause of another engine.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::file::Location;
use crate::text::{Text, is_word};

/// What is wrong, where, and what to write.
pub(super) struct Hint {
    pub(super) at: Location,
    /// What is wrong, if the parser's message would not help.
    pub(super) message: Option<String>,
    pub(super) help: String,
}

/// Returns what was meant, given where the parser gave up.
pub(super) fn hint(text: &Text, offset: usize) -> Option<Hint> {
    let stopped = text.tokens.iter().position(|token| text.span(token.span).offset >= offset)?;
    of_other_engines(text, stopped)
        .or_else(|| unquoted_word(text, stopped))
        .or_else(|| missing_semicolon(text, stopped))
        .or_else(|| missing_comma(text, stopped))
}

fn at(text: &Text, index: usize, help: impl Into<String>) -> Option<Hint> {
    Some(Hint { at: text.span(text.tokens.get(index)?.span), message: None, help: help.into() })
}

/// Recognizes clauses of other engines at or shortly before the place.
fn of_other_engines(text: &Text, stopped: usize) -> Option<Hint> {
    let two = |first: &str, second: &str| {
        (stopped.saturating_sub(3)..=stopped).find(|index| {
            is_word(&text.tokens[*index], first) && text.tokens.get(index + 1).is_some_and(|next| is_word(next, second))
        })
    };
    if let Some(index) = two("EMIT", "CHANGES") {
        return at(text, index, "leave it out: a view changes with each event");
    }
    if let Some(index) = two("EMIT", "FINAL") {
        return at(text, index, "write WITH (emit = 'final') after the name of the view");
    }
    if let Some(index) = two("WATERMARK", "FOR") {
        return at(text, index, "write it as an option of the source: OPTIONS (watermark 'placed_at - 5 seconds')");
    }
    None
}

/// Keywords that are names only in quotes.
const RESERVED: [&str; 34] = [
    "ALL",
    "AND",
    "ANY",
    "AS",
    "CASE",
    "CAST",
    "CHECK",
    "CONSTRAINT",
    "DISTINCT",
    "END",
    "EXISTS",
    "FOREIGN",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INDEX",
    "INTERVAL",
    "INTO",
    "IS",
    "JOIN",
    "KEY",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER",
    "PRIMARY",
    "TABLE",
    "UNION",
    "UNIQUE",
    "USING",
    "WHERE",
];

/// Recognizes a keyword meant as a column's name: it begins an item of a list, and the parser stopped at it or directly after it.
fn unquoted_word(text: &Text, stopped: usize) -> Option<Hint> {
    let is_item = |index: usize| {
        let before = &text.tokens[index.checked_sub(1)?];
        let begins =
            matches!(before.token, Token::Comma | Token::LParen) || ["SELECT", "BY"].iter().any(|word| is_word(before, word));
        let Token::Word(word) = &text.tokens[index].token else { return None };
        let reserved = word.quote_style.is_none() && RESERVED.iter().any(|reserved| word.value.eq_ignore_ascii_case(reserved));
        // In a query, it begins a clause after a comma too many.
        let begins_clause = text.word("EXTERNAL").is_none() && is_word(&text.tokens[index], "FROM");
        (begins && reserved && !begins_clause).then_some((index, word))
    };
    let (index, word) = [stopped.checked_sub(1), Some(stopped)].into_iter().flatten().find_map(is_item)?;
    let hint = at(text, index, format!("for a column of that name write \"{}\"", word.value))?;
    Some(Hint { message: Some(format!("{} is a word of SQL", word.value)), ..hint })
}

/// Recognizes a statement that begins within another one, where CREATE may have been taken for a name.
fn missing_semicolon(text: &Text, stopped: usize) -> Option<Hint> {
    let create = [Some(stopped), stopped.checked_sub(1)].into_iter().flatten();
    let create = create.into_iter().find(|index| *index > 0 && is_word(&text.tokens[*index], "CREATE"))?;
    let hint = at(text, create, "end the statement before it with a semicolon")?;
    Some(Hint { message: Some("a statement begins within another one".to_owned()), ..hint })
}

/// Recognizes a column of a SELECT that lacks a comma before it.
fn missing_comma(text: &Text, stopped: usize) -> Option<Hint> {
    let begins_column = match &text.tokens[stopped].token {
        Token::Word(word) => word.quote_style.is_some() || word.keyword == Keyword::NoKeyword,
        Token::Number(..) | Token::SingleQuotedString(_) => true,
        _ => false,
    };
    let in_select_list = clause_before(&text.tokens[..stopped]).is_some_and(|token| is_word(token, "SELECT"));
    (begins_column && in_select_list).then(|| at(text, stopped, "write a comma before it"))?
}

/// Returns the word that begins the clause in which the tokens end, within their own query.
fn clause_before(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let mut closed = 0usize;
    for token in tokens.iter().rev() {
        match token.token {
            Token::RParen => closed += 1,
            Token::LParen if closed == 0 => return None,
            Token::LParen => closed -= 1,
            _ if closed == 0
                && ["SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING"].iter().any(|word| is_word(token, word)) =>
            {
                return Some(token);
            }
            _ => {}
        }
    }
    None
}
