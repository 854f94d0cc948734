//! Asks the stream's leader for its extent, whether it is still the stream of a position, and whether sequences that were not delivered
//! really do not exist.
//!
//! Every answer comes from the stream's leader (`STREAM.INFO`, `STREAM.MSG.GET`), never from a replica. [`judge`] and [`Holes`] interpret
//! the answers without I/O.

use std::ops::Range;
use std::sync::Arc;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{Info, LastRawMessageErrorKind, RetentionPolicy, Stream};
use async_nats::jetstream::{self, ErrorCode};
use futures::{StreamExt, TryStreamExt, stream};
use time::format_description::well_known::Rfc3339;
use xxhash_rust::xxh3::xxh3_64;

use super::connection::Connection;
use super::stream_position::StreamPosition;
use crate::Error;
use crate::source::contract::Extent;
use crate::source::position::LastEvent;

/// Up to this many missing sequences are requested one by one. If there are more, the list of all deleted sequences is read once.
const PROBED_ONE_BY_ONE: u64 = 256;

/// What the leader reports about a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    /// When it was created, in RFC 3339 with nanoseconds.
    pub(super) created: String,
    /// The sequences that it holds.
    pub(super) extent: Extent,
    /// The mean size of a message in bytes; 0 if the stream is empty.
    pub(super) mean_bytes: u64,
    /// The stream's limit for how long a consumer may be inactive, if it has one.
    pub(super) max_inactive: Option<std::time::Duration>,
    /// Whether messages are removed only if newer ones of their subject come, or on request.
    pub(super) only_overwritten: bool,
    retention: RetentionPolicy,
}

impl Facts {
    fn of(info: &Info) -> Result<Facts, Error> {
        let state = &info.state;
        let end = state.last_sequence + 1;
        let created = info.created.format(&Rfc3339).map_err(|error| Error::Bug(format!("a stream's creation time: {error}")))?;
        Ok(Facts {
            created,
            extent: Extent { first: if state.messages == 0 { end } else { state.first_sequence.max(1) }, end },
            mean_bytes: state.bytes.checked_div(state.messages).unwrap_or(0),
            max_inactive: info
                .config
                .consumer_limits
                .as_ref()
                .map(|limits| limits.inactive_threshold)
                .filter(|limit| !limit.is_zero()),
            only_overwritten: info.config.max_messages_per_subject > 0
                && info.config.max_age.is_zero()
                && info.config.max_bytes <= 0
                && info.config.max_messages <= 0
                && !info.config.allow_message_ttl
                && info.config.retention == RetentionPolicy::Limits
                && info.config.mirror.is_none()
                && info.config.sources.is_none(),
            retention: info.config.retention,
        })
    }
}

/// A stream on a connected client.
#[derive(Clone)]
pub(super) struct OpenStream {
    connection: Arc<Connection>,
    /// The library's handle.
    pub(super) stream: Stream<Info>,
    /// The creation time of the stream when it was found.
    created: String,
}

