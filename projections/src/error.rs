//! What can go wrong while a plan runs.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An expression failed on some row: the rows concerned can be found by bisection and set aside.
    #[error("{0}")]
    Row(String),
    /// The plan cannot be run: the view's SQL has to change.
    #[error("{0}")]
    Plan(String),
    /// State that was given back is not what was taken. Never retried.
    #[error("state {table}: {message}")]
    Corrupt {
        /// The state table.
        table: String,
        /// What was found.
        message: String,
    },
    /// Memory or another resource of the machine ran out; the last commit is whole.
    #[error("{0}")]
    Resources(String),
    /// An invariant of this crate does not hold: a bug to report.
    #[error("internal error: {0}; please report it")]
    Bug(String),
}

impl From<DataFusionError> for Error {
    /// What the operator of the program has to do about an error of DataFusion, by the innermost one.
    fn from(error: DataFusionError) -> Self {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(message) => Error::Resources(message.clone()),
            DataFusionError::Internal(message) => Error::Bug(message.clone()),
            DataFusionError::Plan(_)
            | DataFusionError::NotImplemented(_)
            | DataFusionError::SchemaError(..)
            | DataFusionError::SQL(..)
            | DataFusionError::Configuration(_) => Error::Plan(error.strip_backtrace()),
            DataFusionError::ArrowError(arrow, _) if is_resources(arrow) => Error::Resources(error.strip_backtrace()),
            _ => Error::Row(error.strip_backtrace()),
        }
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        if is_resources(&error) { Error::Resources(error.to_string()) } else { Error::Row(error.to_string()) }
    }
}

fn is_resources(error: &ArrowError) -> bool {
    matches!(error, ArrowError::MemoryError(_) | ArrowError::OffsetOverflowError(_) | ArrowError::IoError(..))
}
