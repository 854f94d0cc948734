//! Finds misspelt keywords, for messages.

use datafusion::sql::sqlparser::tokenizer::Token;

use crate::file::Location;
use crate::names::nearest;
use crate::text::{Text, is_word};

/// Returns the first of a statement's first words that is nearly one that such statements begin with, and what was meant.
pub(super) fn misspelt_head(text: &Text, words: &[&str]) -> Option<(Location, &'static str)> {
    const HEADS: [&str; 6] = ["CREATE", "EXTERNAL", "TABLE", "MATERIALIZED", "VIEW", "FUNCTION"];
    let (index, near) = words.iter().enumerate().take(3).find_map(|(index, word)| {
        let near = nearest(word, HEADS).filter(|near| near != word)?;
        Some((index, near))
    })?;
    Some((text.span(text.tokens[index].span), near))
}

/// Words that begin a clause or belong to one.
const CLAUSES: [&str; 19] = [
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP",
    "ORDER",
    "HAVING",
    "LIMIT",
    "JOIN",
    "UNION",
    "DISTINCT",
    "PARTITION",
    "BETWEEN",
    "INTERVAL",
    "STORED",
    "LOCATION",
    "OPTIONS",
    "RETURNS",
    "RETURN",
    "WITH",
];

/// Returns a word at or shortly before the place where the parser gave up that is nearly one of a clause, and what was meant.
pub(super) fn misspelt_clause(text: &Text, offset: usize) -> Option<(Location, String)> {
    let stopped = text.tokens.iter().position(|token| text.span(token.span).offset >= offset)?;
    let first = stopped.saturating_sub(2);
    let at = |index: usize| text.span(text.tokens[index].span);
    for index in first..=stopped {
        let needs_by = ["GROUP", "ORDER", "PARTITION"].iter().find(|clause| is_word(&text.tokens[index], clause));
        if let Some(clause) = needs_by
            && !text.tokens.get(index + 1).is_some_and(|next| is_word(next, "BY"))
        {
            return Some((at(index), format!("write {clause} BY")));
        }
    }
    // Most often it is the word before, which was taken for a name.
    [stopped.checked_sub(1), Some(stopped), stopped.checked_sub(2)].into_iter().flatten().find_map(|index| {
        let Token::Word(word) = &text.tokens[index].token else { return None };
        let is_name = index > 0 && ["FROM", "JOIN", "AS"].iter().any(|before| is_word(&text.tokens[index - 1], before));
        let is_clause = CLAUSES.iter().any(|clause| word.value.eq_ignore_ascii_case(clause));
        if word.quote_style.is_some() || is_clause || (is_name && index < stopped) {
            return None;
        }
        nearest(&word.value, CLAUSES).map(|clause| (at(index), format!("did you mean {clause}?")))
    })
}
