//! Regular expressions as JSON Schema writes them, those of ECMA 262, in the words of the crate `regex`. It has no look-around and no
//! back-references, so patterns with these are refused.

use regex::Regex;

/// Compiles a pattern, which may match anywhere in a text.
///
/// # Errors
/// Says what is wrong.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(&translated(pattern)).map_err(|error| {
        let reason = error.to_string();
        let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        format!("the pattern {pattern} is not read: {last}")
    })
}

/// Writes the classes of ASCII that ECMA 262 means, and escapes what has no meaning there within brackets.
fn translated(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    let mut in_brackets = false;
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some('d') => text.push_str("[0-9]"),
                Some('D') => text.push_str("[^0-9]"),
                Some('w') => text.push_str("[A-Za-z0-9_]"),
                Some('W') => text.push_str("[^A-Za-z0-9_]"),
                Some('s') => text.push_str(r"[\s\u{feff}]"),
                Some('S') => text.push_str(r"[^\s\u{feff}]"),
                Some('c') => {
                    let control = letters.next().map_or(0, |letter| u32::from(letter) % 32);
                    text.push_str(&format!(r"\x{{{control:x}}}"));
                }
                Some(escaped) => text.extend(['\\', escaped]),
                None => text.push('\\'),
            },
            '[' if in_brackets => text.push_str(r"\["),
            '[' => {
                in_brackets = true;
                text.push('[');
                if letters.next_if_eq(&'^').is_some() {
                    text.push('^');
                }
            }
            ']' => {
                in_brackets = false;
                text.push(']');
            }
            '&' | '~' if in_brackets => text.extend(['\\', letter]),
            '$' if !in_brackets => text.push_str(r"\z"),
            '^' if !in_brackets => text.push_str(r"\A"),
            _ => text.push(letter),
        }
    }
    text
}
