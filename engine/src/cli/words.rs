//! The words of a SQL text that may not parse, as far as masking it needs them.

/// A word.
pub(super) enum Word<'t> {
    /// Letters, digits, `_` and `.`.
    Name {
        /// The word.
        word: &'t str,
        /// Its first byte.
        start: usize,
    },
    /// What stands between quotes, from byte to byte; to the end of the text where they are not closed.
    Quoted {
        /// Its first byte.
        start: usize,
        /// One past its last byte.
        end: usize,
    },
    /// `(`.
    Open,
    /// `)`.
    Close,
    /// `,` or `;`.
    Comma,
    /// Any other.
    Other,
}

/// Cuts a text into words; comments and spaces are none.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let end_of = |mark: &str| rest.find(mark).map_or(rest.len(), |end| end + mark.len());
        let first = rest.chars().next().unwrap_or(' ');
        let is_name = |character: char| character.is_alphanumeric() || character == '_' || character == '.';
        at += if rest.starts_with("--") {
            end_of("\n")
        } else if rest.starts_with("/*") {
            end_of("*/")
        } else if first == '\'' || first == '"' {
            let (length, closed) = quoted(rest, first);
            words.push(Word::Quoted { start: at + 1, end: at + length - usize::from(closed) });
            length
        } else if is_name(first) {
            let length = rest.find(|character| !is_name(character)).unwrap_or(rest.len());
            words.push(Word::Name { word: rest.get(..length).unwrap_or(rest), start: at });
            length
        } else {
            match first {
                '(' => words.push(Word::Open),
                ')' => words.push(Word::Close),
                ',' | ';' => words.push(Word::Comma),
                space if space.is_whitespace() => {}
                _ => words.push(Word::Other),
            }
            first.len_utf8()
        };
    }
    words
}

/// The length of a quoted text with its quotes, and whether it is closed. Two quotes within stand for one.
fn quoted(text: &str, quote: char) -> (usize, bool) {
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = rest.next() {
        if character == quote {
            if rest.peek().is_some_and(|(_, next)| *next == quote) {
                rest.next();
            } else {
                return (at + quote.len_utf8(), true);
            }
        }
    }
    (text.len(), false)
}
