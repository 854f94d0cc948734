//! Appending behind a known head, exactly once, whatever becomes of the answers.
//!
//! Each attempt has the same condition: the sequence of the last message of the subject. So at most one attempt can be stored, also one that
//! was given up and arrives late. When an answer is missing or says no, the leader tells which message follows the head. If it is ours, the
//! append has succeeded; if it is another one, no attempt can succeed any more; if there is none, the same attempt is made again.

use std::time::Duration;

use async_nats::HeaderMap;
use backon::{BackoffBuilder, ExponentialBuilder};
use bytes::Bytes;
use tokio::time::Instant;

use super::aggregate::{AggregateId, Head};
use super::error::StoreError;
use super::message::StoredMessage;
use super::stream::{EventStream, Published};

/// The wait before the second attempt.
const FIRST_WAIT: Duration = Duration::from_millis(10);
/// The longest wait between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Messages to append behind a head.
pub(super) struct Append<'a> {
    pub(super) aggregate: &'a AggregateId,
    pub(super) subject: &'a str,
    pub(super) messages: &'a [(HeaderMap, Bytes)],
    /// The ids of the events, or of the outcome. They tell our messages from those of others.
    pub(super) ids: &'a [String],
    /// The version of the aggregate after the append.
    pub(super) version: u64,
}

/// What became of an append.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It is stored, once. The aggregate's head now.
    Stored(Head),
    /// It is not stored and cannot be any more: something else follows the head.
    Moved,
}

/// What follows a head in the stream.
enum Following {
    Nothing,
    Ours(u64),
    Other,
}

impl Append<'_> {
    /// Appends behind `head`.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] if the stream could not be asked within `give_up_after`, [`StoreError::Config`] if the server refuses.
    pub(super) async fn run(&self, stream: &EventStream, head: Head, give_up_after: Duration) -> Result<Outcome, StoreError> {
        let deadline = Instant::now() + give_up_after;
        let mut waits = waits();
        let mut reason = String::new();
        // Whether an attempt may be stored without our knowledge.
        let mut in_doubt = false;
        loop {
            match stream.publish(self.subject, head.sequence, self.messages).await {
                Published::Stored(sequence) => return Ok(Outcome::Stored(Head { version: self.version, sequence })),
                Published::Moved => match self.following(stream, head).await {
                    Ok(Following::Ours(sequence)) => return Ok(Outcome::Stored(Head { version: self.version, sequence })),
                    Ok(Following::Other) => return Ok(Outcome::Moved),
                    // An earlier attempt is on its way.
                    Ok(Following::Nothing) if in_doubt => {}
                    // The head is not in the stream any more, or the leader has changed.
                    Ok(Following::Nothing) => return Ok(Outcome::Moved),
                    Err(error) if in_doubt => reason = error.to_string(),
                    Err(error) => return Err(error),
                },
                Published::Refused(refusal) if in_doubt => reason = refusal,
                Published::Refused(refusal) => {
                    return Err(StoreError::Config(format!("{}: the server refuses the events: {refusal}", self.aggregate)));
                }
                Published::Unknown(failure) => {
                    in_doubt = true;
                    reason = failure;
                    match self.following(stream, head).await {
                        Ok(Following::Ours(sequence)) => return Ok(Outcome::Stored(Head { version: self.version, sequence })),
                        Ok(Following::Other) => return Ok(Outcome::Moved),
                        Ok(Following::Nothing) | Err(_) => {}
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Unknown { aggregate: self.aggregate.clone(), reason, repeatable: false });
            }
            tokio::time::sleep(waits.next().unwrap_or(LONGEST_WAIT)).await;
        }
    }

    /// Asks the leader which messages follow the head.
    async fn following(&self, stream: &EventStream, head: Head) -> Result<Following, StoreError> {
        let Some(first) = stream.leader_next(self.subject, head.sequence + 1).await? else { return Ok(Following::Nothing) };
        let last = holds(stream, self.aggregate, self.subject, first, self.ids).await?;
        Ok(last.map_or(Following::Other, Following::Ours))
    }
}

/// Checks that a message and those that follow it hold exactly these ids. Returns the sequence of the last one.
pub(super) async fn holds(
    stream: &EventStream,
    aggregate: &AggregateId,
    subject: &str,
    first: StoredMessage,
    ids: &[String],
) -> Result<Option<u64>, StoreError> {
    let (mut message, mut rest) = (first, ids);
    loop {
        let Some(after) = rest.strip_prefix(message.ids(aggregate)?.as_slice()) else { return Ok(None) };
        if after.is_empty() {
            return Ok(Some(message.sequence));
        }
        let Some(next) = stream.leader_next(subject, message.sequence + 1).await? else { return Ok(None) };
        (message, rest) = (next, after);
    }
}

/// The waits between attempts: exponential, bounded, with jitter.
pub(super) fn waits() -> impl Iterator<Item = Duration> + Send {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_WAIT)
        .with_max_delay(LONGEST_WAIT)
        .without_max_times()
        .with_jitter()
        .build()
}
