//! Turns whole lines into batches: cuts them to the limits of a batch, numbers them, and decodes the batches in parallel. The queue that
//! they wait in keeps their order.

use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use memchr::{memchr, memchr_iter, memrchr};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use xxhash_rust::xxh3::xxh3_64;

use super::file_position::FilePosition;
use super::lines;
use crate::Error;
use crate::dead_letters::DeadLetter;
use crate::decode::{Decoder, Message};
use crate::source::batch::{Batch, CommitPoints, Origin};
use crate::source::declaration::{BatchLimits, SourceConfig};
use crate::source::decoding::Item;
use crate::source::position::LastEvent;

/// The number of bytes to read and decode at once.
pub(super) const CHUNK_BYTES: usize = 4 << 20;

/// The number of bytes in which to count line ends at once.
const COUNTED_BYTES: usize = 64 << 10;

/// Why reading ends.
pub(super) enum Stop {
    /// The reader was dropped.
    Dropped,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

/// Buffers whose memory is reused.
type Pool = Arc<Mutex<Vec<Vec<u8>>>>;

/// Bytes of a file. Dropping it, when its last batch is decoded, returns the buffer to the pool.
struct Chunk {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Drop for Chunk {
    fn drop(&mut self) {
        if self.bytes.capacity() <= 2 * CHUNK_BYTES {
            self.bytes.clear();
            self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.bytes));
        }
    }
}

/// The reading thread's end of the queue.
pub(super) struct Sender {
    config: Arc<SourceConfig>,
    decoder: Arc<Decoder>,
    pub(super) position: FilePosition,
    items: mpsc::Sender<Item>,
    runtime: Handle,
    pool: Pool,
}

impl Sender {
    pub(super) fn new(
        config: Arc<SourceConfig>,
        decoder: Arc<Decoder>,
        position: FilePosition,
        items: mpsc::Sender<Item>,
        runtime: Handle,
    ) -> Sender {
        Sender { config, decoder, position, items, runtime, pool: Pool::default() }
    }

    pub(super) fn limits(&self) -> BatchLimits {
        self.config.limits
    }

    /// The source's name.
    pub(super) fn source_name(&self) -> &str {
        &self.config.name
    }

    /// Returns the number of bytes to read before decoding.
    pub(super) fn chunk_bytes(&self) -> usize {
        CHUNK_BYTES.min(self.config.limits.max_bytes).max(1)
    }

    /// Returns an empty buffer.
    pub(super) fn buffer(&self) -> Vec<u8> {
        let used = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        used.unwrap_or_else(|| Vec::with_capacity(self.chunk_bytes() + (64 << 10)))
    }

    /// Returns the error for files that have changed.
    pub(super) fn changed(&self, message: String) -> Error {
        Error::StreamChanged { source_name: self.config.name.clone(), message }
    }

    /// Checks whether the reader was dropped.
    pub(super) fn is_dropped(&self) -> bool {
        self.items.is_closed()
    }

    pub(super) fn send(&self, item: Item) -> Result<(), Stop> {
        self.items.blocking_send(item).map_err(|_| Stop::Dropped)
    }

    /// Reports that everything has been sent.
    pub(super) fn caught_up(&self) -> Result<(), Stop> {
        self.send(Item::CaughtUp(self.position.offset))
    }

    /// Moves the position to the first byte of a file.
    pub(super) fn begin(&mut self, file: &str) {
        self.position.file = Some(Arc::from(file));
        self.position.byte = 0;
        self.position.lines_before = self.position.offset - 1;
    }

    /// Sends whole lines. The last one may lack its line end.
    pub(super) fn lines(&mut self, bytes: Vec<u8>, range: Range<usize>) -> Result<(), Stop> {
        let chunk = Arc::new(Chunk { bytes, pool: Arc::clone(&self.pool) });
        let mut start = range.start;
        while start < range.end {
            let (length, lines) = cut(&chunk.bytes[start..range.end], &self.config.limits);
            let piece = start..start + length;
            start = piece.end;
            let first = self.position.offset;
            let line_start = memrchr(b'\n', &chunk.bytes[piece.start..piece.end - 1]);
            let line_start = line_start.map_or(piece.start, |end| piece.start + end + 1);
            self.position.offset += lines as u64;
            self.position.byte += length as u64;
            self.position.last = Some(LastEvent {
                sequence: self.position.offset - 1,
                timestamp_ns: 0,
                payload_hash: xxh3_64(lines::body(&chunk.bytes[line_start..piece.end])),
            });
            let piece = Piece {
                chunk: Arc::clone(&chunk),
                range: piece,
                lines,
                first,
                position: self.position.clone(),
                line_ends: OnceLock::new(),
            };
            let decoder = Arc::clone(&self.decoder);
            let decoding = self.runtime.spawn_blocking(move || piece.decode(&decoder));
            self.send(Item::Batch(AbortOnDropHandle::new(decoding)))?;
        }
        Ok(())
    }
}

