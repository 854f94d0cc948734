//! Files whose content is known by checksums: taken while they are written, compared while they are read, piece by piece, so that neither
//! costs a second pass over the file and a part of a file can be read by itself.
//!
//! What a flipped bit on the disk has changed is never given to a reader. It protects nobody who reads the file without it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use super::parts::Part;
use crate::Error;
use crate::durable::io_error;

/// Bytes of a piece: each has a checksum. The last one of a file is shorter.
const PIECE: usize = 256 << 10;
/// Pieces that are kept while a file is read: columns lie side by side in it.
const KEPT: usize = 64;

/// The CRC-32 of each piece.
pub(super) fn checksums(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(PIECE).map(crc32fast::hash).collect()
}

/// Takes the checksums of what is written through it.
pub(super) struct Checksummed<W> {
    inner: W,
    piece: crc32fast::Hasher,
    /// Bytes that the piece still takes.
    room: usize,
    done: Vec<u32>,
}

impl<W> Checksummed<W> {
    pub(super) fn new(inner: W) -> Checksummed<W> {
        Checksummed { inner, piece: crc32fast::Hasher::new(), room: PIECE, done: Vec::new() }
    }

    pub(super) fn inner(&self) -> &W {
        &self.inner
    }

    /// What was written to, and the checksums.
    pub(super) fn finish(mut self) -> (W, Vec<u32>) {
        if self.room < PIECE {
            self.done.push(self.piece.finalize());
        }
        (self.inner, self.done)
    }
}

impl<W: Write> Write for Checksummed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        let mut rest = bytes.get(..written).unwrap_or(bytes);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(self.room));
            self.piece.update(now);
            self.room -= now.len();
            if self.room == 0 {
                self.done.push(std::mem::take(&mut self.piece).finalize());
                self.room = PIECE;
            }
            rest = later;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A part that is open: whatever is read of it is what was written. Clones share the file.
#[derive(Debug, Clone)]
pub struct CheckedFile(Arc<Open>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    length: u64,
    /// Of each piece; none in the records of earlier releases, which had none.
    checksums: Vec<u32>,
    pieces: Mutex<VecDeque<(usize, Bytes)>>,
}

impl CheckedFile {
    /// Opens a part.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] where its length is not the recorded one.
    pub fn open(path: &Path, part: &Part) -> Result<CheckedFile, Error> {
        let file = File::open(path).map_err(io_error("opening", path))?;
        let length = file.metadata().map_err(io_error("reading", path))?.len();
        let damaged = |message: String| Error::Corrupt { path: path.to_owned(), message };
        if length != part.bytes {
            return Err(damaged(format!("it has {length} bytes, and was written with {}", part.bytes)));
        }
        if !part.crc32.is_empty() && part.crc32.len() as u64 != length.div_ceil(PIECE as u64) {
            return Err(damaged(format!("{} checksums are recorded of {length} bytes", part.crc32.len())));
        }
        let (path, checksums) = (path.to_owned(), part.crc32.clone());
        Ok(CheckedFile(Arc::new(Open { path, file, length, checksums, pieces: Mutex::default() })))
    }

    /// The file, for what is known of it beside its content.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// The bytes of a range, which lies within the file.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where they are not what was written; [`Error::Io`].
    pub fn range(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let open = &*self.0;
        let (first, last) = (range.start / PIECE as u64, range.end.saturating_sub(1) / PIECE as u64);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if first == last {
            let piece = open.piece(first as usize)?;
            let start = (range.start - first * PIECE as u64) as usize;
            let end = start + (range.end - range.start) as usize;
            return piece.get(start..end).map(|_| piece.slice(start..end)).ok_or_else(|| open.short());
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        open.file.read_exact_at(&mut bytes, range.start).map_err(io_error("reading", &open.path))?;
        for index in first..=last {
            let start = index * PIECE as u64;
            let end = (start + PIECE as u64).min(open.length);
            // A piece of which only a part is asked for is read whole.
            if start < range.start || end > range.end {
                let piece = open.piece(index as usize)?;
                let (from, to) = (start.max(range.start), end.min(range.end));
                let part = piece.get((from - start) as usize..(to - start) as usize).ok_or_else(|| open.short())?;
                let target = (from - range.start) as usize;
                bytes[target..target + part.len()].copy_from_slice(part);
            } else {
                let own = &bytes[(start - range.start) as usize..(end - range.start) as usize];
                open.check(index as usize, own)?;
            }
        }
        Ok(bytes.into())
    }

    /// All of it.
    ///
    /// # Errors
    /// As [`CheckedFile::range`].
    pub fn whole(&self) -> Result<Bytes, Error> {
        self.range(0..self.0.length)
    }

    /// Reads all of it, and keeps nothing.
    ///
    /// # Errors
    /// As [`CheckedFile::range`].
    pub fn check(&self) -> Result<(), Error> {
        let step = 16 * PIECE as u64;
        let mut start = 0;
        while start < self.0.length {
            let end = (start + step).min(self.0.length);
            self.range(start..end)?;
            start = end;
        }
        Ok(())
    }
}

impl Open {
    fn short(&self) -> Error {
        Error::Corrupt { path: self.path.clone(), message: format!("its {} bytes are fewer than it says", self.length) }
    }

