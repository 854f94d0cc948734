//! What the stream has held: each event by sequence, read from the server itself, and what DuckDB knows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::orders::Orders;

/// The sequences of a stream, inclusive; the first is one past the last if it holds none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The events that views may have applied.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// One line of JSON each, by sequence. Events that were purged after they were read here stay.
    events: BTreeMap<u64, String>,
    next: u64,
    /// Every first sequence that the stream has had when something was purged.
    pub(crate) firsts: BTreeSet<u64>,
}

impl Ledger {
    /// Reads what the server has stored since. No other purge may happen meanwhile.
    pub(crate) fn update(&mut self, orders: &Orders) -> Held {
        let from = self.next.max(1);
        let (held, read) = orders.with_jetstream(async |context| {
            let mut stream = stream(&context).await;
            let state = stream.info().await.unwrap().state.clone();
            let held = Held { first: state.first_sequence, last: state.last_sequence };
            let from = from.max(held.first);
            let mut read = Vec::new();
            if held.last >= from {
                let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: from };
                let config = pull::OrderedConfig { deliver_policy, ..Default::default() };
                let mut messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
                while let Some(message) = messages.next().await {
                    let message = message.unwrap();
                    let sequence = message.info().unwrap().stream_sequence;
                    read.push((sequence, line(sequence, &message.subject, &message.payload)));
                    if sequence >= held.last {
                        break;
                    }
                }
            }
            (held, read)
        });
        self.events.extend(read);
        self.next = held.last + 1;
        held
    }

    /// Forgets the events of a tail that the server has lost.
    pub(crate) fn lost_after(&mut self, last: u64) {
        self.events.retain(|sequence, _| *sequence <= last);
        self.next = self.next.min(last + 1);
    }

    /// How many events it holds.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Asserts that each order that the server has acknowledged is where it said.
    pub(crate) fn assert_holds(&self, acknowledged: &[(u64, u64)]) {
        for (sequence, order) in acknowledged.iter().filter(|(sequence, _)| *sequence < self.next) {
            let Some(line) = self.events.get(sequence) else { continue };
            let event: Value = serde_json::from_str(line).unwrap();
            let same = event["order_id"].is_null() || event["order_id"] == *order;
            assert!(same, "the server acknowledged order {order} at sequence {sequence}, and holds {line} there");
        }
    }

    /// Writes the file from which DuckDB reads.
    pub(crate) fn write(&self, path: &Path) {
        let mut text = String::new();
        for line in self.events.values() {
            writeln!(text, "{line}").unwrap();
        }
        std::fs::write(path, text).unwrap();
    }
}

/// The columns of the file from which DuckDB reads.
pub(crate) const COLUMNS: &str = "sequence BIGINT, subject VARCHAR, bad VARCHAR, order_id BIGINT, customer BIGINT, country VARCHAR, \
                                  total DECIMAL(12, 2), placed_at TIMESTAMP, amount DECIMAL(12, 2)";

/// The stream. A server that has just started may not know it yet.
pub(crate) async fn stream(context: &jetstream::Context) -> jetstream::stream::Stream {
    for _ in 0..100 {
        if let Ok(stream) = context.get_stream("ORDERS").await {
            return stream;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    context.get_stream("ORDERS").await.unwrap()
}

/// The last sequence of a subject, or 0.
pub(crate) fn last_of(orders: &Orders, subject: &str) -> u64 {
    orders.with_jetstream(async |context| match stream(&context).await.get_last_raw_message_by_subject(subject).await {
        Ok(message) => message.sequence,
        Err(error) if error.to_string().contains("no message found") => 0,
        Err(error) => panic!("the last message on {subject}: {error}"),
    })
}

/// What no consumer of ours leaves out: `bad` is `body` if no view can use the event, and `total` if no view that reads the total can.
fn line(sequence: u64, subject: &str, payload: &[u8]) -> String {
    let body: Result<Value, _> = serde_json::from_slice(payload);
    let Ok(Value::Object(mut members)) = body else {
        return json!({"sequence": sequence, "subject": subject, "bad": "body"}).to_string();
    };
    let is_bad = members.get("total").is_some_and(|total| *total == "much");
    if is_bad {
        members.remove("total");
    }
    members.insert("sequence".into(), sequence.into());
    members.insert("subject".into(), subject.into());
    members.insert("bad".into(), if is_bad { "total" } else { "" }.into());
    Value::Object(members).to_string()
}