/// Returns how many bytes and lines of `bytes` the next batch takes: whole lines within its limits, at least one.
fn cut(bytes: &[u8], limits: &BatchLimits) -> (usize, usize) {
    let bounded = if bytes.len() <= limits.max_bytes {
        bytes
    } else {
        let within = memrchr(b'\n', &bytes[..limits.max_bytes]).or_else(|| memchr(b'\n', bytes));
        &bytes[..within.map_or(bytes.len(), |end| end + 1)]
    };
    let (mut length, mut lines) = (0, 0);
    // Counting is several times faster than finding each line.
    for block in bounded.chunks(COUNTED_BYTES) {
        let ends = memchr_iter(b'\n', block).count();
        if lines + ends >= limits.max_events {
            let end = memchr_iter(b'\n', block).nth(limits.max_events.saturating_sub(lines + 1));
            return (length + end.map_or(block.len(), |end| end + 1), limits.max_events.max(1));
        }
        (length, lines) = (length + block.len(), lines + ends);
    }
    (length, lines + usize::from(!bounded.ends_with(b"\n")))
}

/// The lines of one batch.
struct Piece {
    chunk: Arc<Chunk>,
    range: Range<usize>,
    lines: usize,
    /// The sequence of the first line.
    first: u64,
    /// The position after the last line.
    position: FilePosition,
    /// The end of each line, computed when a line is first requested.
    line_ends: OnceLock<Vec<usize>>,
}

impl Piece {
    /// Returns the body of a line's event.
    fn payload<'l>(&self, sequence: u64, line: &'l [u8]) -> &'l [u8] {
        let body = lines::body(line);
        if sequence == self.position.lines_before + 1 { lines::without_mark(body) } else { body }
    }

    fn message<'l>(&'l self, sequence: u64, line: &'l [u8]) -> Message<'l> {
        let subject = self.position.file.as_deref().unwrap_or("-");
        Message { sequence, subject, timestamp_ns: None, headers: None, payload: self.payload(sequence, line) }
    }

    fn decode(self, decoder: &Decoder) -> Result<Batch, Error> {
        let bytes = &self.chunk.bytes[self.range.clone()];
        let (mut sequence, mut start) = (self.first, 0);
        let open = (!bytes.ends_with(b"\n")).then_some(bytes.len());
        let messages = memchr_iter(b'\n', bytes).map(|end| end + 1).chain(open).filter_map(|end| {
            let message = self.message(sequence, &bytes[start..end]);
            (sequence, start) = (sequence + 1, end);
            let is_blank = message.payload.first() != Some(&b'{') && message.payload.trim_ascii().is_empty();
            (!is_blank).then_some(message)
        });
        let decoded = decoder.decode(self.lines, messages)?;
        assert_eq!(sequence, self.position.offset, "as many lines are decoded as were counted");
        Ok(Batch {
            partition: 0,
            start: self.first,
            end: self.position.offset,
            rows: decoded.rows,
            sequences: decoded.sequences,
            ordinals: decoded.ordinals,
            weights: None,
            commits: CommitPoints::AfterAny,
            gaps: Vec::new(),
            events: decoded.events,
            bytes: decoded.bytes,
            unfit: decoded.unfit,
            nulled: decoded.nulled,
            absent: decoded.absent,
            dead_letters: decoded.dead_letters,
            newest_ns: None,
            position: self.position.to_record()?,
            origin: Some(Arc::new(self)),
        })
    }
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Piece").field("first", &self.first).field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Origin for Piece {
    fn letter(&self, sequence: u64) -> Option<DeadLetter> {
        let bytes = &self.chunk.bytes[self.range.clone()];
        let ends = self.line_ends.get_or_init(|| {
            let open = (!bytes.ends_with(b"\n")).then_some(bytes.len());
            memchr_iter(b'\n', bytes).map(|end| end + 1).chain(open).collect()
        });
        let line = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        let start = if line == 0 { 0 } else { *ends.get(line - 1)? };
        let line = &bytes[start..*ends.get(line)?];
        Some(self.message(sequence, line).letter("", "expression", String::new()))
    }
}
