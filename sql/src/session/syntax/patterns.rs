//! `LIKE 'a!%' ESCAPE '!'`: the pattern with the escape character that DataFusion 55.2 knows, a backslash.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Value, ValueWithSpan};

use super::pieces::refused;

/// Writes the pattern of LIKE and ILIKE without ESCAPE.
///
/// # Errors
/// A pattern that is not written out, or that ends with its escape character.
pub(super) fn escape(expression: &mut Expr) -> Result<()> {
    let (Expr::Like { pattern, escape_char, .. } | Expr::ILike { pattern, escape_char, .. }) = expression else { return Ok(()) };
    let Some(written) = escape_char.take() else { return Ok(()) };
    let Some(character) = character(&written) else {
        return Err(refused("ESCAPE takes one character", "write ESCAPE '!', or ESCAPE '' for none", &written));
    };
    if character == Some('\\') {
        return Ok(());
    }
    let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = pattern.as_mut() else {
        let help = "write the pattern as a text, or escape with a backslash in the column itself";
        return Err(refused("ESCAPE with a pattern that is computed is not there", help, pattern.as_ref()));
    };
    match with_backslashes(text, character) {
        Some(escaped) => {
            *text = escaped;
            Ok(())
        }
        None => {
            Err(refused("the pattern ends with its escape character", "write the character twice for itself", pattern.as_ref()))
        }
    }
}

/// The escape character; inside, none for an empty text, which turns escapes off.
fn character(written: &ValueWithSpan) -> Option<Option<char>> {
    let Value::SingleQuotedString(text) = &written.value else { return None };
    let mut characters = text.chars();
    let first = characters.next();
    characters.next().is_none().then_some(first)
}

/// A pattern whose escape character is a backslash; none where it ends with its escape character.
fn with_backslashes(pattern: &str, escape: Option<char>) -> Option<String> {
    let mut written = String::new();
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        if Some(character) == escape {
            written.extend(['\\', characters.next()?]);
        } else if character == '\\' {
            written.push_str("\\\\");
        } else {
            written.push(character);
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_backslashes() {
        for (pattern, escape, written) in [
            ("a!%b%", Some('!'), Some("a\\%b%")),
            ("a!!%", Some('!'), Some("a\\!%")),
            ("a\\b_", Some('!'), Some("a\\\\b_")),
            ("a\\b_", None, Some("a\\\\b_")),
            ("a!", Some('!'), None),
        ] {
            assert_eq!(with_backslashes(pattern, escape).as_deref(), written, "{pattern}");
        }
    }
}
