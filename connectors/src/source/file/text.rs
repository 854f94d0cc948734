//! Reads a file as lines of events. A plain file has its own lines. The text of a file that is compressed, a JSON array, has values that
//! span several lines, or is CSV, Parquet, Arrow or Avro is converted to lines, from its first byte each time.
//!
//! The declaration and the beginning of the file decide which kind it is, so the kind does not change as the file grows. A file that does
//! not match its declared kind is refused when it is opened.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::ipc::reader::{FileReader, StreamReader};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::avro_blocks::AvroBlocks;
use super::columns::Rows;
use super::declared::{Declared, Dialect, Kind};
use super::records::{self, Records};
use super::values::Values;
use crate::Error;
use crate::durable::io_error;

/// The number of bytes at the beginning that decide the kind of file.
const HEAD: usize = 64 << 10;
/// The number of bytes to skip at once.
const SKIPPED: usize = 256 << 10;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packed {
    Not,
    Gzip,
    Zstd,
}

/// The content of a file after decompression.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// Events are lines.
    Lines,
    /// Events are JSON values regardless of line ends, or the elements of an array.
    Values,
    /// Events are the records of a CSV file. Holds the names of the columns for a file without a header.
    Records(Dialect, Arc<[String]>),
    /// Events are the rows of a Parquet file. Holds their number.
    Parquet(u64),
    /// Events are the rows of an Arrow IPC file.
    ArrowFile,
    /// Events are the rows of an Arrow IPC stream.
    ArrowStream,
    /// Events are the data of an Avro object container file.
    Avro,
    /// A writer has begun an Avro object container file, and its head is not whole yet.
    Begun,
}

/// An open file and its text.
pub(super) struct Text {
    /// The length of the file in bytes when it was opened.
    pub(super) file_length: u64,
    path: PathBuf,
    packed: Packed,
    content: Content,
    file: File,
    /// Set when reading finds that the file ends within a block.
    cut_off: Arc<AtomicBool>,
}

impl Text {
    /// Opens a file and detects how it holds its events.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Config`] for a file that does not match its declared kind.
    pub(super) fn open(path: PathBuf, declared: &Declared) -> Result<Text, Error> {
        let mut file = File::open(&path).map_err(io_error("opening", &path))?;
        let file_length = file.metadata().map_err(io_error("looking at", &path))?.len();
        let head = head(&mut file).map_err(io_error("reading", &path))?;
        let packed = match head.as_slice() {
            [0x1f, 0x8b, ..] => Packed::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Packed::Zstd,
            _ => Packed::Not,
        };
        let mut text = Text { file_length, path, packed, content: Content::Lines, file, cut_off: Arc::default() };
        let head = match packed {
            Packed::Not => head,
            _ => text.head_unpacked()?,
        };
        text.content = text.content_of(&head, declared)?;
        Ok(text)
    }

