//! One event as a source passes it on, before decoding.

use bytes::Bytes;

use crate::dead_letters::DeadLetter;

/// One event. Its parts are copied only if a column reads them or if it does not decode.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Its sequence.
    pub sequence: u64,
    /// The message's subject, or the file's name.
    pub subject: &'a str,
    /// When the event was stored, in nanoseconds since the epoch, if known.
    pub timestamp_ns: Option<i64>,
    /// The message's headers, if any. Visited only if `_headers` is read or the payload does not decode.
    pub headers: Option<&'a dyn Headers>,
    /// The payload.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// Converts the message to a dead letter of `source`.
    #[must_use]
    pub fn letter(&self, source: &str, kind: &'static str, error: String) -> DeadLetter {
        DeadLetter {
            source: source.to_owned(),
            sequence: self.sequence,
            view: None,
            column: None,
            ordinal: None,
            subject: self.subject.to_owned(),
            timestamp_ns: self.timestamp_ns,
            headers: self.headers.map(headers_json),
            payload: Bytes::copy_from_slice(self.payload),
            kind,
            error,
        }
    }
}

/// A message's headers.
///
/// # Contract
/// - Each call visits the same headers in the same order, and so the values of one name (checked for streams by `messages` in their tests).
pub trait Headers {
    /// Calls `each` with the name and value of each header.
    fn visit(&self, each: &mut dyn FnMut(&str, &str));
}

/// Returns the name and value of each header, in the order in which the names first occur. The values of a repeated name are joined by
/// `, `.
pub(super) fn joined(headers: &dyn Headers) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    headers.visit(&mut |name, value| match entries.iter_mut().find(|(known, _)| known == name) {
        Some((_, values)) => {
            values.push_str(", ");
            values.push_str(value);
        }
        None => entries.push((name.to_owned(), value.to_owned())),
    });
    entries
}

/// Returns [`joined`] as the text of a JSON object.
pub(super) fn headers_json(headers: &dyn Headers) -> String {
    let mut text = String::from("{");
    for (index, (name, value)) in joined(headers).iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&serde_json::Value::from(name.as_str()).to_string());
        text.push(':');
        text.push_str(&serde_json::Value::from(value.as_str()).to_string());
    }
    text.push('}');
    text
}
