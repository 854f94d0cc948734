//! The forms of text: numbers, booleans, dates and times. It only proposes; the decoder decides.

/// What a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Number,
    Boolean,
    Date,
    Time,
    Other,
}

/// Returns the form of a text.
pub(super) fn form(text: &str) -> Form {
    if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") {
        Form::Boolean
    } else if is_number(text) {
        Form::Number
    } else if is_date(text) {
        Form::Date
    } else if is_time(text) {
        Form::Time
    } else {
        Form::Other
    }
}

/// Checks for a number as JSON writes it. One with zeros before it is a name, such as a postal code.
fn is_number(text: &str) -> bool {
    let starts = text.strip_prefix('-').unwrap_or(text).starts_with(|first: char| first.is_ascii_digit());
    starts && text.len() <= 64 && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// Checks for text whose characters match a pattern: `9` stands for a digit, all others for themselves.
fn matches(text: &[u8], pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.iter().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'9' => byte.is_ascii_digit(),
            other => *byte == other,
        })
}

fn is_date(text: &str) -> bool {
    matches(text.as_bytes(), "9999-99-99")
}

fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let begins = |pattern: &str| bytes.get(..pattern.len()).is_some_and(|head| matches(head, pattern));
    let iso = ["9999-99-99T99:99", "9999-99-99 99:99", "99999999T9999"].into_iter().any(begins);
    // `Wed, 1 May 2024 10:00:00 +0200`
    let mail = bytes.get(3) == Some(&b',') && text.contains(':') && bytes.first().is_some_and(u8::is_ascii_alphabetic);
    (iso || mail) && text.len() <= 40
}