    /// Determines the content of a file by its beginning.
    fn content_of(&self, head: &[u8], declared: &Declared) -> Result<Content, Error> {
        let refused = |what: String, help: &str| Error::Config {
            message: format!("source {}: {} {what}", declared.source_name, self.path.display()),
            help: Some(help.to_owned()),
        };
        let unpacked = self.packed == Packed::Not;
        if head.is_empty() && matches!(declared.kind, Kind::Parquet | Kind::Arrow | Kind::Avro) {
            // A writer has just opened it.
            return Ok(Content::Lines);
        }
        let (parquet, arrow) = (unpacked && head.starts_with(b"PAR1"), unpacked && head.starts_with(b"ARROW1"));
        match declared.kind {
            Kind::Parquet if !parquet => Err(refused("is not a Parquet file".into(), DECLARE)),
            Kind::Any | Kind::Parquet if parquet => match self.parquet() {
                Ok(reader) => {
                    Ok(Content::Parquet(u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default()))
                }
                Err(error) => Err(refused(format!("is no whole Parquet file: {error}"), RENAME)),
            },
            Kind::Arrow if unpacked && head.starts_with(&[0xff; 4]) => match self.arrow_stream() {
                Ok(_) => Ok(Content::ArrowStream),
                Err(error) => Err(refused(format!("is no whole Arrow stream: {error}"), RENAME)),
            },
            Kind::Arrow if !arrow => Err(refused("is not an Arrow IPC file".into(), DECLARE)),
            Kind::Any | Kind::Arrow if arrow => match self.arrow_file() {
                Ok(_) => Ok(Content::ArrowFile),
                Err(error) => Err(refused(format!("is no whole Arrow file: {error}"), RENAME)),
            },
            Kind::Avro if unpacked && AVRO.starts_with(head) && head.len() < AVRO.len() => Ok(Content::Begun),
            Kind::Avro if !(unpacked && head.starts_with(AVRO)) => Err(refused("is not an Avro file".into(), DECLARE)),
            Kind::Any | Kind::Avro if unpacked && head.starts_with(AVRO) => match self.avro() {
                Ok(_) => Ok(Content::Avro),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Content::Begun),
                Err(error) => Err(refused(format!("is an Avro file that cannot be read: {error}"), RENAME)),
            },
            Kind::Csv(dialect) => {
                if let Some(what) = cannot_be_csv(head, dialect, &declared.columns) {
                    return Err(refused(what, "declare what the file is, or the options 'delimiter', 'quote' and 'header'"));
                }
                Ok(Content::Records(dialect, Arc::clone(&declared.columns)))
            }
            _ => match cannot_be_json(head) {
                Some(what) => Err(refused(what, DECLARE)),
                None if holds_values(head) => Ok(Content::Values),
                None => Ok(Content::Lines),
            },
        }
    }

    /// Returns the beginning of a compressed file's content.
    fn head_unpacked(&mut self) -> Result<Vec<u8>, Error> {
        let path = self.path.clone();
        head_of(self.bytes()?, &path)
    }

    /// Returns the path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Checks whether the text is the file's bytes, unchanged.
    pub(super) fn is_plain(&self) -> bool {
        self.packed == Packed::Not && self.content == Content::Lines
    }

    /// Whether the file ends within a block, as far as it was read: that block may still be written, and is not read.
    pub(super) fn is_cut_off(&self) -> bool {
        self.content == Content::Begun || self.cut_off.load(Ordering::Relaxed)
    }

    /// Returns the number of lines of the text, if the file's metadata holds it.
    pub(super) fn rows(&self) -> Option<u64> {
        match self.content {
            Content::Parquet(rows) => Some(rows),
            _ => None,
        }
    }

    /// Reads the text from its first byte on.
    fn reader(&mut self) -> Result<Box<dyn Read + '_>, Error> {
        let damaged =
            |error: &dyn std::fmt::Display, path: &Path| Error::Corrupt { path: path.to_owned(), message: error.to_string() };
        Ok(match self.content.clone() {
            Content::Lines => self.bytes()?,
            Content::Values => Box::new(Values::new(self.bytes()?)),
            Content::Records(dialect, columns) => Box::new(Records::new(self.bytes()?, dialect, &columns)),
            Content::Parquet(_) => {
                let reader = self.parquet().and_then(|reader| reader.build());
                Box::new(Rows::new(reader.map_err(|error| damaged(&error, &self.path))?))
            }
            Content::Begun => Box::new(io::empty()),
            Content::Avro => Box::new(self.avro().map_err(|error| damaged(&error, &self.path))?),
            Content::ArrowFile => Box::new(Rows::new(self.arrow_file().map_err(|error| damaged(&error, &self.path))?)),
            Content::ArrowStream => Box::new(Rows::new(self.arrow_stream().map_err(|error| damaged(&error, &self.path))?)),
        })
    }

    /// Reads the text from a byte on. Returns `None` if the text ends before it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] if the file cannot be decompressed.
    pub(super) fn reader_at(&mut self, byte: u64) -> Result<Option<Box<dyn Read + '_>>, Error> {
        let path = self.path.clone();
        if self.is_plain() {
            self.file.seek(SeekFrom::Start(byte)).map_err(io_error("reading", &path))?;
            return Ok(Some(Box::new(&mut self.file)));
        }
        let mut reader = self.reader()?;
        let skipped =
            io::copy(&mut reader.by_ref().take(byte), &mut io::sink()).map_err(|error| unreadable(error, &path, false))?;
        Ok((skipped == byte).then_some(reader))
    }

    /// Returns the last line that begins before `byte`, cut off at `byte`. Includes its line end if that is before `byte`.
    ///
    /// # Errors
    /// As [`Text::reader_at`].
    pub(super) fn last_line_before(&mut self, byte: u64) -> Result<Vec<u8>, Error> {
        let path = self.path.clone();
        if self.is_plain() {
            return super::lines::last_before(&mut self.file, byte).map_err(io_error("reading", &path));
        }
        let mut reader = self.reader()?.take(byte);
        let mut last = Vec::new();
        loop {
            let read =
                reader.by_ref().take(SKIPPED as u64).read_to_end(&mut last).map_err(|error| unreadable(error, &path, false))?;
            let inner = last.strip_suffix(b"\n").unwrap_or(&last);
            if let Some(newline) = memchr::memrchr(b'\n', inner) {
                last.drain(..=newline);
            }
            if read == 0 {
                return Ok(last);
            }
        }
    }

    /// Reads the decompressed bytes of the file from the first on.
    fn bytes(&mut self) -> Result<Box<dyn Read + '_>, Error> {
        self.file.seek(SeekFrom::Start(0)).map_err(io_error("reading", &self.path))?;
        Ok(match self.packed {
            Packed::Not => Box::new(BufReader::with_capacity(SKIPPED, &mut self.file)),
            Packed::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::with_capacity(SKIPPED, &mut self.file))),
            Packed::Zstd => Box::new(zstd::Decoder::new(&mut self.file).map_err(io_error("reading", &self.path))?),
        })
    }

    fn parquet(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, parquet::errors::ParquetError> {
        ParquetRecordBatchReaderBuilder::try_new(self.file.try_clone()?)
    }

    fn avro(&self) -> io::Result<AvroBlocks<BufReader<File>>> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        AvroBlocks::new(BufReader::with_capacity(SKIPPED, file), Arc::clone(&self.cut_off))
    }

    fn arrow_file(&self) -> Result<FileReader<BufReader<File>>, arrow::error::ArrowError> {
        FileReader::try_new_buffered(self.file.try_clone()?, None)
    }

    fn arrow_stream(&self) -> Result<StreamReader<BufReader<File>>, arrow::error::ArrowError> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        StreamReader::try_new_buffered(file, None)
    }
}

