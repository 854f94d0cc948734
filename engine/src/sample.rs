//! Reads some events of a source: a bounded number from its start, its end, both, or from a sequence on. It stops at the end that the
//! source has when reading begins, and leaves nothing behind on a server.
//!
//! It commits nothing, and knows nothing of what the events are read for.

use std::collections::VecDeque;
use std::sync::Arc;

use alluvium_connectors::source::{self, Batch, Read, Reader, Source, SourceConfig, Start};

use crate::error::Error;

/// The most events that are passed over to reach the end of a source that can only be read from its start, where both ends are wanted.
const MOST_PASSED: u64 = 5_000_000;
/// The most bytes of payloads at one end, where both ends are wanted: events can be large.
const MOST_BYTES: u64 = 256 << 20;
/// Smaller batches save nothing.
const FEWEST_IN_A_BATCH: usize = 64;

/// Which events to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// So many from the first that the source has.
    First(u64),
    /// The last so many.
    Last(u64),
    /// So many with this sequence or a larger one.
    From {
        /// The sequence.
        sequence: u64,
        /// The most events.
        limit: u64,
    },
    /// Half of so many from the start, the other half from the end.
    BothEnds(u64),
}

/// Some events of a source.
#[derive(Debug)]
pub struct Sample {
    /// The events, in the order of their sequences.
    pub batches: Vec<Batch>,
    /// How many these are, with those that do not decode.
    pub events: u64,
    /// How many events the source held when reading began, if it is known. A source that counts only sequences may hold fewer.
    pub held: Option<u64>,
    /// Whether the source has events that are not read.
    pub cut: bool,
}

impl Wanted {
    /// The most events.
    fn limit(self) -> u64 {
        match self {
            Wanted::First(count) | Wanted::Last(count) | Wanted::BothEnds(count) | Wanted::From { limit: count, .. } => count,
        }
    }
}

/// Opens a source to read all its columns, in batches that are not much larger than what is wanted.
///
/// # Errors
/// What is wrong with its declaration.
pub fn open(mut config: SourceConfig, wanted: Wanted) -> Result<Arc<dyn Source>, Error> {
    let limit = usize::try_from(wanted.limit()).unwrap_or(usize::MAX).max(FEWEST_IN_A_BATCH);
    config.limits.max_events = config.limits.max_events.min(limit);
    config.columns = (0..config.declared.fields().len()).collect();
    Ok(source::open(config)?)
}

/// Reads events.
///
/// # Errors
/// Those of the source.
pub async fn read(source: &Arc<dyn Source>, wanted: Wanted) -> Result<Sample, Error> {
    let mut reader = source.read(Start::First).await?;
    let result = match source.promises().knows_end {
        true => by_place(source, &mut reader, wanted).await,
        false => from_the_start(&mut reader, wanted).await,
    };
    reader.close().await;
    result
}

/// Reads a source that knows its end and can be opened at any offset.
async fn by_place(source: &Arc<dyn Source>, reader: &mut Box<dyn Reader>, wanted: Wanted) -> Result<Sample, Error> {
    let end = source.extent(0).await?.end;
    let first = reader.position().offset.min(end);
    let held = source.events_from(first).await?;
    let mut batches = Vec::new();
    match wanted {
        Wanted::First(count) => read_on(reader, end, (count, u64::MAX), &mut batches).await?,
        Wanted::From { sequence, limit } => {
            open_at(source, reader, sequence.clamp(first, end)).await?;
            read_on(reader, end, (limit, u64::MAX), &mut batches).await?;
        }
        Wanted::Last(count) => {
            let offset = offset_of_last(source, first, end, count).await?;
            open_at(source, reader, offset).await?;
            read_on(reader, end, (u64::MAX, u64::MAX), &mut batches).await?;
            keep_last(&mut batches, count);
        }
        Wanted::BothEnds(count) if held <= count => read_on(reader, end, (count, MOST_BYTES), &mut batches).await?,
        Wanted::BothEnds(count) => {
            read_on(reader, end, (count - count / 2, MOST_BYTES), &mut batches).await?;
            let read = batches.last().map_or(first, |batch: &Batch| batch.end);
            let offset = offset_of_last(source, read, end, count / 2).await?;
            open_at(source, reader, offset).await?;
            let mut last = Vec::new();
            read_on(reader, end, (u64::MAX, MOST_BYTES), &mut last).await?;
            keep_last(&mut last, count / 2);
            batches.extend(last);
        }
    }
    let events = batches.iter().map(events_of).sum();
    Ok(Sample { batches, events, held: Some(held), cut: events < held })
}

/// Opens a reader at another offset in place of this one.
async fn open_at(source: &Arc<dyn Source>, reader: &mut Box<dyn Reader>, offset: u64) -> Result<(), Error> {
    let position = source.position_at(reader.position(), offset);
    let position =
        position.ok_or_else(|| Error::bug(format!("source {} cannot be read from {offset} on", source.config().name)))?;
    let next = source.read(Start::At(position)).await?;
    std::mem::replace(reader, next).close().await;
    Ok(())
}

