//! The key-value bucket with the snapshots of aggregates, and with the outcomes of commands that are older than these.
//!
//! A load begins at a snapshot and does not read what is older. So the outcomes of all commands up to a snapshot are written here before the
//! snapshot: who finds a snapshot, finds them too. The outcomes after it are in the events that are read.
//!
//! | key | value |
//! | --- | --- |
//! | `snapshot.<state schema>.<type>.<id>` | the state as JSON, with its version and schema |
//! | `command.<type>.<id>.<command id>` | the versions of the command's events, or its rejection |
//!
//! Characters that a key cannot have are written as `=` and two hexadecimal digits.

use std::collections::HashMap;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use super::aggregate::{AggregateId, Head};
use super::error::StoreError;
use super::store::{EventStore, get_or_create};
use super::stream::{EventStream, Published, context};

/// How many outcomes are written at a time.
const WRITES: usize = 64;

/// The bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    /// The events.
    store: EventStore,
    stream: EventStream,
    name: String,
    incarnation: String,
}

/// A snapshot as the bucket holds it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// Identifies the stream that the events are in. A snapshot of another one is ignored.
    incarnation: String,
    version: u64,
    sequence: u64,
    /// The id of the message at the sequence.
    pub(super) last_id: String,
    pub(super) state_schema: u32,
    pub(super) state: Box<RawValue>,
}

impl Snapshot {
    /// The last message that the state knows.
    pub(super) fn head(&self) -> Head {
        Head { version: self.version, sequence: self.sequence }
    }
}

/// What became of a command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) command_id: String,
    /// The version of its first event; one more than `version` if it emitted none.
    pub(super) first_version: u64,
    /// The version of the aggregate after it.
    pub(super) version: u64,
    /// The sequence of its last message.
    pub(super) sequence: u64,
    /// The rejection. `None` if it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rejection: Option<Box<RawValue>>,
    /// Identifies the stream.
    #[serde(default)]
    incarnation: String,
}

impl Kept {
    pub(super) fn new(command_id: String, first_version: u64, head: Head, rejection: Option<Box<RawValue>>) -> Kept {
        let Head { version, sequence } = head;
        Kept { command_id, first_version, version, sequence, rejection, incarnation: String::new() }
    }
}

impl Bucket {
    /// Opens the store's bucket. Creates it if there is none.
    pub(super) async fn open(store: &EventStore) -> Result<Bucket, StoreError> {
        let options = store.options();
        let config = options.bucket_config();
        let (found, _) = get_or_create(&context(store.client(), options), config.clone()).await?;
        options.check_bucket(&found)?;
        let stream = EventStream::open(store.client(), options, &config.name).await?;
        let (name, incarnation) = (options.bucket.clone(), store.incarnation().to_string());
        Ok(Bucket { store: store.clone(), stream, name, incarnation })
    }

