//! Reads some events of a source: a bounded number from its start, its end, both, or from a sequence on. It stops at the end that the
//! source has when reading begins, and leaves nothing behind on a server.
//!
//! It commits nothing, and knows nothing of what the events are read for.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use alluvium_connectors::source::{self, Batch, Read, Reader, Source, SourceConfig, Start};

use crate::error::Error;
use crate::source_timeout::unless_lost;

/// The most events that are passed over to reach the end of a source that can only be read from its start, where both ends are wanted.
const MOST_PASSED: u64 = 5_000_000;
/// The most bytes of payloads at one end, where both ends are wanted: events can be large.
const MOST_BYTES: u64 = 256 << 20;
/// The most bytes of payloads from the first event on.
const MOST_BYTES_OF_FIRST: u64 = 2 << 30;
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
pub fn open(config: SourceConfig, wanted: Wanted) -> Result<Arc<dyn Source>, Error> {
    let columns = (0..config.declared.fields().len()).collect();
    open_columns(config, columns, wanted)
}

/// Opens a source to read some of its columns: indexes into those that are declared, ascending.
///
/// # Errors
/// What is wrong with its declaration.
pub fn open_columns(mut config: SourceConfig, columns: Vec<usize>, wanted: Wanted) -> Result<Arc<dyn Source>, Error> {
    let limit = usize::try_from(wanted.limit()).unwrap_or(usize::MAX).max(FEWEST_IN_A_BATCH);
    config.limits.max_events = config.limits.max_events.min(limit);
    config.columns = columns;
    Ok(source::open(config)?)
}

/// Reads events. Gives up once the source has not answered for `source_timeout`.
///
/// # Errors
/// Those of the source.
pub async fn read(source: &Arc<dyn Source>, wanted: Wanted, source_timeout: Duration) -> Result<Sample, Error> {
    unless_lost(source.as_ref(), source_timeout, read_all(source, wanted)).await
}

async fn read_all(source: &Arc<dyn Source>, wanted: Wanted) -> Result<Sample, Error> {
    let mut reader = source.read(Start::First).await?;
    let result = match source.promises().knows_end {
        true => by_place(source, &mut reader, wanted).await,
        false => from_the_start(&mut reader, wanted, source.promises().read_once).await,
    };
    reader.close().await;
    result
}

/// Reads a source that knows its end and can be opened at any offset.
async fn by_place(source: &Arc<dyn Source>, reader: &mut Box<dyn Reader>, wanted: Wanted) -> Result<Sample, Error> {
    let end = source.extent(0).await?.end;
    let first = reader.position().offset.min(end);
    let mut held = Some(source.events_from(first).await?);
    let mut batches = Vec::new();
    let mut cut = false;
    match wanted {
        Wanted::First(count) => {
            read_on(reader, end, (count, MOST_BYTES_OF_FIRST), &mut batches).await?;
            cut = has_more(source, &batches, first, end).await?;
        }
        Wanted::From { sequence, limit } => {
            open_at(source, reader, sequence.clamp(first, end)).await?;
            read_on(reader, end, (limit, MOST_BYTES_OF_FIRST), &mut batches).await?;
        }
        Wanted::Last(count) => {
            let offset = offset_of_last(source, first, end, count).await?;
            open_at(source, reader, offset).await?;
            batches = read_tail(reader, end, (count, u64::MAX)).await?;
        }
        Wanted::BothEnds(count) if held.is_some_and(|held| held <= count) => {
            read_on(reader, end, (count, MOST_BYTES), &mut batches).await?;
            cut = has_more(source, &batches, first, end).await?;
            held = held.filter(|_| !cut);
        }
        Wanted::BothEnds(count) => {
            cut = true;
            read_on(reader, end, (count - count / 2, MOST_BYTES), &mut batches).await?;
            let read = batches.last().map_or(first, |batch: &Batch| batch.end);
            let offset = offset_of_last(source, read, end, count / 2).await?;
            open_at(source, reader, offset).await?;
            batches.extend(read_tail(reader, end, (count / 2, MOST_BYTES)).await?);
        }
    }
    let events = batches.iter().map(events_of).sum();
    Ok(Sample { batches, events, held, cut })
}

