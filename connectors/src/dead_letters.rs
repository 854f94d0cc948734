//! Events that could not be applied, kept as Parquet so that nothing is lost.

use bytes::Bytes;

/// One event that could not be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The source's name.
    pub source: String,
    /// The event's sequence.
    pub sequence: u64,
    /// The view whose expression failed on it; none where the body did not decode.
    pub view: Option<String>,
    /// The message's subject, or the file's name.
    pub subject: String,
    /// When the event was stored, nanoseconds since the epoch, where known.
    pub timestamp_ns: Option<i64>,
    /// The message's headers as JSON text, where there are any.
    pub headers: Option<String>,
    /// The body, byte for byte.
    pub payload: Bytes,
    /// A short, bounded word for metrics: `not_json`, `not_one_object`, `wrong_type`, `missing`, `out_of_range`, `too_deep`, `expression`.
    pub kind: &'static str,
    /// What was wrong and where.
    pub error: String,
}
