//! Errors that occur while a plan runs.

use alluvium_sql::Cause;
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An expression failed on at least one row. Bisection finds the failing rows, so that they can be set aside.
    #[error("{0}")]
    Row(String),
    /// The plan cannot be run: the view's SQL has to change.
    #[error("{0}")]
    Plan(String),
    /// The state to restore is not what a checkpoint returned. Never retried.
    #[error("state {table}: {message}")]
    Corrupt {
        /// The state table.
        table: String,
        /// What is wrong with it.
        message: String,
    },
    /// Memory or another resource of the machine ran out. The last commit is intact.
    #[error("{0}")]
    Resources(String),
    /// An invariant of this crate does not hold: a bug to report.
    #[error("internal error: {0}; please report it")]
    Bug(String),
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        Error::of(alluvium_sql::cause(&error), error.strip_backtrace())
    }
}

impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        Error::of(alluvium_sql::cause_of_arrow(&error), error.to_string())
    }
}

impl Error {
    fn of(cause: Cause, message: String) -> Self {
        match cause {
            Cause::Values => Error::Row(message),
            Cause::Query => Error::Plan(message),
            Cause::Resources | Cause::Outside => Error::Resources(message),
            Cause::File | Cause::Bug => Error::Bug(message),
        }
    }
}
