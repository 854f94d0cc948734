//! Checks whether a stream still holds the events that were read. If nothing was removed, this needs no look at the events. Otherwise it
//! counts the events that the source selects.

use std::sync::Arc;

use async_nats::header::{HeaderMap, NATS_MARKER_REASON};
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy};
use futures::StreamExt;

use super::connection::Connection;
use super::lost::lost;
use super::stream::{OpenStream, no_stream};
use super::stream_position::StreamPosition;
use crate::Error;
use crate::source::contract::{Held, Past};

/// The number of messages to request at a time.
const PULL: usize = 5_000;

/// Returns how much of `past` the stream still holds.
///
/// # Errors
/// [`Error::StreamChanged`] if it is not the stream that was read, and those of [`OpenStream::find`].
pub(super) async fn held(connection: &Arc<Connection>, past: &Past) -> Result<Held, Error> {
    let name = &connection.options().stream;
    let position = StreamPosition::of(name, &past.position).map_err(|message| connection.changed(message))?;
    let Some((stream, facts)) = OpenStream::find(connection).await? else { return Err(no_stream(connection, &position)) };
    stream.verify(&position, &facts).await?;
    let first = facts.extent.first;
    if first > position.offset {
        lost(connection, position.offset..first, &facts)?;
    }
    if connection.options().is_bucket && facts.only_overwritten && first < facts.extent.end {
        // The newest messages of its keys are all that is needed to make its rows anew.
        return Ok(Held::All);
    }
    let deleted = stream.stream.cached_info().state.deleted_count.unwrap_or(0);
    let whole = first <= past.began.unwrap_or(1) && deleted == 0;
    if whole || past.events == Some(0) || position.offset <= past.began.unwrap_or(1) {
        return Ok(Held::All);
    }
    // Without the number of events read and the offset where reading began, there is nothing to compare.
    let Some(read) = past.events.filter(|_| past.began.is_some()) else { return Ok(Held::Part { first, gone: None }) };
    // Events that arrive in between are only in the second count, so the difference is an upper bound. It usually decides.
    let after = pending(connection, &stream, position.offset).await?;
    let most = pending(connection, &stream, 1).await?.saturating_sub(after);
    let there = if most < read { most } else { counted_before(connection, &stream, position.offset).await? };
    Ok(match read.saturating_sub(there) {
        0 => Held::All,
        gone => Held::Part { first, gone: Some(gone) },
    })
}

/// Returns the number of messages that the source selects from an offset on.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn pending(connection: &Connection, stream: &OpenStream, offset: u64) -> Result<u64, Error> {
    let consumer = consumer(connection, stream, offset, &connection.options().subjects).await?;
    let pending = consumer.cached_info().num_pending;
    delete(stream, &consumer).await;
    Ok(pending)
}

/// Counts the events that the source selects before an offset, one by one. Messages that mark a removal are not events.
async fn counted_before(connection: &Connection, stream: &OpenStream, end: u64) -> Result<u64, Error> {
    let consumer = consumer(connection, stream, 1, &connection.options().subjects).await?;
    let counted = if consumer.cached_info().num_pending == 0 { Ok(0) } else { count(&consumer, end).await };
    delete(stream, &consumer).await;
    counted.map_err(|message| connection.unavailable(format!("counting the events that were read: {message}")))
}

async fn count(consumer: &Consumer<Config>, end: u64) -> Result<u64, String> {
    let messages = consumer.stream().max_messages_per_batch(PULL).messages().await;
    let mut messages = messages.map_err(|error| error.to_string())?;
    let (mut events, mut received) = (0, 0);
    while let Some(message) = messages.next().await {
        let message = message.map_err(|error| error.to_string())?;
        let info = message.info().map_err(|error| error.to_string())?;
        received += 1;
        if info.consumer_sequence != received {
            return Err(format!("expected message {received} of the consumer, found {}", info.consumer_sequence));
        }
        if info.stream_sequence >= end {
            break;
        }
        events += u64::from(!message.headers.as_ref().is_some_and(is_marker));
        if info.pending == 0 {
            break;
        }
    }
    Ok(events)
}

/// Creates a consumer that delivers only the headers of messages with these subjects; of all messages if there are none.
///
/// # Errors
/// [`Error::Unavailable`].
pub(super) async fn consumer(
    connection: &Connection,
    stream: &OpenStream,
    offset: u64,
    subjects: &[String],
) -> Result<Consumer<Config>, Error> {
    let mut config = Config {
        description: Some("alluvium".into()),
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: offset.max(1) },
        ack_policy: AckPolicy::None,
        num_replicas: 1,
        memory_storage: true,
        headers_only: true,
        ..Config::default()
    };
    match subjects {
        [subject] => config.filter_subject.clone_from(subject),
        subjects => config.filter_subjects = subjects.to_vec(),
    }
    let created = stream.stream.create_consumer(config).await;
    created.map_err(|error| connection.unavailable(format!("creating a consumer that counts: {error}")))
}

/// Tries to delete the consumer. The server soon removes it in any case.
pub(super) async fn delete(stream: &OpenStream, consumer: &Consumer<Config>) {
    let _ = stream.stream.delete_consumer(&consumer.cached_info().name).await;
}

/// Like `consumer::Event::is_marker`, for a message that is delivered without its body. A header holds the size of the body.
pub(super) fn is_marker(headers: &HeaderMap) -> bool {
    let empty = headers.get("Nats-Msg-Size").is_none_or(|size| size.as_str() == "0");
    empty
        && (headers.get(NATS_MARKER_REASON).is_some()
            || headers.get("KV-Operation").is_some_and(|operation| matches!(operation.as_str(), "DEL" | "PURGE")))
}
