//! Cuts files into pieces of whole lines, in order, and numbers the lines. Blocks: it has a thread of its own.
//!
//! A line is counted once and for all. What follows the last line feed of the last file is taken as a line when it is a whole
//! JSON object, which no beginning of a longer line can be; otherwise it waits for its line feed. Of a file that another one
//! follows, and of a stream at its end, the rest is a line as it stands.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::count::is_whole_object;
use super::listing::{Listing, Named};
use super::piece::{Piece, Segment, line_hash};
use super::resume;
use crate::Error;
use crate::source::{BatchLimits, Identity, LastEvent, Position};

/// Bytes read at once.
const STEP: usize = 1 << 20;
/// Bytes read at once from a stream, which is what a pipe holds: less than that and there is no more for now.
const STREAM_STEP: usize = 1 << 16;
/// Bytes in a piece, about, so that the pieces that are read ahead stay small whatever a batch may hold.
const PIECE: usize = 16 << 20;
/// The longest line: beyond it, the file is not one of lines.
const LONGEST_LINE: usize = 256 << 20;

/// What standard input is called in positions and dead letters.
pub(super) const STANDARD_INPUT: &str = "-";

/// What [`Scanner::next`] gives.
pub(super) enum Step {
    /// Lines.
    Piece(Piece),
    /// No line that has not been given, for now.
    Idle,
    /// No more lines, ever.
    End,
}

/// Where the bytes come from.
pub(super) enum Input {
    /// Files, of which more may come.
    Files {
        listing: Listing,
        /// Those that are known, in order.
        files: Vec<Named>,
        /// The length of those before the current one.
        lengths: Vec<u64>,
        /// The current one, and its inode.
        open: Option<(File, u64)>,
    },
    /// One stream that cannot be read twice.
    Stream(Box<dyn Read + Send>),
}

/// How far reading has come.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// The next line's sequence.
    pub(super) next: u64,
    /// Bytes of the current file in lines that were given.
    pub(super) consumed: u64,
    pub(super) lines_before: u64,
    pub(super) bytes_before: u64,
    pub(super) last_hash: u64,
    /// Whether the last line was taken without its line feed, which is not to be taken for an empty line.
    pub(super) owed: bool,
}

/// Reads on from a place.
pub(super) struct Scanner {
    source: String,
    input: Input,
    progress: Progress,
    /// What was read of the current file beyond `consumed`.
    rest: Vec<u8>,
    /// How much of `rest` was found not to be a whole object.
    tried: usize,
    max_lines: u64,
    max_bytes: usize,
}

/// A piece being cut.
struct Draft {
    data: Vec<u8>,
    segments: Vec<Segment>,
    /// The sequence of its first line.
    start: u64,
    /// Where the lines of the current file begin, and whether they are its first.
    begin: usize,
    first: bool,
    /// Where the lines taken so far end.
    end: usize,
    /// How far line feeds were looked for.
    searched: usize,
    last_line: Range<usize>,
    /// Of the last segment.
    identity: Option<Identity>,
}

/// How much a read gave.
enum Got {
    Bytes,
    /// All that a pipe holds now: more may be long in coming.
    AllForNow,
    End,
}

impl Scanner {
    /// `rest`: what was read of the input beyond `progress`.
    pub(super) fn new(source: &str, input: Input, progress: Progress, rest: Vec<u8>, limits: &BatchLimits) -> Scanner {
        Scanner {
            source: source.to_owned(),
            input,
            progress,
            rest,
            tried: 0,
            max_lines: (limits.max_events as u64).max(1),
            max_bytes: limits.max_bytes.clamp(1, PIECE),
        }
    }

    /// The next piece. `memory` is used for it where given.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::StreamChanged`] when what was read is not there any more, [`Error::Config`] for endless lines.
    pub(super) fn next(&mut self, memory: Option<Vec<u8>>) -> Result<Step, Error> {
        let mut data = memory.unwrap_or_default();
        data.clear();
        data.append(&mut self.rest);
        let mut draft = Draft {
            data,
            segments: Vec::new(),
            start: self.progress.next,
            begin: 0,
            first: self.progress.consumed == 0,
            end: 0,
            searched: 0,
            last_line: 0..0,
            identity: None,
        };
        loop {
            if self.pass_owed(&mut draft)? && self.take_lines(&mut draft) {
                break;
            }
            if draft.data.len() - draft.end > LONGEST_LINE {
                return Err(self.endless());
            }
            match self.read(&mut draft.data)? {
                Got::Bytes => continue,
                Got::AllForNow => {
                    self.take_lines(&mut draft);
                    if self.progress.next > draft.start {
                        break;
                    }
                    continue;
                }
                Got::End => {}
            }
            let followed = self.is_followed();
            self.take_rest(&mut draft, followed);
            if followed || matches!(self.input, Input::Stream(_)) {
                break;
            }
            self.close_segment(&mut draft);
            self.advance(&mut draft)?;
        }
        self.close_segment(&mut draft);
        Ok(self.finish(draft))
    }

