//! What can go wrong at the edge, sorted by what has to be done about it.

use std::path::PathBuf;

/// An error of this crate. The variant says what the operator of the program has to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source's declaration or option is wrong: mend the file. Trying again cannot help.
    #[error("{message}")]
    Config {
        /// What is wrong, with the option, source and value concerned.
        message: String,
        /// What to write instead.
        help: Option<String>,
    },
    /// The outside is away for now: trying again later can help.
    #[error("source {source_name}: {message}")]
    Unavailable {
        /// The source's name.
        source_name: String,
        /// What did not answer, and how.
        message: String,
    },
    /// What a source names is not there: it may be made later, or the name is wrong.
    #[error("{message}")]
    Absent {
        /// What is not there, and where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The stream is not the one the checkpoint knows, or events that were not yet read are gone. Never retried.
    #[error("source {source_name}: {message}")]
    StreamChanged {
        /// The source's name.
        source_name: String,
        /// What was expected and what was found, with sequences.
        message: String,
    },
    /// Reading or writing a file failed.
    #[error("{action} {}: {error}", path.display())]
    Io {
        /// What was being done, as a present participle: `writing`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: std::io::Error,
    },
    /// A file's content is not what was written. Never retried.
    #[error("{} is damaged: {message}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// An invariant of this crate does not hold: a bug to report.
    #[error("internal error: {0}; please report it")]
    Bug(String),
}
