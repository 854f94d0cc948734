//! The ephemeral pull consumer that delivers a stream's messages, and the checks on each of them.
//!
//! It acknowledges nothing, and the reader discards it as soon as it cannot trust it. The reader keeps the offset itself.

use std::time::Duration;

use async_nats::header::{HeaderMap, NATS_MARKER_REASON};
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer as PullConsumer, DeliverPolicy};
use async_nats::jetstream::stream::ConsumerErrorKind;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, Message};
use bytes::Bytes;
use tracing::debug;

use super::options::NatsOptions;
use super::pulls::{Delivered, MAX_PULL, Pulls};
use super::stream::{Facts, OpenStream};

/// The minimum number of messages to request at a time, for large messages.
const MIN_PULL: usize = 64;
/// The approximate number of bytes to request at a time. The client keeps them in memory if the reader is slow.
const PULL_BYTES: u64 = 64 << 20;
/// How long the server keeps the consumer of a program that has gone away.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(5 * 60);
/// How long deleting a consumer may take.
const DELETE_TIMEOUT: Duration = Duration::from_secs(2);

/// The server's error codes for subject filters that it refuses.
const BAD_FILTERS: &[ErrorCode] = &[
    ErrorCode::CONSUMER_DUPLICATE_FILTER_SUBJECTS,
    ErrorCode::CONSUMER_OVERLAPPING_SUBJECT_FILTERS,
    ErrorCode::CONSUMER_FILTER_NOT_SUBSET,
];

/// Why a consumer could not be created.
pub(super) enum NotCreated {
    /// The server refuses the subject filters.
    Filters(String),
    /// Anything else. A retry can help.
    ForNow(String),
}

/// One event of the stream.
#[derive(Debug)]
pub(super) struct Event {
    /// Its sequence in the stream.
    pub(super) sequence: u64,
    /// When it was stored, in nanoseconds since the epoch.
    pub(super) timestamp_ns: i64,
    /// The subject that it was published to.
    pub(super) subject: async_nats::Subject,
    /// Its headers, if any.
    pub(super) headers: Option<HeaderMap>,
    /// Its body.
    pub(super) payload: Bytes,
}

impl Event {
    /// Checks whether this message only marks the removal of others: it has no body, and a header of the server (expired by TTL, purged)
    /// or of a key-value bucket (deleted, purged).
    pub(super) fn is_marker(&self) -> bool {
        self.payload.is_empty()
            && self.headers.as_ref().is_some_and(|headers| {
                headers.get(NATS_MARKER_REASON).is_some()
                    || headers.get("KV-Operation").is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE"))
            })
    }
}

/// A message of the consumer that passed the checks.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The event.
    pub(super) event: Event,
    /// The number of messages that the server still held for this consumer when it sent this one.
    pub(super) pending: u64,
}

/// A consumer and the messages that it delivers.
pub(super) struct Consumer {
    context: jetstream::Context,
    stream: String,
    consumer: PullConsumer<Config>,
    pulls: Pulls,
    received: u64,
}

impl Consumer {
    /// Creates a consumer that begins at `offset`.
    pub(super) async fn create(
        client: Client,
        context: jetstream::Context,
        stream: &OpenStream,
        facts: &Facts,
        options: &NatsOptions,
        offset: u64,
    ) -> Result<Consumer, NotCreated> {
        let mut config = Config {
            description: Some("alluvium".into()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: offset },
            ack_policy: AckPolicy::None,
            inactive_threshold: facts.max_inactive.map_or(INACTIVE_THRESHOLD, |limit| limit.min(INACTIVE_THRESHOLD)),
            num_replicas: 1,
            memory_storage: true,
            ..Config::default()
        };
        match options.subjects.as_slice() {
            [subject] => config.filter_subject.clone_from(subject),
            subjects => config.filter_subjects = subjects.to_vec(),
        }
        let consumer = stream.stream.create_consumer(config).await.map_err(|error| {
            let message = format!("creating a consumer: {error}");
            match error.kind() {
                ConsumerErrorKind::JetStream(refusal) if BAD_FILTERS.contains(&refusal.error_code()) => {
                    NotCreated::Filters(message)
                }
                _ => NotCreated::ForNow(message),
            }
        })?;
        let pull = pull_size(facts.mean_bytes);
        let name = &consumer.cached_info().name;
        let pulls = Pulls::begin(client, options.domain.as_deref(), &options.stream, name, pull).await;
        let pulls = pulls.map_err(NotCreated::ForNow)?;
        debug!(consumer = name, offset, pull, "consumer created");
        Ok(Consumer { context, stream: options.stream.clone(), consumer, pulls, received: 0 })
    }