    fn check(&self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        match self.checksums.get(index) {
            Some(checksum) if *checksum != crc32fast::hash(bytes) => Err(Error::Corrupt {
                path: self.path.clone(),
                message: format!("what it holds at byte {} and behind is not what was written", index * PIECE),
            }),
            _ => Ok(()),
        }
    }

    /// A piece, read and checked, or kept from before.
    fn piece(&self, index: usize) -> Result<Bytes, Error> {
        let mut kept = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = kept.iter().find(|(at, _)| *at == index) {
            return Ok(bytes.clone());
        }
        let start = index as u64 * PIECE as u64;
        let mut bytes = vec![0; (PIECE as u64).min(self.length.saturating_sub(start)) as usize];
        self.file.read_exact_at(&mut bytes, start).map_err(io_error("reading", &self.path))?;
        self.check(index, &bytes)?;
        let bytes = Bytes::from(bytes);
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((index, bytes.clone()));
        Ok(bytes)
    }
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.0.length
    }
}

impl ChunkReader for CheckedFile {
    type T = FromHere;

    fn get_read(&self, start: u64) -> Result<FromHere, ParquetError> {
        Ok(FromHere { file: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.saturating_add(length as u64);
        if end > self.0.length {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} of {}", self.0.length)));
        }
        self.range(start..end).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Reads a file from a place on.
#[derive(Debug)]
pub struct FromHere {
    file: CheckedFile,
    at: u64,
}

impl Read for FromHere {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end_of_piece = (self.at / PIECE as u64 + 1) * PIECE as u64;
        let end = end_of_piece.min(self.file.0.length).min(self.at.saturating_add(buffer.len() as u64));
        if end <= self.at {
            return Ok(0);
        }
        let bytes = self.file.range(self.at..end).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at = end;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn written(length: usize) -> (tempfile::TempDir, PathBuf, Vec<u8>, Part) {
        let mut rng = fastrand::Rng::with_seed(length as u64);
        let bytes: Vec<u8> = (0..length).map(|_| rng.u8(..)).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        let mut writer = Checksummed::new(File::create(&path).unwrap());
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rng.usize(1..=rest.len().min(3 * PIECE)));
            writer.write_all(now).unwrap();
            rest = later;
        }
        let crc32 = writer.finish().1;
        assert_eq!(crc32, checksums(&bytes));
        let part = Part { file: "part".into(), rows: 0, bytes: length as u64, prefix: 0, bits: 0, crc32 };
        (folder, path, bytes, part)
    }

    #[test]
    fn ranges_are_what_was_written() {
        for length in [1, 100, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 17] {
            let (_folder, path, bytes, part) = written(length);
            let file = CheckedFile::open(&path, &part).unwrap();
            assert_eq!(file.whole().unwrap(), bytes);
            file.check().unwrap();
            let mut rng = fastrand::Rng::with_seed(1);
            for _ in 0..100 {
                let start = rng.usize(..length);
                let end = rng.usize(start..=length);
                assert_eq!(file.range(start as u64..end as u64).unwrap(), bytes[start..end]);
                let mut read = vec![0; end - start];
                file.get_read(start as u64).unwrap().read_exact(&mut read).unwrap();
                assert_eq!(read, bytes[start..end]);
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_found_where_it_is_read() {
        let length = 3 * PIECE + 5;
        let (_folder, path, bytes, part) = written(length);
        let mut rng = fastrand::Rng::with_seed(2);
        for _ in 0..20 {
            let at = rng.usize(..length);
            let mut changed = bytes.clone();
            changed[at] ^= 1 << rng.u8(..8);
            std::fs::write(&path, &changed).unwrap();
            let file = CheckedFile::open(&path, &part).unwrap();
            assert!(matches!(file.whole(), Err(Error::Corrupt { .. })), "{at}");
            assert!(matches!(file.check(), Err(Error::Corrupt { .. })), "{at}");
            assert!(matches!(file.range(at as u64..at as u64 + 1), Err(Error::Corrupt { .. })), "{at}");
            let other = (at + 2 * PIECE) % length;
            assert_eq!(file.range(other as u64..other as u64 + 1).is_ok(), other / PIECE != at / PIECE);
        }
        std::fs::write(&path, &bytes[..length - 1]).unwrap();
        assert!(matches!(CheckedFile::open(&path, &part), Err(Error::Corrupt { .. })));
    }
}
