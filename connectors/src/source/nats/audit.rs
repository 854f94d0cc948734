//! Audits the filter of a source: reads a sample of the stream without the filter, and compares it with what the server delivered.
//!
//! The server filters by subject, and a reader cannot notice a message that it leaves out. Servers have had such faults. An audit reads the
//! headers of at most [`SAMPLE`] sequences, so that it costs little.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::Consumer;
use async_nats::jetstream::consumer::pull::Config;
use futures::StreamExt;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::connection::Connection;
use super::gathered::Gathered;
use super::held::{consumer, delete, is_marker};
use super::stream::{OpenStream, overlap};
use crate::Error;
use crate::source::contract::Audited;

/// The maximum number of sequences of an audit.
const SAMPLE: u64 = 1_000;
/// How long an audit may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Decides when an audit is due.
#[derive(Debug)]
pub(super) struct Audits {
    interval: Option<Duration>,
    due: Option<Instant>,
}

impl Audits {
    /// Creates the schedule. The first audit is due after one interval; without an interval, none is.
    pub(super) fn new(interval: Option<Duration>) -> Audits {
        Audits { interval, due: interval.map(|interval| Instant::now() + interval) }
    }

    /// Takes the sample of an audit from a batch, if one is due.
    pub(super) fn sample(&mut self, batch: &Gathered) -> Option<Sample> {
        let now = Instant::now();
        if batch.messages() == 0 || self.due? > now {
            return None;
        }
        self.due = self.interval.map(|interval| now + interval);
        let range = batch.start.max(batch.end.saturating_sub(SAMPLE))..batch.end;
        let delivered = batch.sequences().filter(|sequence| range.contains(sequence)).collect();
        Some(Sample { range, delivered, keeps_markers: batch.keeps_markers() })
    }
}

/// A range of a stream, and what was delivered of it.
#[derive(Debug)]
pub(super) struct Sample {
    range: Range<u64>,
    /// The sequences of the events. Includes markers only with `keeps_markers`.
    delivered: BTreeSet<u64>,
    keeps_markers: bool,
}

impl Sample {
    /// Reads the sample's range without the filter, and notes on the connection what was not delivered. Does nothing while another audit of
    /// the source is under way.
    pub(super) async fn audit(self, connection: Arc<Connection>, stream: OpenStream) {
        if !connection.begin_audit() {
            return;
        }
        let compared = tokio::time::timeout(LIMIT, self.compare(&connection, &stream)).await;
        connection.end_audit();
        match compared.unwrap_or_else(|_| Err(connection.unavailable(format!("no answer within {LIMIT:?}")))) {
            Ok(audited) => {
                if audited.skipped > 0 {
                    error!(
                        source = connection.source(),
                        skipped = audited.skipped,
                        sequences = ?audited.sequences,
                        "the server has not delivered events that the filter selects; rebuild the views that read the source"
                    );
                }
                debug!(source = connection.source(), range = ?self.range, events = audited.events, "filter audited");
                connection.note_audit(audited);
            }
            Err(error) => warn!(source = connection.source(), %error, "the filter could not be audited"),
        }
    }

    async fn compare(&self, connection: &Connection, stream: &OpenStream) -> Result<Audited, Error> {
        let consumer = consumer(connection, stream, self.range.start, &[]).await?;
        let expected = self.read(&consumer, &connection.options().subjects).await;
        delete(stream, &consumer).await;
        let expected = expected.map_err(|message| connection.unavailable(format!("auditing the filter: {message}")))?;
        Ok(self.judge(&expected))
    }

    /// Reads the sequences of the events that the filter selects.
    async fn read(&self, consumer: &Consumer<Config>, subjects: &[String]) -> Result<Vec<u64>, String> {
        let mut expected = Vec::new();
        if consumer.cached_info().num_pending == 0 {
            return Ok(expected);
        }
        let messages = consumer.stream().max_messages_per_batch(SAMPLE as usize).messages().await;
        let mut messages = messages.map_err(|error| error.to_string())?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| error.to_string())?;
            let info = message.info().map_err(|error| error.to_string())?;
            if info.stream_sequence >= self.range.end {
                break;
            }
            let counts = self.keeps_markers || !message.headers.as_ref().is_some_and(is_marker);
            if counts && subjects.iter().any(|pattern| overlap(pattern, &message.subject)) {
                expected.push(info.stream_sequence);
            }
            if info.pending == 0 {
                break;
            }
        }
        Ok(expected)
    }

    fn judge(&self, expected: &[u64]) -> Audited {
        let skipped: Vec<u64> = expected.iter().filter(|sequence| !self.delivered.contains(sequence)).copied().collect();
        Audited {
            audits: 1,
            events: expected.len() as u64,
            skipped: skipped.len() as u64,
            sequences: skipped.into_iter().take(Audited::SHOWN).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_not_delivered_is_found_and_counted() {
        let sample = Sample { range: 1..10, delivered: BTreeSet::from([2, 4, 8]), keeps_markers: false };
        assert_eq!(sample.judge(&[2, 4, 8]).skipped, 0);
        let mut all = sample.judge(&[2, 4, 6, 8, 9]);
        assert_eq!((all.events, all.skipped, all.sequences.as_slice()), (5, 2, &[6, 9][..]));
        all.add(sample.judge(&[2, 3]));
        assert_eq!((all.audits, all.events, all.skipped, all.sequences.as_slice()), (2, 7, 3, &[6, 9, 3][..]));
    }
}
