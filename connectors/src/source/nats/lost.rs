//! Decides what it means that a stream no longer holds sequences that were not read.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::JoinHandle;
use tracing::warn;

use super::connection::Connection;
use super::stream::{Facts, OpenStream, gone};
use crate::Error;
use crate::source::batch::Batch;
use crate::source::gap::Gap;

/// How long to wait before the leader is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Decides what it means that the stream no longer holds the sequences of `range`, all of which are before its first.
///
/// - In a key-value bucket in which only newer messages of a key remove older ones, nothing is missing: `None`.
/// - With `on_gap 'continue'`, it is a gap to report.
///
/// # Errors
/// [`Error::StreamChanged`] in all other cases.
pub(super) fn lost(connection: &Connection, range: Range<u64>, facts: &Facts) -> Result<Option<Gap>, Error> {
    let options = connection.options();
    // An overwritten bucket still has the newest message of each key.
    if options.is_bucket && facts.only_overwritten && facts.extent.first < facts.extent.end {
        return Ok(None);
    }
    if !options.continue_on_gap || range.is_empty() {
        return Err(gone(connection, range.start, facts.extent.first));
    }
    let which = if options.subjects.is_empty() { "" } else { "; how many of them option 'subject' selects is not known" };
    let reason = format!(
        "stream {} had lost them before they were read: expected sequence {}, but the first that still existed was {}{which}",
        options.stream, range.start, facts.extent.first
    );
    let found_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    Ok(Some(Gap { first: range.start, last: range.end - 1, found_ms: u64::try_from(found_ms).unwrap_or(u64::MAX), reason }))
}

/// Waits until the batch is decoded and the stream is confirmed to still hold everything from `first_undelivered` on.
pub(super) async fn decoded_and_held(
    decoding: JoinHandle<Result<Batch, Error>>,
    connection: Arc<Connection>,
    stream: OpenStream,
    first_undelivered: u64,
) -> Result<Batch, Error> {
    let facts = loop {
        match stream.facts().await {
            Ok(facts) => break facts,
            Err(error @ Error::Unavailable { .. }) => {
                warn!(source = connection.source(), %error, "cannot confirm that no event is missing; retrying");
                tokio::time::sleep(ASK_AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    };
    let gap = match facts.extent.first > first_undelivered {
        // What was delivered before it was lost is in the batch, but which of the rest was selected is not known.
        true => Some(|end: u64| lost(&connection, first_undelivered..facts.extent.first.min(end), &facts)),
        false => None,
    };
    let mut batch = decoding.await.map_err(|error| Error::Bug(format!("decoding: {error}")))??;
    if let Some(gap) = gap {
        batch.gaps.extend(gap(batch.end)?);
    }
    Ok(batch)
}
