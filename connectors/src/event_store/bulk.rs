//! Reads many messages of one subject by an ephemeral consumer. It acknowledges nothing, and its reader proves that nothing is missing.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::{Config, Stream as Messages};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy};
use futures::StreamExt;
use tracing::debug;

use super::error::StoreError;
use super::message::StoredMessage;
use super::stream::EventStream;

/// How many messages are requested at a time: few enough for the client's buffer, many enough to hide the way to the server.
const PULL: usize = 1_000;
/// How long the server keeps the consumer of a program that has gone away.
const INACTIVE: Duration = Duration::from_secs(30);

/// A consumer and what it delivers.
pub(super) struct Bulk {
    messages: Messages,
    name: String,
    stream: EventStream,
}

impl Bulk {
    /// Makes a consumer of a subject's messages from a sequence on. `None` if there are none.
    pub(super) async fn open(stream: &EventStream, subject: &str, from: u64) -> Result<Option<Bulk>, StoreError> {
        let failed = |error: String| stream.unavailable(format!("a consumer of {subject}: {error}"));
        let config = Config {
            description: Some("alluvium event store".into()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: from },
            filter_subject: subject.to_owned(),
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE,
            num_replicas: 1,
            memory_storage: true,
            ..Config::default()
        };
        let consumer = stream.stream().create_consumer(config).await.map_err(|error| failed(error.to_string()))?;
        if consumer.cached_info().num_pending == 0 {
            return Ok(None);
        }
        let messages = consumer.stream().max_messages_per_batch(PULL).heartbeat(Duration::from_secs(5)).messages();
        let messages = messages.await.map_err(|error| failed(error.to_string()))?;
        Ok(Some(Bulk { messages, name: consumer.cached_info().name.clone(), stream: stream.clone() }))
    }

    /// Waits for the next message. Also tells whether it is the last for now.
    pub(super) async fn next(&mut self) -> Result<(StoredMessage, bool), StoreError> {
        let failed = |error: String| self.stream.unavailable(format!("reading by a consumer: {error}"));
        let next = tokio::time::timeout(self.stream.timeout(), self.messages.next()).await;
        let message = match next {
            Err(_) => return Err(failed(format!("no message within {:?}", self.stream.timeout()))),
            Ok(None) => return Err(failed("it has ended".to_owned())),
            Ok(Some(Err(error))) => return Err(failed(error.to_string())),
            Ok(Some(Ok(message))) => message,
        };
        let (sequence, time, pending) = match message.info() {
            Ok(info) => (info.stream_sequence, info.published, info.pending),
            Err(error) => return Err(failed(error.to_string())),
        };
        let async_nats::Message { headers, payload, .. } = message.message;
        Ok((StoredMessage { sequence, time, headers: headers.unwrap_or_default(), payload }, pending == 0))
    }
}

/// Deletes the consumer, so that none is left of a load that has ended.
impl Drop for Bulk {
    fn drop(&mut self) {
        let (stream, name) = (self.stream.clone(), std::mem::take(&mut self.name));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = stream.stream().delete_consumer(&name).await {
                    debug!(consumer = name, %error, "consumer not deleted");
                }
            });
        }
    }
}
