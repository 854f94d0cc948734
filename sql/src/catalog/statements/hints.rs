//! Guesses what was meant where the parser gave up: a comma, a semicolon, quotes around a keyword, or a clause of another engine.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::file::Location;
use crate::text::{Text, is_word};
use crate::type_names::TYPE_NAMES;

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
        .or_else(|| of_a_view(text, stopped))
        .or_else(|| of_a_source(text, stopped))
        .or_else(|| needless_comma(text, stopped))
        .or_else(|| unquoted_word(text, stopped))
        .or_else(|| missing_semicolon(text, stopped))
        .or_else(|| missing_comma(text, stopped))
}

fn at(text: &Text, index: usize, help: impl Into<String>) -> Option<Hint> {
    Some(Hint { at: text.span(text.tokens.get(index)?.span), message: None, help: help.into() })
}

/// Clauses of other engines at or before the place.
fn of_other_engines(text: &Text, stopped: usize) -> Option<Hint> {
    let two = |first: &str, second: &str| {
        (0..=stopped).rev().find(|index| {
            let follows = |next: &TokenWithSpan| is_word(next, second) || next.token.to_string() == second;
            is_word(&text.tokens[*index], first) && text.tokens.get(index + 1).is_some_and(follows)
        })
    };
    CLAUSES.iter().find_map(|(first, second, message, help)| {
        let hint = at(text, two(first, second)?, *help)?;
        Some(Hint { message: Some((*message).to_owned()), ..hint })
    })
}

/// Clauses of other engines by their first two words: what is wrong with them here, and what to write.
const CLAUSES: [(&str, &str, &str, &str); 9] = [
    ("EMIT", "CHANGES", "a view here always changes with its events", "leave it out"),
    ("EMIT", "FINAL", "this is an option of the view", "write WITH (emit = 'final') after its name"),
    ("EMIT", "ON", "this is an option of the view", "write WITH (emit = 'final') after its name"),
    (
        "WATERMARK",
        "FOR",
        "a watermark is an option of the source",
        "write it after LOCATION: OPTIONS (watermark 'placed_at - 5 seconds')",
    ),
    ("WINDOW", "TUMBLING", "windows of time stand in FROM", TUMBLE),
    ("WINDOW", "HOPPING", "windows of time stand in FROM", HOP),
    ("WINDOW", "SESSION", "windows of time stand in FROM", SESSION),
    ("WITH", "NO", "a view holds its rows from its first commit", "leave it out"),
    ("MATCH_RECOGNIZE", "(", "patterns over rows are not there", "compare rows with lag(x) OVER (PARTITION BY key ORDER BY at)"),
];

const TUMBLE: &str = "write FROM TUMBLE(source, time_column, INTERVAL '1 hour') and GROUP BY window_start";
const HOP: &str = "write FROM HOP(source, time_column, INTERVAL '5 minutes', INTERVAL '1 hour') and GROUP BY window_start";
const SESSION: &str = "write FROM SESSION(source, time_column, INTERVAL '30 minutes' PARTITION BY key) and GROUP BY window_start";

/// What stands between a view's name and AS, or after its query, in other engines.
fn of_a_view(text: &Text, stopped: usize) -> Option<Hint> {
    const WITH: &str = "options are written WITH (commit_interval = '1 second')";
    let clause = |word: &str| is_word(&text.tokens[stopped], word);
    text.pair("MATERIALIZED", "VIEW").filter(|_| stopped <= 6)?;
    let (message, help) = if clause("REFRESH") || clause("BUILD") {
        (
            "every view here is kept up to date",
            "leave it out; WITH (commit_interval = '1 second') says how often its files change",
        )
    } else if clause("ENGINE") || clause("PARTITION") || clause("DISTRIBUTED") || clause("ORDER") || clause("CLUSTER") {
        ("how a view is stored is not said in its statement", "leave it out")
    } else if clause("IN") {
        ("there are no clusters here", "leave out IN CLUSTER")
    } else if matches!(text.tokens[stopped].token, Token::SingleQuotedString(_)) {
        ("this is not how an option is written", WITH)
    } else {
        return None;
    };
    let hint = at(text, stopped, help)?;
    Some(Hint { message: Some(message.to_owned()), ..hint })
}

/// What goes wrong in the columns and options of a source.
fn of_a_source(text: &Text, stopped: usize) -> Option<Hint> {
    text.pair("EXTERNAL", "TABLE")?;
    let said = |index: usize, message: String, help: &str| {
        let hint = at(text, index, help)?;
        Some(Hint { message: Some(message), ..hint })
    };
    let before = stopped.checked_sub(1)?;
    if is_word(&text.tokens[before], "WITH") && text.tokens[stopped].token == Token::LParen {
        let message = "the options of a source are not written WITH".to_owned();
        return said(before, message, "write OPTIONS (subject 'orders.>'), without =");
    }
    let in_columns = text.word_index("STORED").is_some_and(|stored| stopped < stored);
    let Token::Word(name) = &text.tokens[before].token else { return None };
    match &text.tokens[stopped].token {
        Token::RParen | Token::Comma
            if in_columns && ["ARRAY", "LIST"].iter().any(|word| name.value.eq_ignore_ascii_case(word)) =>
        {
            said(before, "a list says of what it is one".to_owned(), "write VARCHAR[] for a list of texts")
        }
        Token::RParen | Token::Comma if in_columns && name.value.eq_ignore_ascii_case("MAP") => {
            said(before, "a map says the types of its keys and values".to_owned(), "write MAP<VARCHAR, BIGINT>")
        }
        Token::RParen | Token::Comma if in_columns && begins_item(text, before) => {
            said(before, format!("the column {} has no type", name.value), "write one after its name, as in id BIGINT")
        }
        Token::Word(next) if in_columns && is_type_end(&text.tokens[before]) && next.keyword == Keyword::NoKeyword => {
            said(stopped, "a column begins where the one before has not ended".to_owned(), "write a comma before it")
        }
        _ => None,
    }
}

fn begins_item(text: &Text, index: usize) -> bool {
    let before = index.checked_sub(1).map(|before| &text.tokens[before].token);
    matches!(before, Some(Token::LParen | Token::Comma))
}

fn is_type_end(token: &TokenWithSpan) -> bool {
    TYPE_NAMES.iter().any(|name| is_word(token, name)) || is_word(token, "NULL") || token.token == Token::RParen
}

/// A comma directly before a word that begins a clause, which was taken for a name.
fn needless_comma(text: &Text, stopped: usize) -> Option<Hint> {
    let is_one = |index: &usize| {
        let begins = |word: &str| text.tokens.get(index + 1).is_some_and(|next| is_word(next, word));
        text.tokens[*index].token == Token::Comma
            && ["FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "UNION"].into_iter().any(begins)
    };
    text.word("EXTERNAL").is_none().then_some(())?;
    let comma = (stopped.saturating_sub(3)..=stopped).rev().find(is_one)?;
    let hint = at(text, comma, "leave it out, or write what it parts")?;
    Some(Hint { message: Some("nothing stands behind this comma".to_owned()), ..hint })
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
    if !(begins_column && in_select_list) {
        return None;
    }
    let hint = at(text, stopped, "write one before it")?;
    Some(Hint { message: Some("a comma is missing between two columns".to_owned()), ..hint })
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
