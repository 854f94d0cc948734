//! What a file's bytes are as lines of events: its own lines, or, where it is compressed, one JSON array, or printed over several lines,
//! the lines that are made of it. The text of a file that is not plain is made anew from its first byte each time.
//!
//! Which it is, the beginning of the file tells, and goes on telling as the file grows.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use super::values::Values;
use crate::Error;
use crate::durable::io_error;

/// The number of bytes at the beginning that decide the kind of file.
const HEAD: usize = 64 << 10;
/// The number of bytes to skip at once.
const SKIPPED: usize = 256 << 10;

/// How a file holds its events.
#[derive(Debug, Clone, Copy)]
struct Layout {
    packed: Packed,
    /// Events are JSON values wherever lines end, or the elements of an array.
    values: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    Not,
    Gzip,
    Zstd,
}

/// An open file and its text.
pub(super) struct Text {
    /// Of the file when it was opened, in bytes of the file.
    pub(super) file_length: u64,
    layout: Layout,
    file: File,
}

impl Text {
    /// Opens a file and finds out how it holds its events.
    ///
    /// # Errors
    /// The disk's; [`Error::Config`] for a file of a format that is not read.
    pub(super) fn open(path: &Path) -> Result<Text, Error> {
        let mut file = File::open(path).map_err(io_error("opening", path))?;
        let file_length = file.metadata().map_err(io_error("looking at", path))?.len();
        let head = head(&mut file).map_err(io_error("reading", path))?;
        refuse_other_formats(&head, path)?;
        let packed = match head.as_slice() {
            [0x1f, 0x8b, ..] => Packed::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packed::Zstd,
            _ => Packed::Not,
        };
        let mut text = Text { file_length, layout: Layout { packed, values: false }, file };
        let head = match packed {
            Packed::Not => head,
            _ => head_of(text.bytes(path)?, path)?,
        };
        text.layout.values = holds_values(&head);
        Ok(text)
    }

    /// Whether the file's bytes are the text.
    pub(super) fn is_plain(&self) -> bool {
        self.layout.packed == Packed::Not && !self.layout.values
    }

    /// The text from its first byte on.
    fn reader<'t>(&'t mut self, path: &Path) -> Result<Box<dyn Read + 't>, Error> {
        let values = self.layout.values;
        let bytes = self.bytes(path)?;
        Ok(if values { Box::new(Values::new(bytes)) } else { bytes })
    }

    /// The text from a byte on; none where it ends before.
    ///
    /// # Errors
    /// The disk's; [`Error::Corrupt`] where it cannot be unpacked.
    pub(super) fn reader_at<'t>(&'t mut self, path: &Path, byte: u64) -> Result<Option<Box<dyn Read + 't>>, Error> {
        if self.is_plain() {
            self.file.seek(SeekFrom::Start(byte)).map_err(io_error("reading", path))?;
            return Ok(Some(Box::new(&mut self.file)));
        }
        let mut reader = self.reader(path)?;
        let skipped =
            io::copy(&mut reader.by_ref().take(byte), &mut io::sink()).map_err(|error| unreadable(error, path, false))?;
        Ok((skipped == byte).then_some(reader))
    }

    /// Returns the last line that begins before `byte`, cut off at `byte`. Includes its line end if that is before `byte`.
    ///
    /// # Errors
    /// As [`Text::reader_at`].
    pub(super) fn last_line_before(&mut self, path: &Path, byte: u64) -> Result<Vec<u8>, Error> {
        if self.is_plain() {
            return super::lines::last_before(&mut self.file, byte).map_err(io_error("reading", path));
        }
        let mut reader = self.reader(path)?.take(byte);
        let mut last = Vec::new();
        loop {
            let read =
                reader.by_ref().take(SKIPPED as u64).read_to_end(&mut last).map_err(|error| unreadable(error, path, false))?;
            let inner = last.strip_suffix(b"\n").unwrap_or(&last);
            if let Some(newline) = memchr::memrchr(b'\n', inner) {
                last.drain(..=newline);
            }
            if read == 0 {
                return Ok(last);
            }
        }
    }

    /// The file's bytes, unpacked, from the first on.
    fn bytes<'t>(&'t mut self, path: &Path) -> Result<Box<dyn Read + 't>, Error> {
        self.file.seek(SeekFrom::Start(0)).map_err(io_error("reading", path))?;
        Ok(match self.layout.packed {
            Packed::Not => Box::new(BufReader::with_capacity(SKIPPED, &mut self.file)),
            Packed::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(SKIPPED, &mut self.file))),
            Packed::Zstd => Box::new(zstd::Decoder::new(&mut self.file).map_err(io_error("reading", path))?),
        })
    }
}

/// An error of reading a text: one that is not plain and cannot be unpacked is damaged.
pub(super) fn unreadable(error: io::Error, path: &Path, plain: bool) -> Error {
    match error.kind() {
        _ if plain => io_error("reading", path)(error),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            Error::Corrupt { path: path.to_owned(), message: format!("it is compressed, and cut off or damaged: {error}") }
        }
        _ => io_error("reading", path)(error),
    }
}

fn head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn head_of(text: Box<dyn Read + '_>, path: &Path) -> Result<Vec<u8>, Error> {
    let mut head = Vec::new();
    text.take(HEAD as u64).read_to_end(&mut head).map_err(|error| unreadable(error, path, false))?;
    Ok(head)
}

/// Checks by its beginning whether a text is an array or has values that span several lines. In the latter case, its first line ends
/// within a value, at a place where programs break lines.
fn holds_values(head: &[u8]) -> bool {
    let head = super::lines::without_mark(head).trim_ascii_start();
    match head.first() {
        Some(b'[') => matches!(head[1..].trim_ascii_start().first(), None | Some(b'{' | b']')),
        Some(b'{') => {
            let first = memchr::memchr(b'\n', head).map(|end| head[..end].trim_ascii_end());
            first.is_some_and(|line| matches!(line.last(), Some(b'{' | b'[' | b',' | b':')))
        }
        _ => false,
    }
}

/// Files that begin with these bytes are of a format that is not read.
const OTHER_FORMATS: [(&[u8], &str); 6] = [
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"Obj\x01", "an Avro file"),
    (b"PK\x03\x04", "a zip archive"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
];

fn refuse_other_formats(head: &[u8], path: &Path) -> Result<(), Error> {
    match OTHER_FORMATS.iter().find(|(bytes, _)| head.starts_with(bytes)) {
        None => Ok(()),
        Some((_, what)) => Err(Error::Config {
            message: format!("{} is {what}", path.display()),
            help: Some(
                "events are read from JSON: a line each, an array, or printed over several lines; also with gzip or zstd".into(),
            ),
        }),
    }
}