    /// Waits for the next message. Dropping the future loses no message.
    ///
    /// # Errors
    /// Says why this consumer can no longer be trusted.
    pub(super) async fn next(&mut self) -> Result<Delivery, String> {
        let message = self.pulls.next().await?;
        self.check(message)
    }

    /// Returns the next message if it has already arrived. The caller must still call [`Consumer::next`] from time to time, which requests
    /// more.
    pub(super) fn next_ready(&mut self) -> Option<Result<Delivery, String>> {
        let message = self.pulls.next_ready()?;
        Some(message.and_then(|message| self.check(message)))
    }

    /// Checks whether the server has nothing more to deliver and everything that it delivered has arrived.
    pub(super) async fn drained(&self) -> Result<bool, String> {
        let info = self.consumer.get_info().await.map_err(|error| format!("consumer info: {error}"))?;
        Ok(info.num_pending == 0 && info.delivered.consumer_sequence == self.received)
    }

    /// Tries to delete the consumer on the server.
    pub(super) async fn delete(self) {
        let Consumer { context, stream, consumer, pulls, .. } = self;
        drop(pulls);
        let name = &consumer.cached_info().name;
        match tokio::time::timeout(DELETE_TIMEOUT, context.delete_consumer_from_stream(name, &stream)).await {
            Ok(Ok(_)) => debug!(consumer = name, "consumer deleted"),
            Ok(Err(error)) => debug!(consumer = name, %error, "consumer not deleted"),
            Err(_) => debug!(consumer = name, "consumer not deleted in time"),
        }
    }

    fn check(&mut self, message: Message) -> Result<Delivery, String> {
        let async_nats::Message { subject, reply, headers, payload, .. } = message;
        let delivered = reply.as_ref().and_then(|reply| Delivered::parse(reply.as_str()));
        let delivered = delivered.ok_or_else(|| format!("a message without its position in the stream: reply {reply:?}"))?;
        if delivered.consumer_sequence != self.received + 1 {
            return Err(format!("expected message {} of the consumer, found {}", self.received + 1, delivered.consumer_sequence));
        }
        self.received += 1;
        let Delivered { stream_sequence: sequence, timestamp_ns, pending, .. } = delivered;
        Ok(Delivery { event: Event { sequence, timestamp_ns, subject, headers, payload }, pending })
    }
}

/// Returns how many messages to request at a time, given their mean size in bytes.
fn pull_size(mean_bytes: u64) -> usize {
    usize::try_from(PULL_BYTES / mean_bytes.max(1)).unwrap_or(MAX_PULL).clamp(MIN_PULL, MAX_PULL)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn event(payload: &'static str, headers: &[(&'static str, &'static str)]) -> Event {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        Event {
            sequence: 1,
            timestamp_ns: 0,
            subject: "a".into(),
            headers: (!headers.is_empty()).then_some(map),
            payload: Bytes::from_static(payload.as_bytes()),
        }
    }

    #[test]
    fn markers_have_no_body_and_a_header() {
        assert!(event("", &[("Nats-Marker-Reason", "MaxAge")]).is_marker());
        assert!(event("", &[("KV-Operation", "DEL")]).is_marker());
        assert!(event("", &[("KV-Operation", "PURGE")]).is_marker());
        assert!(!event("", &[("KV-Operation", "PUT")]).is_marker());
        assert!(!event("", &[]).is_marker());
        assert!(!event("", &[("Nats-Msg-Id", "1")]).is_marker());
        assert!(!event("{}", &[("KV-Operation", "DEL")]).is_marker());
    }

    #[test]
    fn large_messages_are_asked_for_in_small_numbers() {
        assert_eq!(pull_size(0), MAX_PULL);
        assert_eq!(pull_size(170), MAX_PULL);
        assert_eq!(pull_size(64 << 10), 1_024);
        assert_eq!(pull_size(8 << 20), MIN_PULL);
    }
}
