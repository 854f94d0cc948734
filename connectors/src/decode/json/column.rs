//! Columns being built: from the text of JSON values to Arrow arrays, cut back to a length where a row fails.

pub(super) mod bytes;
pub(super) mod cast;
pub(super) mod nested;
mod number;
pub(super) mod scalar;
pub(super) mod temporal;

use std::borrow::Cow;

use arrow::array::ArrayRef;
use arrow::error::ArrowError;

use crate::decode::fault::{Fault, Refusal};

/// One column being built.
///
/// # Contract
/// - A value that does not fit leaves the column such that truncating it to the length before makes it as it was (checked by `bodies`).
/// - The finished array has the column's type and as many values as were appended and not cut (checked by `oracle`).
pub(super) trait Column: Send {
    /// Appends a value, given as the text of a JSON value other than `null`, without white space around it. On a fault the
    /// column may have grown, in parts, and has to be truncated.
    fn append(&mut self, raw: &str) -> Result<(), Fault>;
    /// Appends NULL.
    fn append_null(&mut self);
    /// Cuts the column back to `length`; a shorter one stays as it is.
    fn truncate(&mut self, length: usize);
    /// The array; the column is not used afterwards.
    fn finish(&mut self) -> Result<ArrayRef, ArrowError>;
}

/// The content of a JSON text; none for values of other kinds.
fn text(raw: &str) -> Result<Option<Cow<'_, str>>, Refusal> {
    let Some(inner) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return Ok(None) };
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Ok(Some(Cow::Borrowed(inner)));
    }
    // JSON's grammar allows half of a surrogate pair; no text can hold it.
    match serde_json::from_str(raw) {
        Ok(unescaped) => Ok(Some(Cow::Owned(unescaped))),
        Err(_) => Err(Refusal::OutOfRange("an escape in it is not a character")),
    }
}
