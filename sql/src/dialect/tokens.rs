//! Looks at tokens: words, and which parentheses they are in. Changes none.

use std::ops::Range;

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

pub(crate) fn is_word(token: &TokenWithSpan, word: &str) -> bool {
    matches!(&token.token, Token::Word(found) if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

/// Returns the partner of the parenthesis at `open`.
pub(super) fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(index);
        }
    }
    None
}

/// Returns the parenthesis around the token at an index.
pub(super) fn opening(tokens: &[TokenWithSpan], index: usize) -> Option<usize> {
    let mut depth = 0usize;
    for before in (0..index).rev() {
        match tokens[before].token {
            Token::RParen => depth += 1,
            Token::LParen if depth == 0 => return Some(before),
            Token::LParen => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Returns the tokens of a range that are in no parentheses within it.
pub(super) fn own_level(tokens: &[TokenWithSpan], range: Range<usize>) -> Vec<usize> {
    let mut depth = 0usize;
    let mut own = Vec::new();
    for index in range {
        match tokens[index].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ if depth == 0 => own.push(index),
            _ => {}
        }
    }
    own
}
