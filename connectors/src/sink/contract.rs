//! What a sink is to the engine: where the rows of a view go, and how what goes there becomes part of a commit.

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

/// Where the rows of one view go.
///
/// A commit has four steps. A [`SinkWriter`] stages what has changed, and gives a [`Token`]. The engine writes the token into its record: that
/// is the commit. [`Sink::publish`] shows what the token names. [`Sink::sweep`] removes what no kept commit needs.
///
/// # Contract
/// - [`Sink::publish`] of the last committed token can be repeated, also after it broke off anywhere, and ends in the same place (checked by
///   `crash` in the tests of Parquet).
/// - [`Sink::sweep`] removes nothing that the kept token or a snapshot within the retention names (checked by `crash` in the tests of Parquet).
/// - [`Sink::recover`] removes what was staged and never committed; it runs when no writer is open (checked by `crash` in the tests of Parquet).
/// - Several writers may be open, for a view and for its rebuilt successor: none sees the other's rows (checked by `crash` in the tests of
///   Parquet).
pub trait Sink: fmt::Debug + Send + Sync {
    /// Opens a writer that goes on after the last commit; `last` is its token, none for a view without a commit.
    ///
    /// # Errors
    /// [`Error::Config`] for a column that the sink cannot hold; [`Error::Corrupt`] for a token that does not fit; [`Error::Io`].
    fn writer(&self, rows: &ViewRows, last: Option<&Token>) -> Result<Box<dyn SinkWriter>, Error>;

    /// Shows a commit to readers.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] where what the token names is gone. Trying again is safe.
    fn publish(&self, commit: &CommitFacts, token: &Token) -> Result<(), Error>;

    /// At start: publishes the last commit where a crash prevented it, and removes what no commit names.
    ///
    /// # Errors
    /// As [`Sink::publish`].
    fn recover(&self, commit: &CommitFacts, token: &Token) -> Result<(), Error>;

    /// Removes what neither the kept token nor a snapshot within the retention names, as of `now`.
    ///
    /// # Errors
    /// [`Error::Io`]; trying again is safe.
    fn sweep(&self, kept: &Token, now: SystemTime) -> Result<(), Error>;
}

/// Stages the changes of one run of a view.
///
/// # Contract
/// - The rows that a token names are those of the token before, plus the deltas, as a multiset (checked by `equal_to_model` in the tests of
///   Parquet).
/// - What was staged is durable when [`SinkWriter::prepare`] returns, and no reader sees it (checked by `crash` in the tests of Parquet).
/// - A token is committed before the next call. Where that failed, the writer is dropped and another one opened (unchecked).
pub trait SinkWriter: fmt::Debug + Send {
    /// Stages the net changes of an epoch. What is staged without a commit (by a rebuild) is part of the next token.
    ///
    /// # Errors
    /// [`Error::Bug`] for a row to remove that is not there, [`Error::Corrupt`], [`Error::Io`]. The writer is as it was before.
    fn prepare(&mut self, epoch: u64, deltas: &[Delta]) -> Result<Staged, Error>;
}

/// Row changes: a record batch with a weight for each row (+n in, -n out; none means all +1).
#[derive(Debug, Clone)]
pub struct Delta {
    /// The rows; schema of the view.
    pub rows: RecordBatch,
    /// As long as `rows`.
    pub weights: Option<Int64Array>,
}

/// What is known of a view's rows before there are any.
#[derive(Debug, Clone)]
pub struct ViewRows {
    /// Their columns.
    pub schema: SchemaRef,
    /// Whether rows go away or change; else they only arrive.
    pub retracts: bool,
    /// Indexes of the columns that changes are local to; empty where no columns are.
    pub key: Vec<usize>,
}

/// What is staged for a commit.
#[derive(Debug, Clone)]
pub struct Staged {
    /// What the commit records.
    pub token: Token,
    /// The size of the view with it.
    pub size: Size,
    /// Bytes that were written for it.
    pub written_bytes: u64,
}

/// The size of a view at a commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Rows.
    pub rows: u64,
    /// Files, or what else the sink counts.
    pub parts: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What one commit says of a view, whatever its sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommitFacts {
    /// The view's name.
    pub view: String,
    /// The commit.
    pub epoch: u64,
    /// The offset (next sequence) of each source that the view's rows come from.
    pub offsets: BTreeMap<String, u64>,
    /// Which version of the view this is.
    pub fingerprint: String,
    /// When it was committed, milliseconds since the epoch.
    pub committed_ms: u64,
    /// The views of the same pipeline, this one among them: their commits with the same epoch are one consistent state.
    #[serde(default)]
    pub committed_with: Vec<String>,
}

/// What a sink wants to know again of a commit: JSON that only the sink understands. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token(Arc<str>);

impl Token {
    /// A token of this content.
    ///
    /// # Errors
    /// [`Error::Bug`] where it does not serialize.
    pub fn new<T: Serialize>(content: &T) -> Result<Token, Error> {
        let json = serde_json::to_string(content).map_err(|error| Error::Bug(format!("a sink's token: {error}")))?;
        Ok(Token(json.into()))
    }

    /// The content.
    ///
    /// # Errors
    /// What is wrong with a token that another sink made.
    pub fn content<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(&self.0).map_err(|error| error.to_string())
    }
}

/// As the JSON that it is.
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