impl OpenStream {
    /// Finds the declared stream. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error::Config`] if reading would delete events or JetStream is off, and the errors of [`Connection::jetstream`].
    pub(super) async fn find(connection: &Arc<Connection>) -> Result<Option<(OpenStream, Facts)>, Error> {
        let (_, context) = connection.jetstream().await?;
        let name = &connection.options().stream;
        let stream = match context.get_stream(name).await {
            Ok(stream) => stream,
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(refusal) if refusal.error_code() == ErrorCode::STREAM_NOT_FOUND => return Ok(None),
                GetStreamErrorKind::JetStream(refusal) if is_config(&refusal) => {
                    return Err(Error::Config {
                        message: format!("source {}: {}: {refusal}", connection.source(), connection.options().servers_text()),
                        help: Some("turn JetStream on in the server and for the account".into()),
                    });
                }
                _ => {
                    let servers = connection.options().servers_text();
                    return Err(connection.unavailable(format!("stream {name} of {servers}: {error}")));
                }
            },
        };
        connection.answered();
        let facts = Facts::of(stream.cached_info())?;
        let open = OpenStream { connection: Arc::clone(connection), stream, created: facts.created.clone() };
        open.check_retention(facts.retention)?;
        open.check_objects()?;
        open.check_subjects().await?;
        Ok(Some((open, facts)))
    }

    /// Refuses object stores: their events are pieces of files. What describes the objects can be read.
    fn check_objects(&self) -> Result<(), Error> {
        let config = &self.stream.cached_info().config;
        let holds_objects = config.subjects.iter().any(|subject| subject.starts_with("$O.") && subject.contains(".C."));
        let describes = |subject: &String| matches!(subject.split('.').collect::<Vec<_>>().as_slice(), ["$O", _, "M", ..]);
        let subjects = &self.connection.options().subjects;
        if !holds_objects || (!subjects.is_empty() && subjects.iter().all(describes)) {
            return Ok(());
        }
        let name = &self.connection.options().stream;
        let store = name.strip_prefix("OBJ_").unwrap_or("STORE");
        Err(Error::Config {
            message: format!(
                "source {}: stream {name} is an object store: its messages are pieces of files, and no events",
                self.connection.source()
            ),
            help: Some(format!("read what describes the objects, with option subject '$O.{store}.M.>', or name another stream")),
        })
    }

    /// Refuses subjects that no event of the stream can have: none of its own match, and it holds no such event from before.
    async fn check_subjects(&self) -> Result<(), Error> {
        let held = &self.stream.cached_info().config;
        // What comes from other streams has their subjects.
        if held.subjects.is_empty() || held.mirror.is_some() || held.sources.is_some() || held.subject_transform.is_some() {
            return Ok(());
        }
        let subjects = &self.connection.options().subjects;
        // One of several may have been retired.
        let can_match = subjects.iter().any(|subject| held.subjects.iter().any(|held| overlap(held, subject)));
        if subjects.is_empty() || can_match || self.last_on(subjects).await?.is_some() {
            return Ok(());
        }
        Err(Error::Config {
            message: format!(
                "source {}: option 'subject' names '{}', which no event of stream {} can have: its subjects are {}",
                self.connection.source(),
                subjects.join(", "),
                self.connection.options().stream,
                held.subjects.join(", ")
            ),
            help: Some("write a subject of the stream, or leave the option out to read all of it".into()),
        })
    }

    fn check_retention(&self, retention: RetentionPolicy) -> Result<(), Error> {
        let (source, name) = (self.connection.source(), &self.connection.options().stream);
        match retention {
            RetentionPolicy::Limits => Ok(()),
            RetentionPolicy::Interest if self.connection.options().allow_consuming_retention => Ok(()),
            RetentionPolicy::Interest => Err(Error::Config {
                message: format!("source {source}: stream {name} has the retention interest: reading it can delete its events"),
                help: Some(
                    "read a stream of retention limits (for instance one that sources this one), or accept that events are deleted \
                     and views cannot be rebuilt, with option allow_consuming_retention 'true'"
                        .into(),
                ),
            }),
            RetentionPolicy::WorkQueue => Err(Error::Config {
                message: format!(
                    "source {source}: stream {name} has the retention workqueue: its events are deleted as they are read, and the \
                     server allows no reader that leaves them in place"
                ),
                help: Some("read a stream of retention limits, for instance one that sources this one".into()),
            }),
        }
    }

    /// Asks the leader for the current facts.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it does not answer; [`Error::StreamChanged`] if the stream was recreated since it was found.
    pub(super) async fn facts(&self) -> Result<Facts, Error> {
        let info = self.stream.get_info().await;
        let facts = Facts::of(&info.map_err(|error| self.connection.unavailable(format!("stream info: {error}")))?)?;
        self.connection.connected();
        if facts.created != self.created {
            return Err(self.connection.changed(format!(
                "stream {} was recreated: expected the one created at {}, found one created at {}",
                self.connection.options().stream,
                self.created,
                facts.created
            )));
        }
        Ok(facts)
    }

    /// Returns the event at a sequence in the form that positions record, or `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn event(&self, sequence: u64) -> Result<Option<LastEvent>, Error> {
        Ok(self.message(sequence).await?.as_ref().map(last_event))
    }

    /// Returns the message at a sequence, or `None` if it does not exist.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn message(&self, sequence: u64) -> Result<Option<StreamMessage>, Error> {
        match self.stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.connection.unavailable(format!("message {sequence}: {error}"))),
        }
    }

    /// Returns the sequence of the last event on any of these subjects.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn last_on(&self, subjects: &[String]) -> Result<Option<u64>, Error> {
        let mut last = None;
        for subject in subjects {
            match self.stream.get_last_raw_message_by_subject(subject).await {
                Ok(message) => last = last.max(Some(message.sequence)),
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => {}
                Err(error) => return Err(self.connection.unavailable(format!("last message on {subject}: {error}"))),
            }
        }
        Ok(last)
    }

    /// Checks that the stream is still the one of the position.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] if it is not, [`Error::Unavailable`].
    pub(super) async fn verify(&self, position: &StreamPosition, facts: &Facts) -> Result<(), Error> {
        let last = match &position.last {
            Some(last) => self.event(last.sequence).await?,
            None => None,
        };
        let stream = &self.connection.options().stream;
        judge(stream, position, facts, last.as_ref()).map_err(|message| self.connection.changed(message))?;
        let Some(seen) = &position.seen else { return Ok(()) };
        match self.event(seen.sequence).await? {
            Some(found) if found != *seen => Err(self.connection.changed(format!(
                "stream {stream} has lost its end and grown again: the event at sequence {} was stored at {} ns when the stream was read \
                 up to there, but the event there now was stored at {} ns",
                seen.sequence, seen.timestamp_ns, found.timestamp_ns
            ))),
            // The event may have been deleted or have expired.
            _ => Ok(()),
        }
    }

    /// Asks the leader whether sequences that were not delivered really do not exist. The ranges are ascending and not adjacent.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(super) async fn confirm(&self, missing: &[Range<u64>], holes: &mut Holes) -> Result<Confirmation, Error> {
        let missing: Vec<Range<u64>> = missing.iter().filter(|range| !holes.cover(range)).cloned().collect();
        let Some(first_missing) = missing.first().map(|range| range.start) else { return Ok(Confirmation::Holes) };
        let found = if missing.iter().map(|range| range.end - range.start).sum::<u64>() <= PROBED_ONE_BY_ONE {
            let sequences: Vec<u64> = missing.iter().cloned().flatten().collect();
            let found: Vec<Option<LastEvent>> =
                stream::iter(sequences).map(|sequence| self.event(sequence)).buffered(16).try_collect().await?;
            found.into_iter().flatten().next().map(|event| event.sequence)
        } else {
            let details = self.stream.info_builder().with_deleted(true).fetch().await;
            let details = details.map_err(|error| self.connection.unavailable(format!("deleted sequences: {error}")))?;
            holes.replace(details.info.state.deleted.clone().unwrap_or_default());
            let state = &details.info.state;
            missing
                .iter()
                .filter(|range| !holes.cover(range))
                .find_map(|range| holes.first_not_in(range))
                .filter(|sequence| *sequence >= state.first_sequence && *sequence <= state.last_sequence)
        };
        // Ask after the probes: the first sequence only grows. If it is at or below the missing range now, it was so during the probes,
        // so nothing in the range was purged.
        let facts = self.facts().await?;
        if facts.extent.first > first_missing {
            return Ok(Confirmation::Gone { facts: Box::new(facts) });
        }
        Ok(found.map_or(Confirmation::Holes, Confirmation::Skipped))
    }
}

