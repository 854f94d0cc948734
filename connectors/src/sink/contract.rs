//! The traits that a sink implements: how the engine writes the rows of a view and makes them part of a commit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::Int64Array;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::Error;

/// Stores the rows of one view.
///
/// A commit has four steps. A [`SinkWriter`] stages the changes and returns a [`Token`]. The engine writes the token into its record,
/// which is the commit. [`Sink::publish`] makes visible what the token names. [`Sink::sweep`] removes what no kept commit needs.
///
/// # Contract
/// - [`Sink::publish`] of the last committed token can be repeated, also after it was interrupted anywhere, with the same result (checked
///   by `crash` in the tests of Parquet).
/// - [`Sink::sweep`] removes nothing that a kept token or a snapshot within the retention names (checked by `crash` in the tests of
///   Parquet).
/// - [`Sink::recover`] removes what was staged but never committed. It runs when no writer is open (checked by `crash` in the tests of
///   Parquet).
/// - A view and its rebuild may have open writers at the same time. Neither sees the other's rows (checked by `crash` in the tests of
///   Parquet).
pub trait Sink: fmt::Debug + Send + Sync {
    /// Opens a writer that continues after the last commit. `last` is its token, `None` for a view without a commit.
    ///
    /// # Errors
    /// [`Error::Config`] for a column that the sink cannot hold; [`Error::Corrupt`] for a token that does not match; [`Error::Io`].
    fn writer(&self, rows: &ViewRows, last: Option<&Token>) -> Result<Box<dyn SinkWriter>, Error>;

    /// Makes a commit visible to readers.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] if something that the token names is missing. Retrying is safe.
    fn publish(&self, commit: &CommitFacts, token: &Token) -> Result<(), Error>;

    /// At start, publishes the last commit if a crash prevented that, and removes what no commit names.
    ///
    /// # Errors
    /// As [`Sink::publish`].
    fn recover(&self, commit: &CommitFacts, token: &Token) -> Result<(), Error>;

    /// Removes what neither one of the `kept` tokens nor a snapshot within the retention names, as of `now`. The last commit's token is one of
    /// them. That with which a rebuild beside it has begun is another. Where room runs out, less may be retained.
    ///
    /// # Errors
    /// [`Error::Io`]; retrying is safe.
    fn sweep(&self, kept: &[&Token], now: SystemTime) -> Result<(), Error>;
}

/// Stages the changes of one run of a view.
///
/// # Contract
/// - The rows that a token names are those of the previous token plus the deltas, as a multiset (checked by `equal_to_model` in the tests
///   of Parquet).
/// - Staged changes are durable when [`SinkWriter::prepare`] returns, and no reader sees them (checked by `crash` in the tests of Parquet).
/// - The caller commits a token before the next call. If the commit fails, it drops the writer and opens another one (unchecked).
pub trait SinkWriter: fmt::Debug + Send {
    /// Stages the net changes of an epoch. Changes staged without a commit (by a rebuild) are part of the next token.
    ///
    /// # Errors
    /// [`Error::Bug`] for a row to remove that does not exist, [`Error::Corrupt`], [`Error::Io`]. The writer is unchanged then.
    fn prepare(&mut self, epoch: u64, deltas: &[Delta]) -> Result<Staged, Error>;
}

/// Row changes: a record batch with a weight for each row.
#[derive(Debug, Clone)]
pub struct Delta {
    /// The rows, with the view's schema.
    pub rows: RecordBatch,
    /// The weight of each row (+n adds it n times, -n removes it n times), as long as `rows`. `None` means all +1.
    pub weights: Option<Int64Array>,
}

/// Describes the rows of a view.
#[derive(Debug, Clone)]
pub struct ViewRows {
    /// Their schema.
    pub schema: SchemaRef,
    /// Whether rows change or are retracted. Otherwise the view is insert-only.
    pub retracts: bool,
    /// The indexes of the columns that together identify a row. Empty if no such columns are known.
    pub key: Vec<usize>,
}

/// The result of staging changes for a commit.
#[derive(Debug, Clone)]
pub struct Staged {
    /// The token for the commit to record.
    pub token: Token,
    /// The size of the view with these changes.
    pub size: Size,
    /// The number of bytes written.
    pub written_bytes: u64,
}

/// The size of a view at a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// The number of rows.
    pub rows: u64,
    /// The number of files, or of similar units of the sink.
    pub parts: u64,
    /// The size of the parts in bytes.
    pub bytes: u64,
}

/// Describes a commit of a view, independent of its sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitFacts {
    /// The view's name.
    pub view: String,
    /// The epoch of the commit.
    pub epoch: u64,
    /// The offset (next sequence) of each source that the view's rows come from.
    pub offsets: BTreeMap<String, u64>,
    /// Identifies the version of the view.
    pub fingerprint: String,
    /// When it was committed, in milliseconds since the epoch.
    pub committed_ms: u64,
    /// The views of the same pipeline, including this one. Their commits with the same epoch are one consistent state.
    #[serde(default)]
    pub committed_with: Vec<String>,
}

/// What a sink needs to find a commit again: JSON that only the sink understands. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// Creates a token with this content.
    ///
    /// # Errors
    /// [`Error::Bug`] if it does not serialize.
    pub fn new<T: Serialize>(content: &T) -> Result<Token, Error> {
        let json = serde_json::to_string(content).map_err(|error| Error::Bug(format!("a sink's token: {error}")))?;
        Ok(Token(json.into()))
    }

    /// Returns the content.
    ///
    /// # Errors
    /// Says what is wrong, if another kind of sink created the token.
    pub fn content<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(&self.0).map_err(|error| error.to_string())
    }
}

/// Serializes the token as its JSON, not as a string.
impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Token, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Token(Box::<str>::from(raw).into()))
    }
}
