//! The sampled events, as they were before decoding.

use alluvium_connectors::source::Batch;
use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::TimestampNanosecondType;

use crate::sample::Sample;

/// Columns that bring all of an event, in the order in which [`Payloads::of`] reads them.
pub(super) const COLUMNS: &str = "_sequence BIGINT UNSIGNED, _subject VARCHAR, _timestamp TIMESTAMP, _payload BYTEA";

/// One event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) sequence: u64,
    pub(super) subject: String,
    pub(super) timestamp_ns: Option<i64>,
    pub(super) payload: Vec<u8>,
}

/// The sampled events, in order.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    pub(super) events: Vec<Event>,
    /// How many events the source holds, if it is known.
    pub(super) held: Option<u64>,
    /// Whether it holds events that were not sampled.
    pub(super) cut: bool,
}

impl Payloads {
    /// Of a sample of a source with [`COLUMNS`].
    pub(super) fn of(sample: &Sample) -> Payloads {
        let mut events: Vec<Event> = sample.batches.iter().flat_map(events).collect();
        events.sort_by_key(|event| event.sequence);
        Payloads { events, held: sample.held, cut: sample.cut }
    }
}

fn events(batch: &Batch) -> Vec<Event> {
    let [_, subjects, times, payloads] = batch.rows.columns() else { return Vec::new() };
    let (subjects, times) = (subjects.as_string::<i32>(), times.as_primitive::<TimestampNanosecondType>());
    let payloads = payloads.as_binary::<i32>();
    let rows = (0..batch.rows.num_rows()).map(|row| Event {
        sequence: batch.sequences.value(row),
        subject: subjects.value(row).to_owned(),
        timestamp_ns: times.is_valid(row).then(|| times.value(row)),
        payload: payloads.value(row).to_vec(),
    });
    let letters = batch.dead_letters.iter().map(|letter| Event {
        sequence: letter.sequence,
        subject: letter.subject.clone(),
        timestamp_ns: letter.timestamp_ns,
        payload: letter.payload.to_vec(),
    });
    rows.chain(letters).collect()
}