/// Why sequences were not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Confirmation {
    /// They were deleted individually, so nothing is missing.
    Holes,
    /// This sequence exists: the server or the client has skipped it.
    Skipped(u64),
    /// The stream now begins after the first of them: they were purged or expired before they were read.
    Gone {
        /// The stream as it is now.
        facts: Box<Facts>,
    },
}

/// Sequences that are known to be deleted. Deleted sequences never come back, so this never becomes outdated.
#[derive(Debug, Default)]
pub(super) struct Holes {
    /// Ascending, not adjacent.
    ranges: Vec<Range<u64>>,
}

impl Holes {
    /// Replaces the list by these sequences.
    pub(super) fn replace(&mut self, mut sequences: Vec<u64>) {
        sequences.sort_unstable();
        self.ranges.clear();
        for sequence in sequences {
            match self.ranges.last_mut() {
                Some(last) if sequence <= last.end => last.end = last.end.max(sequence + 1),
                _ => self.ranges.push(sequence..sequence + 1),
            }
        }
    }

    /// Checks whether all of a range is known to be deleted.
    pub(super) fn cover(&self, range: &Range<u64>) -> bool {
        self.first_not_in(range).is_none()
    }

    /// Returns the first sequence of a range that is not known to be deleted.
    pub(super) fn first_not_in(&self, range: &Range<u64>) -> Option<u64> {
        let after = self.ranges.partition_point(|known| known.end <= range.start);
        match self.ranges.get(after) {
            Some(known) if known.start <= range.start => (known.end < range.end).then_some(known.end),
            _ => (!range.is_empty()).then_some(range.start),
        }
    }
}

