//! Whole lines on their way from a file to a batch, and how one becomes the other.

use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::Error;
use crate::json::{Decoder, Message};
use crate::source::{Batch, Position};

/// Some windows programs begin a file with it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines of one file, one after the other.
#[derive(Debug)]
pub(super) struct Segment {
    /// The file's name.
    pub(super) file: Arc<str>,
    /// Where the lines are, each with its line feed.
    pub(super) range: Range<usize>,
    /// Whether they are the file's first.
    pub(super) first: bool,
}

/// Whole lines of one file or several.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) data: Vec<u8>,
    pub(super) segments: Vec<Segment>,
    /// The sequence of the first line.
    pub(super) start: u64,
    /// Where reading goes on after the last line.
    pub(super) position: Position,
}

impl Piece {
    /// Decodes the lines. Gives the memory back, to be used again.
    ///
    /// # Errors
    /// [`Error::Bug`] only.
    pub(super) fn decode(self, decoder: &Arc<Decoder>) -> Result<(Batch, Vec<u8>), Error> {
        let lines = usize::try_from(self.position.offset - self.start).unwrap_or_default();
        let mut builder = decoder.batch(lines)?;
        let mut sequence = self.start;
        for segment in &self.segments {
            let mut data = &self.data[segment.range.clone()];
            if segment.first {
                data = data.strip_prefix(BYTE_ORDER_MARK).unwrap_or(data);
            }
            let mut start = 0;
            for end in memchr::memchr_iter(b'\n', data) {
                let payload = without_end(&data[start..end]);
                start = end + 1;
                if !is_blank(payload) {
                    builder.append(&Message { sequence, subject: &segment.file, timestamp_ns: None, headers: None, payload });
                }
                sequence += 1;
            }
        }
        assert!(sequence == self.position.offset, "a piece holds as many lines as were counted");
        let decoded = builder.finish()?;
        let batch = Batch {
            start: self.start,
            end: self.position.offset,
            rows: decoded.rows,
            sequences: decoded.sequences,
            events: decoded.events,
            bytes: decoded.bytes,
            dead_letters: decoded.dead_letters,
            newest_ns: None,
            position: self.position,
        };
        Ok((batch, self.data))
    }
}

/// The hash by which a line is known again.
pub(super) fn line_hash(line: &[u8]) -> u64 {
    xxh3_64(without_end(line))
}

/// A line without its line feed or carriage return and line feed.
fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a line holds no event.
#[inline]
fn is_blank(line: &[u8]) -> bool {
    match line.first() {
        None => true,
        Some(byte) if !byte.is_ascii_whitespace() => false,
        Some(_) => line.trim_ascii().is_empty(),
    }
}
