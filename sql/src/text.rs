//! A statement's tokens with their places in the file. Finds words without knowing what they mean.

use std::sync::Arc;

use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer};

use crate::file::{Location, SqlFile};

/// A statement's text in its file. Never empty.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) file: Arc<SqlFile>,
    /// Without white space and comments.
    pub(crate) tokens: Vec<TokenWithSpan>,
}

impl Text {
    /// Returns the statement at a place that was read before. `None` if nothing is there.
    pub(crate) fn of(at: &Location) -> Option<Text> {
        let sql = at.file.text.get(at.offset..at.offset + at.length)?;
        let mut tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location().ok()?;
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        let (line, column) = at.line_column();
        let (lines, columns) = (u64::try_from(line - 1).ok()?, u64::try_from(column - 1).ok()?);
        for token in &mut tokens {
            for place in [&mut token.span.start, &mut token.span.end] {
                place.column += if place.line == 1 { columns } else { 0 };
                place.line += lines;
            }
        }
        (!tokens.is_empty()).then(|| Text { file: Arc::clone(&at.file), tokens })
    }

    /// Returns the place of the whole statement.
    pub(crate) fn at(&self) -> Location {
        self.between(self.tokens.first().map(|t| t.span), self.tokens.last().map(|t| t.span))
    }

    /// Returns the place of the statement's first words, which a message about the whole statement underlines.
    pub(crate) fn head(&self) -> Location {
        self.between(self.tokens.first().map(|t| t.span), self.tokens.get(2).or(self.tokens.last()).map(|t| t.span))
    }

    /// Returns the statement's source text.
    pub(crate) fn sql(&self) -> &str {
        let at = self.at();
        &self.file.text[at.offset..at.offset + at.length]
    }

    /// Converts lines and columns to a place.
    pub(crate) fn span(&self, span: Span) -> Location {
        self.between(Some(span), Some(span))
    }

    /// Finds the first token that is this word, in any case.
    pub(crate) fn word(&self, word: &str) -> Option<Location> {
        self.word_index(word).map(|index| self.span(self.tokens[index].span))
    }

    pub(crate) fn word_index(&self, word: &str) -> Option<usize> {
        self.tokens.iter().position(|token| is_word(token, word))
    }

    /// Finds the value of an option in `OPTIONS (name value, ...)`. A value may read like a name, so only what follows `(` or a comma is one.
    pub(crate) fn value_of(&self, option: &str) -> Option<Location> {
        let is_key = |token: &TokenWithSpan| match &token.token {
            Token::SingleQuotedString(text) => text.eq_ignore_ascii_case(option),
            _ => is_word(token, option),
        };
        let begins = |pair: &[TokenWithSpan]| is_word(&pair[0], "OPTIONS") && pair[1].token == Token::LParen;
        let list = &self.tokens[self.tokens.windows(2).rposition(begins)? + 1..];
        let is_entry = |pair: &[TokenWithSpan]| matches!(pair[0].token, Token::LParen | Token::Comma) && is_key(&pair[1]);
        let key = list.windows(2).rposition(is_entry)?;
        list.get(key + 2).map(|token| self.span(token.span))
    }

    /// Finds the second of two adjacent words.
    pub(crate) fn pair(&self, first: &str, second: &str) -> Option<Location> {
        let pair = self.tokens.windows(2).find(|pair| is_word(&pair[0], first) && is_word(&pair[1], second));
        pair.map(|pair| self.span(pair[1].span))
    }

    /// Finds the token after two adjacent words.
    pub(crate) fn after(&self, first: &str, second: &str) -> Option<Location> {
        let found = self.tokens.windows(3).find(|three| is_word(&three[0], first) && is_word(&three[1], second));
        found.map(|three| self.span(three[2].span))
    }

    /// Finds the call of a function: its name directly before a parenthesis, else the first such word.
    pub(crate) fn call(&self, name: &str) -> Option<Location> {
        self.call_only(name).or_else(|| self.word(name))
    }

    /// Finds the name of a function directly before a parenthesis.
    pub(crate) fn call_only(&self, name: &str) -> Option<Location> {
        let call = self.tokens.windows(2).find(|pair| is_word(&pair[0], name) && pair[1].token == Token::LParen);
        call.map(|pair| self.span(pair[0].span))
    }

