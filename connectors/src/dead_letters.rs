//! Keeps events that could not be applied as Parquet files, so that nothing is lost.
//!
//! ```text
//! data/dead_letters/
//!   <source>-<first>-<last>-<random>.parquet   letters of one commit; visible to readers
//!   .staged/<same name>                        written and synced; its commit may not have happened yet
//! ```
//!
//! Each letter is kept exactly once, despite crashes. The engine calls [`DeadLetterFolder::stage`] before a commit, records the names of
//! the files in the commit, and calls [`DeadLetterFolder::publish`] after it. At start, [`DeadLetterFolder::recover`] publishes the names
//! that the last commit recorded, and removes all others. So a record holds only the names of its own commit. Which letters belong to a
//! commit is not decided here. Each file is sealed by a checksum ([`seal`]).

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, StringArray, TimestampNanosecondArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, UInt64Type};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::Error;
use crate::durable::{self, io_error};

pub mod seal;
#[cfg(test)]
mod tests;

/// One event that could not be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// The source's name.
    pub source: String,
    /// The event's sequence.
    pub sequence: u64,
    /// The view whose expression failed on the event, or the views that read the column that a member does not fit, joined by `, `. `None`
    /// if the body did not decode.
    pub view: Option<String>,
    /// The column, if the event decodes but a member does not fit. Not stored in the file, but `error` begins with it.
    pub column: Option<String>,
    /// The place of the event in its message, from 1, if messages hold several events. Not stored in the file, but `error` ends with it.
    pub ordinal: Option<u32>,
    /// The message's subject, or the file's name.
    pub subject: String,
    /// When the event was stored, in nanoseconds since the epoch, if known.
    pub timestamp_ns: Option<i64>,
    /// The message's headers as JSON text, if any.
    pub headers: Option<String>,
    /// The body, byte for byte. Of an event that is one of several in its message: its part of the body.
    pub payload: Bytes,
    /// A word from a fixed set, for metrics: `not_json`, `not_one_object`, `not_conforming`, `not_csv`, `not_avro`, `not_protobuf`, `not_msgpack`,
    /// `not_arrow`, `not_cloudevent`, `not_a_change`, `wrong_type`,
    /// `missing`, `out_of_range`, `too_deep`, `not_sent`, `truncate`, `expression`, or `crash`, which the engine sets.
    pub kind: &'static str,
    /// What is wrong and where.
    pub error: String,
}

impl DeadLetter {
    /// Says which event of the message the letter is about; 0 if the message is one event.
    #[must_use]
    pub(crate) fn of_event(mut self, ordinal: u32) -> DeadLetter {
        if ordinal > 0 && self.ordinal.is_none() {
            self.ordinal = Some(ordinal);
            self.error.push_str(&format!(", in event {ordinal} of the message"));
        }
        self
    }
}

const STAGED: &str = ".staged";
/// The approximate size of the letters in a record batch, in bytes. A column with 32-bit offsets must stay below 2 GiB.
const BATCH_BYTES: usize = 64 << 20;

/// Returns the schema of a file of dead letters. `timestamp` is in UTC.
#[must_use]
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("sequence", DataType::UInt64, false),
        Field::new("view", DataType::Utf8, true),
        Field::new("subject", DataType::Utf8, false),
        Field::new("timestamp", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
        Field::new("headers", DataType::Utf8, true),
        Field::new("payload", DataType::Binary, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("error", DataType::Utf8, false),
    ]))
}

/// The folder `dead_letters/`.
#[derive(Debug, Clone)]
pub struct DeadLetterFolder {
    folder: PathBuf,
}