/// Converts an error of reading a text. A file that is not plain and cannot be converted is damaged.
pub(super) fn unreadable(error: io::Error, path: &Path, plain: bool) -> Error {
    match error.kind() {
        _ if plain => io_error("reading", path)(error),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            Error::Corrupt { path: path.to_owned(), message: format!("it is cut off or damaged: {error}") }
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

/// The hint for a file of another kind.
const DECLARE: &str = "write STORED AS JSON, CSV, PARQUET, ARROW or AVRO as the files are, or leave the file out by a pattern";
/// The hint for a file that is still being written.
const RENAME: &str = "write a file under a name that begins with a point, and rename it when it is whole";

/// The first bytes of an Avro object container file.
const AVRO: &[u8] = b"Obj\x01";

/// The first bytes of files that are neither JSON nor CSV.
const OTHER_KINDS: [(&[u8], &str); 7] = [
    (b"PAR1", "is a Parquet file"),
    (b"ARROW1", "is an Arrow file"),
    (&[0xff; 4], "is an Arrow stream"),
    (AVRO, "is an Avro file"),
    (b"PK\x03\x04", "is a zip archive"),
    (b"BZh", "is compressed with bzip2"),
    (b"\xfd7zXZ\x00", "is compressed with xz"),
];

fn other_kind(head: &[u8]) -> Option<String> {
    OTHER_KINDS.iter().find(|(bytes, _)| head.starts_with(bytes)).map(|(_, what)| (*what).to_owned())
}

/// Returns why a text with this beginning cannot be JSON, or `None` if it may be. A single line that is not JSON proves nothing.
fn cannot_be_json(head: &[u8]) -> Option<String> {
    let text = super::lines::without_mark(head);
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let first = lines.next().filter(|line| !matches!(line.first(), Some(b'{' | b'[')));
    let none = |line: &[u8]| !line.contains(&b'{');
    other_kind(head).or_else(|| {
        let first = first?;
        (none(first) && lines.next().is_some_and(none) && lines.all(none))
            .then(|| format!("holds no JSON: its first line is {:?}", excerpt(first)))
    })
}

/// Returns why a text with this beginning cannot be CSV of this dialect, or `None` if it may be.
fn cannot_be_csv(head: &[u8], dialect: Dialect, columns: &[String]) -> Option<String> {
    if let Some(what) = other_kind(head) {
        return Some(what);
    }
    if head.contains(&0) {
        return Some("holds no text".into());
    }
    // A header that is not ended is being written.
    let header = records::first_record(head, dialect).filter(|_| dialect.header && head.contains(&b'\n'))?;
    let named = |column: &String| header.iter().any(|name| name.trim().eq_ignore_ascii_case(column));
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    (!columns.is_empty() && !columns.iter().any(named))
        .then(|| format!("has a header that names no declared column: {:?}", excerpt(first)))
}

/// Returns the beginning of a line.
fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(line).chars().take(60).collect()
}