    /// Finds the first LIMIT or OFFSET of a query that has no ORDER BY.
    pub(crate) fn unordered(&self, word: &str) -> Option<Location> {
        let is_unordered = |(index, token): &(usize, &TokenWithSpan)| is_word(token, word) && !self.is_ordered_before(*index);
        let found = self.tokens.iter().enumerate().find(is_unordered);
        found.map(|(_, token)| self.span(token.span)).or_else(|| self.word(word))
    }

    /// Checks whether ORDER BY comes before a word, within the same query.
    fn is_ordered_before(&self, index: usize) -> bool {
        let mut closed = 0usize;
        for token in self.tokens[..index].iter().rev() {
            match token.token {
                Token::RParen => closed += 1,
                Token::LParen if closed == 0 => return false,
                Token::LParen => closed -= 1,
                _ if closed == 0 && is_word(token, "ORDER") => return true,
                _ => {}
            }
        }
        false
    }

    /// Finds what a message names in quotes: a string literal, or a word; of `a.b`, the last part.
    pub(crate) fn quoted_in(&self, message: &str) -> Option<Location> {
        let quoted = message.split(['\'', '"']).skip(1).step_by(2).filter(|quoted| !quoted.is_empty());
        quoted.into_iter().find_map(|quoted| {
            self.literal(quoted).or_else(|| self.word(quoted)).or_else(|| self.word(quoted.rsplit('.').next()?))
        })
    }

    /// Finds the first string literal with this text.
    pub(crate) fn literal(&self, text: &str) -> Option<Location> {
        let found = self.tokens.iter().find(|token| matches!(&token.token, Token::SingleQuotedString(found) if found == text));
        found.map(|token| self.span(token.span))
    }

    /// The ORDER BY with which a statement ends outside of all parentheses, where nothing says how many rows are wanted.
    pub(crate) fn last_order(&self) -> Option<Location> {
        let mut depth = 0usize;
        let mut order = None;
        for pair in self.tokens.windows(2) {
            match pair[0].token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ if depth == 0 && is_word(&pair[0], "ORDER") && is_word(&pair[1], "BY") => order = Some(pair[0].span),
                _ if depth == 0 && ["LIMIT", "FETCH", "OFFSET", "TOP"].iter().any(|word| is_word(&pair[0], word)) => return None,
                _ if is_word(&pair[0], "DISTINCT") && is_word(&pair[1], "ON") => return None,
                _ => {}
            }
        }
        order.map(|span| self.span(span))
    }

    /// The first name of several parts that is this one, as in `o.id`.
    pub(crate) fn qualified(&self, name: &str) -> Option<Location> {
        let parts: Vec<&str> = name.split('.').map(|part| part.trim_matches('"')).collect();
        let length = 2 * parts.len() - 1;
        let is_name = |tokens: &&[TokenWithSpan]| {
            tokens.iter().enumerate().all(|(index, token)| match index % 2 {
                0 => parts.get(index / 2).is_some_and(|part| is_word(token, part)),
                _ => token.token == Token::Period,
            })
        };
        let found = self.tokens.windows(length).find(is_name)?;
        Some(self.between(found.first().map(|token| token.span), found.last().map(|token| token.span)))
    }

    /// The last opening parenthesis that is not closed.
    pub(crate) fn unclosed(&self) -> Option<Location> {
        let mut open = Vec::new();
        for token in &self.tokens {
            match token.token {
                Token::LParen => open.push(token.span),
                Token::RParen => {
                    open.pop();
                }
                _ => {}
            }
        }
        open.pop().map(|span| self.span(span))
    }

    /// Finds the first token that is this symbol.
    pub(crate) fn symbol(&self, symbol: &str) -> Option<Location> {
        let found = self.tokens.iter().find(|token| token.token.to_string() == symbol);
        found.map(|token| self.span(token.span))
    }

    fn between(&self, first: Option<Span>, last: Option<Span>) -> Location {
        let start = first.map_or(0, |span| byte_offset(&self.file.text, span.start.line, span.start.column));
        let end = last.map_or(start, |span| byte_offset(&self.file.text, span.end.line, span.end.column));
        Location { file: Arc::clone(&self.file), offset: start, length: end.saturating_sub(start).max(1) }
    }
}

pub(crate) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found) if found.value.eq_ignore_ascii_case(word))
}

/// Returns the byte offset of a line and a column, both from 1. Columns count characters.
pub(crate) fn byte_offset(text: &str, line: u64, column: u64) -> usize {
    let (line, column) = (usize::try_from(line).unwrap_or(1), usize::try_from(column).unwrap_or(1));
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = &text[start..];
    start + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(offset, _)| offset)
}
