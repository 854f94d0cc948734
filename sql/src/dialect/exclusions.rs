//! `EXCLUDE TIES` at the end of a window's frame, which the parser does not read. The frame is marked by a constant key of PARTITION BY.

use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::tokens::{is_word, opening, own_level};

/// The marks of frames that leave out the row itself, the row and its peers, and its peers alone.
pub(crate) const EXCLUDED: [&str; 3] = ["$EXCLUDE CURRENT ROW", "$EXCLUDE GROUP", "$EXCLUDE TIES"];

/// What each clause is, and its mark. `None` leaves out no row.
const CLAUSES: [(&[&str], Option<&str>); 4] = [
    (&["EXCLUDE", "CURRENT", "ROW"], Some(EXCLUDED[0])),
    (&["EXCLUDE", "GROUP"], Some(EXCLUDED[1])),
    (&["EXCLUDE", "TIES"], Some(EXCLUDED[2])),
    (&["EXCLUDE", "NO", "OTHERS"], None),
];

/// Replaces each EXCLUDE by its mark.
pub(super) fn mark(tokens: &mut Vec<TokenWithSpan>) {
    let mut index = 1;
    while index < tokens.len() {
        if let Some((words, mark)) = clause(tokens, index) {
            let span = tokens[index].span;
            tokens.drain(index..index + words);
            if let (Some(mark), Some(open)) = (mark, opening(tokens, index)) {
                partition_by(tokens, open, index, mark, span);
            }
        }
        index += 1;
    }
}

/// Returns how many words the clause at an index has, and its mark. A clause follows a bound of a frame, and ends the window.
fn clause(tokens: &[TokenWithSpan], index: usize) -> Option<(usize, Option<&'static str>)> {
    let after_bound = ["ROW", "PRECEDING", "FOLLOWING"].iter().any(|word| is_word(&tokens[index - 1], word));
    if !after_bound || !is_word(&tokens[index], "EXCLUDE") {
        return None;
    }
    let reads = |words: &[&str]| {
        let found = tokens.get(index..index + words.len());
        let ends = tokens.get(index + words.len()).is_some_and(|token| token.token == Token::RParen);
        ends && found.is_some_and(|found| found.iter().zip(words).all(|(token, word)| is_word(token, word)))
    };
    CLAUSES.into_iter().find(|clause| reads(clause.0)).map(|(words, mark)| (words.len(), mark))
}

/// Adds a constant key to the window between `open` and `close`.
fn partition_by(tokens: &mut Vec<TokenWithSpan>, open: usize, close: usize, mark: &str, span: Span) {
    let token = |token: Token| TokenWithSpan { token, span };
    // DataFusion drops plain constants from PARTITION BY.
    let key = [Token::LParen, Token::SingleQuotedString(mark.to_owned()), Token::RParen].map(token);
    let partition = own_level(tokens, open + 1..close).into_iter().find(|index| is_word(&tokens[*index], "PARTITION"));
    if let Some(partition) = partition {
        tokens.splice(partition + 2..partition + 2, key.into_iter().chain([token(Token::Comma)]));
        return;
    }
    let is_named = !["ORDER", "ROWS", "RANGE", "GROUPS"].iter().any(|word| is_word(&tokens[open + 1], word));
    let place = open + 1 + usize::from(is_named);
    let words = ["PARTITION", "BY"].map(|word| token(Token::make_keyword(word)));
    tokens.splice(place..place, words.into_iter().chain(key));
}