    /// Takes the whole lines that are there; true when the piece is full.
    fn take_lines(&mut self, draft: &mut Draft) -> bool {
        for at in memchr::memchr_iter(b'\n', &draft.data[draft.searched..]) {
            draft.last_line = draft.end..draft.searched + at + 1;
            self.progress.consumed += draft.last_line.len() as u64;
            self.progress.next += 1;
            draft.end = draft.last_line.end;
            if self.progress.next - draft.start >= self.max_lines || draft.end >= self.max_bytes {
                return true;
            }
        }
        if draft.end > draft.searched {
            self.tried = 0;
        }
        draft.searched = draft.data.len();
        false
    }

    /// Passes over the line feed of a line that was taken before it had one; false while it has none.
    fn pass_owed(&mut self, draft: &mut Draft) -> Result<bool, Error> {
        if !self.progress.owed {
            return Ok(true);
        }
        let data = &draft.data[draft.end..];
        let Some(at) = data.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\r')) else { return Ok(false) };
        if data[at] != b'\n' {
            return Err(self.changed(format!("line {} has grown since it was read", self.progress.next - 1)));
        }
        self.progress.owed = false;
        self.progress.consumed += at as u64 + 1;
        draft.end += at + 1;
        draft.begin = draft.end;
        draft.searched = draft.end;
        Ok(true)
    }

    /// Takes what follows the last line feed, at the end of the file, where that is a line.
    fn take_rest(&mut self, draft: &mut Draft, followed: bool) {
        let length = draft.data.len() - draft.end;
        if length == 0 || self.progress.owed || (followed && !self.is_whole_object(&draft.data[draft.end..])) {
            return;
        }
        draft.data.push(b'\n');
        draft.last_line = draft.end..draft.data.len();
        draft.end = draft.data.len();
        draft.searched = draft.end;
        self.progress.consumed += length as u64;
        self.progress.next += 1;
        self.progress.owed = followed;
        self.tried = 0;
    }

    fn is_whole_object(&mut self, rest: &[u8]) -> bool {
        // Long beginnings of lines are not read again until they have grown.
        rest.len() != std::mem::replace(&mut self.tried, rest.len()) && is_whole_object(rest)
    }

    fn close_segment(&mut self, draft: &mut Draft) {
        if draft.end == draft.begin {
            return;
        }
        let file = self.file_name();
        draft.identity = Some(Identity::File {
            file: Some(file.to_string()),
            byte: self.progress.consumed,
            lines_before: self.progress.lines_before,
            bytes_before: self.progress.bytes_before,
            last: None,
        });
        draft.segments.push(Segment { file, range: draft.begin..draft.end, first: draft.first });
        draft.begin = draft.end;
    }

    /// Goes on to the next file.
    fn advance(&mut self, draft: &mut Draft) -> Result<(), Error> {
        // After a line that was taken without its line feed, white space may be left.
        let length = self.progress.consumed + (draft.data.len() - draft.end) as u64;
        draft.data.truncate(draft.end);
        draft.searched = draft.end;
        draft.first = true;
        self.tried = 0;
        self.progress.owed = false;
        self.progress.consumed = 0;
        self.progress.bytes_before += length;
        self.progress.lines_before = self.progress.next - 1;
        if let Input::Files { lengths, open, .. } = &mut self.input {
            lengths.push(length);
            *open = None;
        }
        Ok(())
    }

    fn finish(&mut self, mut draft: Draft) -> Step {
        self.rest.extend_from_slice(&draft.data[draft.end..]);
        draft.data.truncate(draft.end);
        let Some(Identity::File { file, byte, lines_before, bytes_before, .. }) = draft.identity else {
            return if matches!(self.input, Input::Stream(_)) { Step::End } else { Step::Idle };
        };
        self.progress.last_hash = line_hash(&draft.data[draft.last_line]);
        let last =
            LastEvent { sequence: self.progress.next - 1, timestamp_ns: 0, payload_hash: self.progress.last_hash };
        let identity = Identity::File { file, byte, lines_before, bytes_before, last: Some(last) };
        let position = Position { offset: self.progress.next, identity };
        Step::Piece(Piece { data: draft.data, segments: draft.segments, start: draft.start, position })
    }

