//! Tests the JetStream source against real servers.

mod access;
mod atomic;
mod audit;
mod changes;
mod gaps;
mod held;
mod kinds;
mod messages;
mod mutated;
mod outage;
mod packed;
mod rate;
mod reading;

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use alluvium_connectors::source::nats::{NatsReader, NatsSource};
use alluvium_connectors::source::{BatchLimits, Gap, Held, Past, Position, Read, Reader, Source, SourceConfig, Start};
use alluvium_connectors::{Batch, DeadLetter, Error};
use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use async_nats::jetstream::{self, Context, stream};

use crate::server::{Server, Version};

/// The newest and the oldest supported version.
const VERSIONS: [Version; 2] = [Version::Newest, Version::Oldest];

/// The time limit of any wait in a test.
const LIMIT: Duration = Duration::from_secs(60);

fn config(server: &Server, stream: &str, options: &[(&str, &str)]) -> SourceConfig {
    SourceConfig {
        name: "orders".into(),
        stored_as: "NATS".into(),
        location: format!("{}/{stream}", server.url()),
        folder: Default::default(),
        options: options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<BTreeMap<_, _>>(),
        declared: Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("country", DataType::Utf8, true),
            Field::new("total", DataType::Float64, true),
        ])),
        columns: vec![0],
        limits: BatchLimits { max_events: 1_000, ..BatchLimits::default() },
    }
}

fn source(server: &Server, stream: &str, options: &[(&str, &str)]) -> NatsSource {
    NatsSource::new(config(server, stream, options)).expect("a source")
}

async fn jetstream(server: &Server) -> Context {
    jetstream::new(async_nats::connect(server.url()).await.expect("a client"))
}

/// A stream `S` on the subjects `s.>`.
async fn stream(context: &Context) -> stream::Stream {
    stream_with(context, stream::Config::default()).await
}

async fn stream_with(context: &Context, config: stream::Config) -> stream::Stream {
    let config = stream::Config { name: "S".into(), subjects: vec!["s.>".into()], ..config };
    context.create_stream(config).await.expect("a stream")
}

fn body(id: u64) -> String {
    format!(
        "{{\"order\":\"o-{id:012}\",\"id\":{id},\"country\":\"C{}\",\"customer\":\"c-{:08}\",\"total\":{}.25,\"note\":\"as usual, at the door, thank you very much indeed, and so on\"}}",
        id % 5,
        id % 100_000,
        id % 977
    )
}

/// Publishes an event for each id. `subject` returns its subject.
async fn publish(context: &Context, ids: impl Iterator<Item = u64>, subject: impl Fn(u64) -> String) {
    let mut open = std::collections::VecDeque::new();
    for id in ids {
        open.push_back(context.publish(subject(id), body(id).into()).await.expect("published").into_future());
        if open.len() >= 2_000 {
            open.pop_front().expect("one").await.expect("stored");
        }
    }
    for acknowledgement in open {
        acknowledgement.await.expect("stored");
    }
}

/// Everything that a reader returned.
#[derive(Default)]
struct Got {
    start: Option<u64>,
    end: u64,
    /// Sequence and id of each row.
    rows: Vec<(u64, i64)>,
    dead: Vec<DeadLetter>,
    events: u64,
    batches: usize,
    gaps: Vec<Gap>,
    /// The offsets after which a commit may fall, of those at which batches end.
    boundaries: Vec<u64>,
}

impl Got {
    fn ids(&self) -> Vec<i64> {
        self.rows.iter().map(|row| row.1).collect()
    }

    fn sequences(&self) -> Vec<u64> {
        self.rows.iter().map(|row| row.0).collect()
    }

    /// Adds a batch, and checks the invariants of a batch.
    fn add(&mut self, batch: &Batch) {
        if self.start.is_some() {
            assert_eq!(batch.start, self.end, "batches touch");
        }
        self.start.get_or_insert(batch.start);
        assert!(batch.end > batch.start, "a batch covers something");
        assert_eq!(batch.end, batch.position.offset);
        assert_eq!(batch.rows.num_rows(), batch.sequences.len());
        assert_eq!(batch.events, (batch.rows.num_rows() + batch.dead_letters.len()) as u64);
        let ids: &Int64Array = batch.rows.column(0).as_primitive::<Int64Type>();
        let mut before = None;
        for (sequence, id) in batch.sequences.values().iter().zip(ids.values()) {
            assert!((batch.start..batch.end).contains(sequence) && before.is_none_or(|before| before < *sequence));
            before = Some(*sequence);
            self.rows.push((*sequence, *id));
        }
        self.end = batch.end;
        self.events += batch.events;
        self.dead.extend(batch.dead_letters.iter().cloned());
        self.batches += 1;
        self.gaps.extend(batch.gaps.iter().cloned());
        if batch.commits.allow(batch.end) {
            self.boundaries.push(batch.end);
        }
    }
}

/// The reader's next result, within the limit.
async fn next(reader: &mut NatsReader) -> Result<Read, Error> {
    tokio::time::timeout(LIMIT, reader.next()).await.expect("something within the limit")
}

/// Reads until the reader reports that it has caught up to an offset of at least `end`.
async fn read_to(reader: &mut NatsReader, end: u64) -> Got {
    try_read_to(reader, end).await.expect("no error")
}

async fn try_read_to(reader: &mut NatsReader, end: u64) -> Result<Got, Error> {
    let mut got = Got { end: reader.position().offset, ..Got::default() };
    loop {
        match next(reader).await? {
            Read::Batch(batch) => got.add(&batch),
            Read::CaughtUp { offset } => {
                assert_eq!(offset, reader.position().offset, "caught up means what was given");
                if offset >= end {
                    return Ok(got);
                }
            }
            Read::End => panic!("a stream has no end"),
        }
    }
}

/// Reads everything from the first event to the current end of the stream.
async fn read_all(source: &NatsSource) -> Got {
    let end = source.extent().await.expect("an extent").end;
    let mut reader = source.read(Start::First).await.expect("a reader");
    read_to(&mut reader, end).await
}

/// Reads everything and returns the position after it.
async fn position_at_end(source: &NatsSource) -> Position {
    let end = source.extent().await.expect("an extent").end;
    let mut reader = source.read(Start::First).await.expect("a reader");
    read_to(&mut reader, end).await;
    reader.position().clone()
}

fn changed(error: Error) -> String {
    match error {
        Error::StreamChanged { source_name, message } => {
            assert_eq!(source_name, "orders");
            message
        }
        other => panic!("expected a changed stream, found {other}"),
    }
}

fn config_error(error: Error) -> (String, String) {
    match error {
        Error::Config { message, help } => (message, help.unwrap_or_default()),
        other => panic!("expected an error of the declaration, found {other}"),
    }
}

fn absent_error(error: Error) -> (String, String) {
    match error {
        Error::Absent { message, help } => (message, help.unwrap_or_default()),
        other => panic!("expected a stream that is not there, found {other}"),
    }
}
