//! Column builders: turn the text of JSON values into Arrow arrays. They can be truncated when a row fails.

pub(super) mod bytes;
pub(super) mod cast;
pub(super) mod decimals;
mod direct;
pub(super) mod nested;
mod number;
pub(super) mod scalar;
pub(super) mod temporal;

use std::borrow::Cow;
use std::cell::RefCell;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use crate::decode::fault::{Fault, Refusal};
use crate::decode::value::{Value, write_json};

/// One column being built.
///
/// # Contract
/// - After a value that does not fit, truncating the column to its previous length restores its previous state (checked by `bodies`).
/// - The finished array has the column's type, and one value for each append that was not truncated (checked by `oracle`).
pub(in crate::decode) trait Column: Send {
    /// Appends a value, given as the text of a JSON value other than `null`, without surrounding white space. After a fault the
    /// column may contain parts of the value and must be truncated.
    fn append(&mut self, raw: &str) -> Result<(), Fault>;
    /// Appends a value of a format with types of its own, other than NULL, with the same result as its JSON text has. After a fault the
    /// column may contain parts of the value and must be truncated.
    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault>;
    /// Appends NULL.
    fn append_null(&mut self);
    /// Truncates the column to `length`. Does nothing if it is shorter.
    fn truncate(&mut self, length: usize);
    /// Returns the array. The column must not be used afterwards.
    fn finish(&mut self) -> Result<ArrayRef, ArrowError>;
}

/// Returns the unescaped content of a JSON string, or `None` if the value is of another kind.
fn text(raw: &str) -> Result<Option<Cow<'_, str>>, Refusal> {
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return Ok(None) };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    // JSON's grammar allows an escaped lone surrogate, which UTF-8 cannot represent.
    match serde_json::from_str(raw) {
        Ok(unescaped) => Ok(Some(Cow::Owned(unescaped))),
        Err(_) => Err(Refusal::OutOfRange("an escape in it is not a character")),
    }
}

thread_local! {
    /// The memory for the JSON text of a value.
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends the JSON text of a value. A column does this with each value for which it has no direct way.
fn append_written(column: &mut impl Column, value: &[Value<'_>]) -> Result<(), Fault> {
    let mut json = WRITTEN.take();
    json.clear();
    write_json(value, &mut json);
    let appended = match std::str::from_utf8(&json) {
        Ok(raw) => column.append(raw),
        Err(_) => Err(Fault::of_payload("wrong_type", "a text in it is not UTF-8".into())),
    };
    WRITTEN.set(json);
    appended
}