/// Whether the source has events behind the batches and before `end`.
async fn has_more(source: &Arc<dyn Source>, batches: &[Batch], first: u64, end: u64) -> Result<bool, Error> {
    let read = batches.last().map_or(first, |batch| batch.end);
    Ok(read < end && source.events_from(read).await? > 0)
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

/// Returns an offset, `first` or later, behind which there are at least `count` events, if the source has as many.
async fn offset_of_last(source: &Arc<dyn Source>, first: u64, end: u64, count: u64) -> Result<u64, Error> {
    let mut window = count.max(1);
    loop {
        let offset = end.saturating_sub(window).max(first);
        if offset == first || source.events_from(offset).await? >= count {
            return Ok(offset);
        }
        window = window.saturating_mul(2);
    }
}

/// Reads on up to the offset `end`, and at most so many events and about so many bytes.
async fn read_on(reader: &mut Box<dyn Reader>, end: u64, most: (u64, u64), batches: &mut Vec<Batch>) -> Result<(), Error> {
    let (mut left, mut bytes_left) = most;
    while left > 0 && bytes_left > 0 && reader.position().offset < end {
        let batch = match reader.next().await? {
            Read::Batch(batch) => batch,
            // It had caught up before the end was asked for.
            Read::CaughtUp { .. } => continue,
            Read::End => return Ok(()),
        };
        bytes_left = bytes_left.saturating_sub(batch.bytes);
        let batch = first_of(&batch.until(end), left);
        left -= events_of(&batch);
        batches.push(batch);
    }
    Ok(())
}

/// Reads on up to the offset `end`, and keeps at most so many of the last events, and about so many bytes.
async fn read_tail(reader: &mut Box<dyn Reader>, end: u64, most: (u64, u64)) -> Result<Vec<Batch>, Error> {
    let mut tail = Tail::new(most);
    while reader.position().offset < end {
        match reader.next().await? {
            Read::Batch(batch) => tail.push(batch.until(end)),
            Read::CaughtUp { .. } => {}
            Read::End => break,
        }
    }
    Ok(tail.finish())
}

/// The last events of those that are pushed.
struct Tail {
    most: (u64, u64),
    /// Each with the number of its events.
    batches: VecDeque<(Batch, u64)>,
    /// The events and the bytes of all but the first.
    behind: (u64, u64),
}

impl Tail {
    fn new(most: (u64, u64)) -> Tail {
        Tail { most, batches: VecDeque::new(), behind: (0, 0) }
    }

    fn push(&mut self, batch: Batch) {
        let events = events_of(&batch);
        if !self.batches.is_empty() {
            self.behind = (self.behind.0 + events, self.behind.1 + batch.bytes);
        }
        self.batches.push_back((batch, events));
        while self.batches.len() > 1 && (self.behind.0 >= self.most.0 || self.behind.1 > self.most.1) {
            self.batches.pop_front();
            if let Some((next, events)) = self.batches.front() {
                self.behind = (self.behind.0 - events, self.behind.1.saturating_sub(next.bytes));
            }
        }
    }

    fn finish(self) -> Vec<Batch> {
        let mut batches: Vec<Batch> = self.batches.into_iter().map(|(batch, _)| batch).collect();
        keep_last(&mut batches, self.most.0);
        batches
    }
}

/// Reads a source that can only be read from its start, up to its end. One that can be read only once has an end of its own; where it has
/// caught up, it only pauses.
async fn from_the_start(reader: &mut Box<dyn Reader>, wanted: Wanted, read_once: bool) -> Result<Sample, Error> {
    let (head, tail, from, most) = match wanted {
        Wanted::First(count) => (count, 0, 0, u64::MAX),
        Wanted::Last(count) => (0, count, 0, u64::MAX),
        Wanted::From { sequence, limit } => (limit, 0, sequence, u64::MAX),
        Wanted::BothEnds(count) => (count - count / 2, count / 2, 0, MOST_PASSED.saturating_add(count)),
    };
    let most_bytes = match wanted {
        Wanted::BothEnds(_) => MOST_BYTES,
        Wanted::Last(_) => u64::MAX,
        Wanted::First(_) | Wanted::From { .. } => MOST_BYTES_OF_FIRST,
    };
    let (mut batches, mut left, mut read, mut bytes, mut cut) = (Vec::new(), head, 0, 0_u64, false);
    let mut last = Tail::new((tail, most_bytes));
    loop {
        let batch = match reader.next().await? {
            Read::Batch(batch) => batch,
            Read::CaughtUp { .. } if read_once => continue,
            Read::CaughtUp { .. } | Read::End => break,
        };
        read += events_of(&batch);
        let batch = batch.since(from);
        let begins = first_of(&batch, left);
        left -= events_of(&begins);
        let rest = batch.since(begins.end);
        if events_of(&begins) > 0 {
            bytes = bytes.saturating_add(batch.bytes);
            batches.push(begins);
        }
        if bytes > most_bytes {
            left = 0;
        }
        if tail > 0 {
            last.push(rest);
        } else if events_of(&rest) > 0 {
            cut = true;
        }
        if (left == 0 && cut) || read > most {
            cut = true;
            break;
        }
    }
    batches.extend(last.finish());
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
