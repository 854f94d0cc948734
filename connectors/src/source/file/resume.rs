//! Finds the place that a checkpoint names, and makes sure that what was read up to there is still the same.
//!
//! Compared are the last line that was read, by its hash, and the names and lengths of the files before it. A line changed in
//! place, with its length kept, is not noticed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};

use super::listing::{Listing, Named};
use super::piece::line_hash;
use super::scanner::{Input, Progress, STANDARD_INPUT};
use crate::Error;
use crate::source::{Identity, Position};

/// Bytes read at once while looking for a line's beginning.
const STEP: u64 = 1 << 16;

/// A file opened where reading goes on.
pub(super) struct OpenAt {
    pub(super) file: File,
    pub(super) inode: u64,
    /// Whether the line before has no line feed.
    owed: bool,
}

/// The beginning.
pub(super) fn beginning() -> Progress {
    Progress { next: 1, consumed: 0, lines_before: 0, bytes_before: 0, last_hash: 0, owed: false }
}

/// The place in files that `position` names.
///
/// # Errors
/// [`Error::StreamChanged`] when the files are not those that were read, and those of listing and reading.
pub(super) fn files(source: &str, listing: Listing, position: Option<&Position>) -> Result<(Input, Progress), Error> {
    let files = listing.list()?;
    let Some(position) = position else {
        return Ok((Input::Files { listing, files, lengths: Vec::new(), open: None }, beginning()));
    };
    let changed = |message: String| Error::StreamChanged { source_name: source.to_owned(), message };
    let Identity::File { file, byte, lines_before, bytes_before, last } = &position.identity else {
        return Err(changed("the checkpoint was made of a NATS stream, and the source is files now".into()));
    };
    let (Some(name), Some(last)) = (file, last) else {
        return Ok((Input::Files { listing, files, lengths: Vec::new(), open: None }, beginning()));
    };
    let Some(current) = files.iter().position(|named| *named.name == **name) else {
        return Err(changed(format!("{name}, of which {byte} bytes have been read, is gone")));
    };
    let mut lengths = Vec::with_capacity(current);
    for named in &files[..current] {
        let failed = |error| Error::Io { action: "reading", path: named.path.clone(), error };
        lengths.push(named.path.metadata().map_err(failed)?.len());
    }
    let found: u64 = lengths.iter().sum();
    if found != *bytes_before {
        return Err(changed(format!(
            "the files before {name} have changed since they were read: they held {bytes_before} bytes and now {found}, so that \
             sequences would shift"
        )));
    }
    let at = open_at(source, &files[current], *byte, Some(last.payload_hash))?;
    let progress = Progress {
        next: position.offset,
        consumed: *byte,
        lines_before: *lines_before,
        bytes_before: *bytes_before,
        last_hash: last.payload_hash,
        owed: at.owed,
    };
    Ok((Input::Files { listing, files, lengths, open: Some((at.file, at.inode)) }, progress))
}

/// Opens a file behind the first `byte` bytes, which were read, and of which the last line has the hash given.
///
/// # Errors
/// [`Error::StreamChanged`] when it is shorter or the line is another one; [`Error::Io`].
pub(super) fn open_at(source: &str, named: &Named, byte: u64, hash: Option<u64>) -> Result<OpenAt, Error> {
    let failed = |error| Error::Io { action: "reading", path: named.path.clone(), error };
    let changed = |message: String| Error::StreamChanged {
        source_name: source.to_owned(),
        message: format!("{}: {message}", named.name),
    };
    let mut file = File::open(&named.path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.len() < byte {
        return Err(changed(format!("{byte} bytes of it have been read, and it holds {} now", metadata.len())));
    }
    let mut owed = false;
    if let Some(hash) = hash {
        let line = line_before(&file, byte).map_err(failed)?;
        owed = line.last() != Some(&b'\n');
        if line_hash(&line) != hash {
            return Err(changed(format!("the line that ends at byte {byte} is not the one that was read")));
        }
    }
    file.seek(SeekFrom::Start(byte)).map_err(failed)?;
    Ok(OpenAt { file, inode: metadata.ino(), owed })
}

/// The line that ends at `byte`, with its line feed where it has one.
fn line_before(file: &File, byte: u64) -> std::io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut start = byte;
    while start > 0 {
        let step = start.min(STEP);
        start -= step;
        let mut block = vec![0; usize::try_from(step).unwrap_or_default()];
        file.read_exact_at(&mut block, start)?;
        // The line feed at the end is the line's own.
        let within = if start + step == byte { block.len() - 1 } else { block.len() };
        let found = memchr::memrchr(b'\n', &block[..within]);
        let kept = found.map_or(0, |at| at + 1);
        line.splice(0..0, block.drain(kept..));
        if found.is_some() {
            break;
        }
    }
    Ok(line)
}

/// That a file which was read to its end, with another after it, has not grown or shrunk.
///
/// # Errors
/// [`Error::StreamChanged`], [`Error::Io`].
pub(super) fn expect_length(source: &str, named: &Named, length: u64) -> Result<(), Error> {
    let failed = |error| Error::Io { action: "reading", path: named.path.clone(), error };
    let found = named.path.metadata().map_err(failed)?.len();
    if found == length {
        return Ok(());
    }
    Err(Error::StreamChanged {
        source_name: source.to_owned(),
        message: format!(
            "{} held {length} bytes when the file after it was begun, and now {found}: sequences would shift",
            named.name
        ),
    })
}

/// Passes over the lines of a stream that were read before: all up to `position`.
///
/// # Errors
/// [`Error::StreamChanged`] when there are fewer or the last of them is another one; [`Error::Io`].
pub(super) fn stream(source: &str, stream: &mut dyn Read, position: &Position) -> Result<(Progress, Vec<u8>), Error> {
    let changed = |message: String| Error::StreamChanged { source_name: source.to_owned(), message };
    let Identity::File { last, .. } = &position.identity else {
        return Err(changed("the checkpoint was made of a NATS stream, and the source is standard input now".into()));
    };
    let mut progress = beginning();
    let Some(last) = last else { return Ok((progress, Vec::new())) };
    let mut line = Vec::new();
    let mut block = vec![0; 1 << 20];
    let ended = |lines: u64| changed(format!("{} lines of standard input have been read, and it holds {lines} now", last.sequence));
    loop {
        let read = match stream.read(&mut block) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            read => read.map_err(|error| Error::Io { action: "reading", path: STANDARD_INPUT.into(), error })?,
        };
        let data = &block[..read];
        let mut start = 0;
        for at in memchr::memchr_iter(b'\n', data) {
            line.extend_from_slice(&data[start..=at]);
            start = at + 1;
            progress.next += 1;
            progress.consumed += line.len() as u64;
            if progress.next == position.offset {
                break;
            }
            line.clear();
        }
        if progress.next < position.offset {
            line.extend_from_slice(&data[start..]);
            if read == 0 {
                // The last line may have been read without a line feed.
                if line.is_empty() || progress.next + 1 != position.offset {
                    return Err(ended(progress.next - 1));
                }
                progress.next += 1;
                progress.consumed += line.len() as u64;
            }
        }
        if progress.next == position.offset {
            if line_hash(&line) != last.payload_hash {
                return Err(changed(format!("line {} of standard input is not the one that was read", last.sequence)));
            }
            progress.last_hash = last.payload_hash;
            return Ok((progress, data[start..].to_vec()));
        }
    }
}