impl DeadLetterFolder {
    /// Opens the folder, and creates it if it is missing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path) -> Result<DeadLetterFolder, Error> {
        durable::create_folder(&folder.join(STAGED))?;
        Ok(DeadLetterFolder { folder: folder.to_owned() })
    }

    /// Writes and syncs letters, one file per source, where readers do not see them yet. Returns the names of the files for the commit to
    /// record.
    ///
    /// # Errors
    /// [`Error::Io`]; the next [`DeadLetterFolder::recover`] removes what was written.
    pub fn stage(&self, letters: &[DeadLetter]) -> Result<Vec<String>, Error> {
        let mut by_source: BTreeMap<&str, Vec<&DeadLetter>> = BTreeMap::new();
        for letter in letters {
            by_source.entry(&letter.source).or_default().push(letter);
        }
        let mut names = Vec::with_capacity(by_source.len());
        for (source, mut letters) in by_source {
            letters.sort_by_key(|letter| letter.sequence);
            let (first, last) =
                (letters.first().map_or(0, |letter| letter.sequence), letters.last().map_or(0, |letter| letter.sequence));
            let name = format!("{}-{first}-{last}-{}.parquet", file_name(source), durable::unique());
            let path = self.staged(&name);
            let encoded = encode(&letters).map_err(|error| Error::Bug(format!("writing {}: {error}", path.display())));
            let mut bytes = encoded?;
            seal::seal(&mut bytes)?;
            durable::write_new(&path, &bytes)?;
            names.push(name);
        }
        if !names.is_empty() {
            durable::sync_folder(&self.folder.join(STAGED))?;
        }
        Ok(names)
    }

    /// Makes staged files visible to readers, after their commit. Can be repeated: files that are already published stay in place.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] for a name that is neither staged nor published. Retrying is safe.
    pub fn publish(&self, names: &[String]) -> Result<(), Error> {
        for name in names {
            let (from, to) = (self.staged(name), self.folder.join(name));
            match fs::hard_link(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !to.exists() {
                        let message = "the last commit names this file, but it is missing".to_owned();
                        return Err(Error::Corrupt { path: to, message });
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                linked => linked.map_err(io_error("linking", &from))?,
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        // The new name is durable before the old one goes: at no moment may a power failure leave neither.
        durable::sync_folder(&self.folder)?;
        names.iter().try_for_each(|name| durable::remove_file(&self.staged(name)))?;
        durable::sync_folder(&self.folder.join(STAGED))
    }

    /// Returns the sequence and error of each of these letters that is already published. All letters must be of the same source. A
    /// published letter with the same sequence but another body does not count: it is from an earlier stream of that name.
    ///
    /// # Errors
    /// [`Error::Io`]. A damaged file counts as one without letters, with a warning.
    pub fn kept(&self, letters: &[&DeadLetter]) -> Result<BTreeSet<(u64, String)>, Error> {
        let wanted: Wanted<'_> = letters.iter().map(|letter| ((letter.sequence, letter.error.as_str()), *letter)).collect();
        let mut kept = BTreeSet::new();
        let (Some(((first, _), letter)), Some(((last, _), _))) = (wanted.first_key_value(), wanted.last_key_value()) else {
            return Ok(kept);
        };
        for name in durable::names(&self.folder)? {
            if span_of(&name, &letter.source).is_some_and(|span| span.start() <= last && first <= span.end()) {
                match kept_in(&self.folder.join(&name), &wanted, &mut kept) {
                    // The file was dropped after the folder was listed.
                    Err(Error::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                    // What it held may be kept once more; no view is to stop for it.
                    Err(error @ Error::Corrupt { .. }) => tracing::warn!(%error, "passed over"),
                    read => read?,
                }
            }
        }
        Ok(kept)
    }

    /// At start, publishes the files that the last commits of all pipelines recorded, and removes those of commits that never happened.
    /// Returns the number of removed files.
    ///
    /// # Errors
    /// As [`DeadLetterFolder::publish`].
    pub fn recover(&self, recorded: &HashSet<String>) -> Result<usize, Error> {
        let staged = durable::names(&self.folder.join(STAGED))?;
        let (committed, lost): (Vec<String>, Vec<String>) = staged.into_iter().partition(|name| recorded.contains(name));
        self.publish(&committed)?;
        for name in &lost {
            durable::remove_file(&self.staged(name))?;
        }
        Ok(lost.len())
    }

    fn staged(&self, name: &str) -> PathBuf {
        self.folder.join(STAGED).join(name)
    }
}

/// Converts a source's name to a part of a file name: characters other than letters, digits and `_` become `%` and their code.
fn file_name(source: &str) -> String {
    let mut name = String::new();
    for character in source.chars().take(64) {
        if character.is_ascii_alphanumeric() || character == '_' {
            name.push(character);
        } else {
            name.push_str(&format!("%{:x}", u32::from(character)));
        }
    }
    name
}

/// Returns the range from the first to the last sequence of a file, by its name. Returns `None` if the file has no letters of `source`.
#[must_use]
pub fn span_of(name: &str, source: &str) -> Option<RangeInclusive<u64>> {
    let rest = name.strip_prefix(&file_name(source))?.strip_prefix('-')?;
    let mut parts = rest.split('-');
    Some(parts.next()?.parse().ok()?..=parts.next()?.parse().ok()?)
}

/// Letters by sequence and error.
type Wanted<'l> = BTreeMap<(u64, &'l str), &'l DeadLetter>;

/// Adds to `kept` those of `wanted` that a file contains.
fn kept_in(path: &Path, wanted: &Wanted<'_>, kept: &mut BTreeSet<(u64, String)>) -> Result<(), Error> {
    let corrupt = |message: String| Error::Corrupt { path: path.to_owned(), message };
    seal::check(path)?;
    let file = fs::File::open(path).map_err(io_error("opening", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| corrupt(error.to_string()))?;
    let columns = ProjectionMask::columns(reader.parquet_schema(), ["sequence", "payload", "error"]);
    for batch in reader.with_projection(columns).build().map_err(|error| corrupt(error.to_string()))? {
        let batch = batch.map_err(|error| corrupt(error.to_string()))?;
        let column = |name| batch.column_by_name(name);
        let (Some(sequence), Some(payload), Some(error)) = (
            column("sequence").and_then(|column| column.as_primitive_opt::<UInt64Type>()),
            column("payload").and_then(|column| column.as_binary_opt::<i32>()),
            column("error").and_then(|column| column.as_string_opt::<i32>()),
        ) else {
            return Err(corrupt("it is not a file of dead letters".to_owned()));
        };
        for row in 0..batch.num_rows() {
            let key = (sequence.value(row), error.value(row));
            if wanted.get(&key).is_some_and(|letter| letter.payload.as_ref() == payload.value(row)) {
                kept.insert((key.0, key.1.to_owned()));
            }
        }
    }
    Ok(())
}

fn encode(letters: &[&DeadLetter]) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        // Bodies differ, so a dictionary would not pay off.
        .set_column_dictionary_enabled("payload".into(), false)
        .set_column_statistics_enabled("payload".into(), EnabledStatistics::None)
        .set_key_value_metadata(Some(seal::metadata()))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties))?;
    let mut rest = letters;
    while !rest.is_empty() {
        let mut bytes = 0;
        let size =
            |letter: &&DeadLetter| letter.payload.len() + letter.headers.as_ref().map_or(0, String::len) + letter.error.len();
        let fits = |letter: &&&DeadLetter| {
            bytes += size(letter);
            bytes <= BATCH_BYTES
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (now, later) = rest.split_at(count);
        writer.write(&record_batch(now)?)?;
        rest = later;
    }
    writer.into_inner()
}

fn record_batch(letters: &[&DeadLetter]) -> Result<RecordBatch, arrow::error::ArrowError> {
    fn text<'a>(letters: &[&'a DeadLetter], column: impl Fn(&'a DeadLetter) -> &'a str) -> ArrayRef {
        Arc::new(StringArray::from_iter_values(letters.iter().map(|letter| column(letter))))
    }
    fn maybe<'a>(letters: &[&'a DeadLetter], column: impl Fn(&'a DeadLetter) -> Option<&'a str>) -> ArrayRef {
        Arc::new(letters.iter().map(|letter| column(letter)).collect::<StringArray>())
    }
    let timestamps: TimestampNanosecondArray = letters.iter().map(|letter| letter.timestamp_ns).collect();
    RecordBatch::try_new(
        schema(),
        vec![
            text(letters, |letter| &letter.source),
            Arc::new(UInt64Array::from_iter_values(letters.iter().map(|letter| letter.sequence))),
            maybe(letters, |letter| letter.view.as_deref()),
            text(letters, |letter| &letter.subject),
            Arc::new(timestamps),
            maybe(letters, |letter| letter.headers.as_deref()),
            Arc::new(BinaryArray::from_iter_values(letters.iter().map(|letter| &letter.payload))),
            text(letters, |letter| letter.kind),
            text(letters, |letter| &letter.error),
        ],
    )
}