    /// Returns the newest snapshot of an aggregate.
    pub(super) async fn snapshot(&self, aggregate: &AggregateId, state_schema: u32) -> Result<Option<Snapshot>, StoreError> {
        let found = match self.stream.direct_last(&self.snapshot_subject(aggregate, state_schema)).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(None),
            // All is in the events.
            Err(error) => {
                warn!(%aggregate, %error, "no snapshot can be read; all events are loaded");
                return Ok(None);
            }
        };
        // A client of the bucket has deleted it.
        if found.payload.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice::<Snapshot>(&found.payload) {
            Ok(snapshot) => Ok(Some(snapshot).filter(|snapshot| snapshot.incarnation == self.incarnation)),
            Err(error) => {
                warn!(%aggregate, %error, "the bucket holds something else than a snapshot; all events are loaded");
                Ok(None)
            }
        }
    }

    /// Returns the outcome of a command that is older than the snapshot. It is read from the leader, so that no replica hides it, and compared
    /// with the events, which the stream may have lost.
    pub(super) async fn outcome(&self, aggregate: &AggregateId, command_id: &str) -> Result<Option<Kept>, StoreError> {
        let Some(found) = self.stream.leader_last(&self.outcome_subject(aggregate, command_id)).await? else { return Ok(None) };
        let kept: Option<Kept> = serde_json::from_slice(&found.payload).ok();
        let kept = kept.filter(|kept| kept.incarnation == self.incarnation && kept.command_id == command_id);
        match kept {
            Some(kept) if self.store.is_outcome(aggregate, kept.sequence, command_id).await? => Ok(Some(kept)),
            _ => Ok(None),
        }
    }

    /// Writes outcomes, then the snapshot that they precede.
    pub(super) async fn put(
        &self,
        aggregate: &AggregateId,
        outcomes: &HashMap<String, Kept>,
        indexed: Head,
        (head, last_id): (Head, &str),
        state_schema: u32,
        state: Box<RawValue>,
    ) -> Result<(), StoreError> {
        if indexed.sequence == 0 {
            // It may have been deleted.
            get_or_create(&context(self.store.client(), self.store.options()), self.store.options().bucket_config()).await?;
        }
        let mut new = Vec::new();
        for kept in outcomes.values().filter(|kept| kept.sequence > indexed.sequence) {
            new.push(Kept { incarnation: self.incarnation.clone(), ..kept.clone() });
        }
        let written =
            futures::stream::iter(new).map(|kept| async move { self.keep_first(aggregate, kept).await }).buffer_unordered(WRITES);
        written.try_collect::<()>().await?;
        let Head { version, sequence } = head;
        let (incarnation, last_id) = (self.incarnation.clone(), last_id.to_owned());
        let snapshot = Snapshot { incarnation, version, sequence, last_id, state_schema, state };
        self.stream.put(&self.snapshot_subject(aggregate, state_schema), HeaderMap::new(), json(&snapshot)?).await
    }

    /// Writes an outcome, unless there is an earlier one.
    async fn keep_first(&self, aggregate: &AggregateId, kept: Kept) -> Result<(), StoreError> {
        let subject = self.outcome_subject(aggregate, &kept.command_id);
        let message = (HeaderMap::new(), json(&kept)?);
        if let Published::Stored(_) = self.stream.publish(&subject, 0, std::slice::from_ref(&message)).await {
            return Ok(());
        }
        match self.outcome(aggregate, &kept.command_id).await? {
            Some(_) => Ok(()),
            // It is of events that the stream has lost, or of a stream that had the same name; or the answer was lost.
            None => self.stream.put(&subject, message.0, message.1).await,
        }
    }

    /// Each schema has its own, so that two releases of a service can run at once.
    fn snapshot_subject(&self, aggregate: &AggregateId, state_schema: u32) -> String {
        let (kind, id) = (key(aggregate.kind()), key(aggregate.id()));
        format!("$KV.{}.snapshot.{state_schema}.{kind}.{id}", self.name)
    }

    fn outcome_subject(&self, aggregate: &AggregateId, command_id: &str) -> String {
        let (kind, id) = (key(aggregate.kind()), key(aggregate.id()));
        format!("$KV.{}.command.{kind}.{id}.{}", self.name, key(command_id))
    }
}

fn json<T: Serialize>(value: &T) -> Result<Bytes, StoreError> {
    let written = serde_json::to_vec(value).map_err(|error| StoreError::Config(format!("a snapshot: {error}")));
    Ok(written?.into())
}

/// Writes a text as a token of a key, so that no two texts have the same.
fn key(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(char::from(byte)),
            _ => key.push_str(&format!("={byte:02x}")),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_different_as_their_texts() {
        assert_eq!(key("a-1_B"), "a-1_B");
        assert_eq!(key("a.b=c d*"), "a=2eb=3dc=20d=2a");
        assert_ne!(key("a=2e"), key("a."));
    }
}