    /// The current file's name.
    fn file_name(&self) -> Arc<str> {
        match &self.input {
            Input::Files { files, lengths, .. } => files.get(lengths.len()).map_or_else(|| "".into(), |file| Arc::clone(&file.name)),
            Input::Stream(_) => STANDARD_INPUT.into(),
        }
    }

    /// Whether more may be appended to the current file: none comes after it.
    fn is_followed(&self) -> bool {
        match &self.input {
            Input::Files { files, lengths, .. } => lengths.len() + 1 >= files.len(),
            Input::Stream(_) => false,
        }
    }

    fn read(&mut self, data: &mut Vec<u8>) -> Result<Got, Error> {
        match &mut self.input {
            Input::Files { files, lengths, open, .. } => {
                let Some(named) = files.get(lengths.len()) else { return Ok(Got::End) };
                let failed = |error| Error::Io { action: "reading", path: named.path.clone(), error };
                let (file, _) = match open {
                    Some(open) => open,
                    None => {
                        let file = File::open(&named.path).map_err(failed)?;
                        let inode = file.metadata().map_err(failed)?.ino();
                        open.insert((file, inode))
                    }
                };
                let read = file.take(STEP as u64).read_to_end(data).map_err(failed)?;
                Ok(if read == 0 { Got::End } else { Got::Bytes })
            }
            Input::Stream(stream) => {
                let length = data.len();
                data.resize(length + STREAM_STEP, 0);
                let read = loop {
                    match stream.read(&mut data[length..]) {
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        read => break read,
                    }
                };
                let failed = |error| Error::Io { action: "reading", path: STANDARD_INPUT.into(), error };
                let read = read.inspect_err(|_| data.truncate(length)).map_err(failed)?;
                data.truncate(length + read);
                Ok(match read {
                    0 => Got::End,
                    STREAM_STEP => Got::Bytes,
                    _ => Got::AllForNow,
                })
            }
        }
    }

    /// Looks for new files, after [`Step::Idle`], and whether those that were read are still as they were.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] when lines that were counted have moved, and those of listing and reading.
    pub(super) fn refresh(&mut self) -> Result<(), Error> {
        let Input::Files { listing, files, lengths, open } = &mut self.input else { return Ok(()) };
        let current = lengths.len();
        let found = listing.list()?;
        let known = &files[..files.len().min(current + 1)];
        for (index, known) in known.iter().enumerate() {
            let now = found.get(index);
            if now == Some(known) {
                continue;
            }
            let message = match now.filter(|now| now.name < known.name) {
                Some(new) => format!(
                    "{} has appeared, which comes before {} that has been read: sequences would shift",
                    new.name, known.name
                ),
                None => format!("{} has been read and is gone", known.name),
            };
            return Err(Error::StreamChanged { source_name: self.source.clone(), message });
        }
        *files = found;
        for (named, length) in files.iter().zip(lengths.iter()) {
            resume::expect_length(&self.source, named, *length)?;
        }
        let (Some(named), Some((_, inode))) = (files.get(current), open.as_ref()) else { return Ok(()) };
        let failed = |error| Error::Io { action: "reading", path: named.path.clone(), error };
        let metadata = named.path.metadata().map_err(failed)?;
        if metadata.ino() != *inode || metadata.len() < self.progress.consumed + self.rest.len() as u64 {
            let hash = (self.progress.consumed > 0).then_some(self.progress.last_hash);
            let at = resume::open_at(&self.source, named, self.progress.consumed, hash)?;
            *open = Some((at.file, at.inode));
            self.rest.clear();
            self.tried = 0;
        }
        Ok(())
    }

    fn changed(&self, message: String) -> Error {
        Error::StreamChanged { source_name: self.source.clone(), message: format!("{}: {message}", self.file_name()) }
    }

    fn endless(&self) -> Error {
        Error::Config {
            message: format!("source {}: line {} of {} is longer than {LONGEST_LINE} bytes", self.source, self.progress.next - self.progress.lines_before, self.file_name()),
            help: Some("a source STORED AS FILE reads one JSON object a line".into()),
        }
    }
}