/// Checks whether a position matches the stream. `found` is the stream's event at the sequence of the last event read. Whether the stream still
/// holds all later events is not checked here.
pub(super) fn judge(stream: &str, position: &StreamPosition, facts: &Facts, found: Option<&LastEvent>) -> Result<(), String> {
    let StreamPosition { offset, stream: known, created, last, .. } = position;
    let (offset, Extent { first, end }) = (*offset, facts.extent);
    if known != stream {
        return Err(format!("the checkpoint is from stream {known}, but the source now reads stream {stream}"));
    }
    if *created != facts.created {
        return Err(format!(
            "stream {stream} was recreated: expected the one created at {created}, found one created at {}; it holds sequences {first} \
             to {}, and the next sequence to read was {offset}",
            facts.created,
            end - 1
        ));
    }
    if end < offset {
        return Err(format!(
            "stream {stream} has lost its end: events up to sequence {} were read, but its last is now {}",
            offset - 1,
            end - 1
        ));
    }
    match (last, found) {
        (Some(last), Some(found)) if last != found => Err(format!(
            "stream {stream} holds another event at sequence {}, the last one read: expected one stored at {} ns with payload hash \
             {:016x}, found {} ns and {:016x}",
            last.sequence, last.timestamp_ns, last.payload_hash, found.timestamp_ns, found.payload_hash
        )),
        // The event may have been deleted or have expired.
        _ => Ok(()),
    }
}

/// Returns the error for events that were purged or expired before they were read.
pub(super) fn gone(connection: &Connection, expected: u64, first: u64) -> Error {
    connection.changed(format!(
        "stream {} has lost events that were not read: expected sequence {expected}, but the first that still exists is {first}",
        connection.options().stream
    ))
}

/// Returns the error for a stream that was read before but no longer exists.
pub(super) fn no_stream(connection: &Connection, position: &StreamPosition) -> Error {
    let stream = &connection.options().stream;
    connection.changed(format!(
        "stream {stream} no longer exists: expected the one created at {}, read up to sequence {}",
        position.created,
        position.last.as_ref().map_or(position.offset.saturating_sub(1), |LastEvent { sequence, .. }| *sequence)
    ))
}

/// Whether a subject can match both of two patterns. A subject is a pattern that only itself matches.
pub(super) fn overlap(one: &str, other: &str) -> bool {
    let (mut one, mut other) = (one.split('.'), other.split('.'));
    loop {
        match (one.next(), other.next()) {
            (Some(">"), Some(_)) | (Some(_), Some(">")) | (None, None) => return true,
            (Some(one), Some(other)) if one == other || one == "*" || other == "*" => {}
            _ => return false,
        }
    }
}

/// Returns a message in the form that positions record.
pub(super) fn last_event(message: &StreamMessage) -> LastEvent {
    LastEvent { sequence: message.sequence, timestamp_ns: nanoseconds(message.time), payload_hash: xxh3_64(&message.payload) }
}

/// Converts a time to nanoseconds since the epoch.
fn nanoseconds(time: time::OffsetDateTime) -> i64 {
    i64::try_from(time.unix_timestamp_nanos()).unwrap_or(i64::MAX)
}

/// Checks whether the user must fix the cause of a JetStream error.
fn is_config(refusal: &jetstream::Error) -> bool {
    matches!(refusal.error_code(), ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT | ErrorCode::JETSTREAM_NOT_ENABLED)
}

#[cfg(test)]
mod tests;