/// Returns an offset, `first` or later, behind which there are at least `count` events, if the source has as many, and not many more.
async fn offset_of_last(source: &Arc<dyn Source>, first: u64, end: u64, count: u64) -> Result<u64, Error> {
    let mut window = count.max(1);
    loop {
        let offset = end.saturating_sub(window).max(first);
        if offset == first || source.events_from(offset).await? >= count {
            return Ok(offset);
        }
        window = window.saturating_mul(4);
    }
}

/// Reads on up to the offset `end`, and at most so many events and about so many bytes.
async fn read_on(reader: &mut Box<dyn Reader>, end: u64, most: (u64, u64), batches: &mut Vec<Batch>) -> Result<(), Error> {
    let (mut left, mut bytes_left) = most;
    while left > 0 && bytes_left > 0 && reader.position().offset < end {
        let Read::Batch(batch) = reader.next().await? else { return Ok(()) };
        bytes_left = bytes_left.saturating_sub(batch.bytes);
        let batch = first_of(&batch.until(end), left);
        left -= events_of(&batch);
        batches.push(batch);
    }
    Ok(())
}

/// Reads a source that can only be read from its start, up to its end.
async fn from_the_start(reader: &mut Box<dyn Reader>, wanted: Wanted) -> Result<Sample, Error> {
    let (head, tail, from, most) = match wanted {
        Wanted::First(count) => (count, 0, 0, u64::MAX),
        Wanted::Last(count) => (0, count, 0, u64::MAX),
        Wanted::From { sequence, limit } => (limit, 0, sequence, u64::MAX),
        Wanted::BothEnds(count) => (count - count / 2, count / 2, 0, MOST_PASSED.saturating_add(count)),
    };
    let (mut batches, mut last, mut left, mut read, mut cut) = (Vec::new(), VecDeque::new(), head, 0, false);
    let bounded = matches!(wanted, Wanted::BothEnds(_));
    let mut bytes = 0_u64;
    loop {
        let batch = match reader.next().await? {
            Read::Batch(batch) => batch,
            Read::CaughtUp { .. } | Read::End => break,
        };
        read += events_of(&batch);
        let batch = batch.since(from);
        let begins = first_of(&batch, left);
        left -= events_of(&begins);
        bytes = bytes.saturating_add(if begins.end > begins.start { batch.bytes } else { 0 });
        if bounded && bytes > MOST_BYTES {
            left = 0;
        }
        let rest = batch.since(begins.end);
        if begins.end > begins.start {
            batches.push(begins);
        }
        if events_of(&rest) > 0 && tail == 0 {
            cut = true;
        }
        if tail > 0 {
            last.push_back(rest);
            let is_too_much = |last: &VecDeque<Batch>| {
                let (events, bytes) =
                    last.iter().skip(1).fold((0, 0), |(events, bytes), batch| (events + events_of(batch), bytes + batch.bytes));
                events >= tail || (bounded && bytes > MOST_BYTES)
            };
            while last.len() > 1 && is_too_much(&last) {
                last.pop_front();
            }
        }
        if (left == 0 && cut) || read > most {
            cut = true;
            break;
        }
    }
    let mut last: Vec<Batch> = last.into();
    keep_last(&mut last, tail);
    batches.extend(last);
    let events: u64 = batches.iter().map(events_of).sum();
    Ok(Sample { batches, events, held: (!cut).then_some(read), cut: cut || events < read })
}

/// Returns the part of a batch with its first `count` events.
fn first_of(batch: &Batch, count: u64) -> Batch {
    match usize::try_from(count).ok().and_then(|count| sequences(batch).get(count).copied()) {
        Some(next) => batch.until(next),
        None => batch.clone(),
    }
}

/// Leaves the last `count` events.
fn keep_last(batches: &mut Vec<Batch>, count: u64) {
    let mut more = batches.iter().map(events_of).sum::<u64>().saturating_sub(count);
    batches.retain_mut(|batch| {
        let events = events_of(batch);
        if more >= events {
            more -= events;
            return false;
        }
        let first = usize::try_from(more).ok().and_then(|more| sequences(batch).get(more).copied());
        *batch = batch.since(first.unwrap_or(batch.start));
        more = 0;
        true
    });
}

/// Returns the sequence of each event of a batch, whether it decodes or not, in order.
#[must_use]
pub fn sequences(batch: &Batch) -> Vec<u64> {
    let mut sequences: Vec<u64> = batch.sequences.values().to_vec();
    sequences.extend(batch.dead_letters.iter().map(|letter| letter.sequence));
    sequences.sort_unstable();
    sequences.dedup();
    sequences
}

fn events_of(batch: &Batch) -> u64 {
    sequences(batch).len() as u64
}
