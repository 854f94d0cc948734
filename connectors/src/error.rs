//! The errors of this crate, by the reaction that they require.

use std::path::PathBuf;

/// An error of this crate. The variant determines what the operator of the program has to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source's declaration or option is wrong and must be fixed. Retrying cannot help.
    #[error("{message}")]
    Config {
        /// What is wrong, with the option, source and value concerned.
        message: String,
        /// What to write instead.
        help: Option<String>,
    },
    /// An external system is unavailable for now. Retrying later can help.
    #[error("source {source_name}: {message}")]
    Unavailable {
        /// The source's name.
        source_name: String,
        /// What did not answer, and how.
        message: String,
    },
    /// What a source names does not exist. It may be created later, or the name may be wrong.
    #[error("{message}")]
    Absent {
        /// What does not exist, and where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
    /// The stream is not that of the checkpoint, or has lost events that were not read yet. Never retried.
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
        /// What failed, as a present participle: `writing`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: std::io::Error,
    },
    /// A file is damaged: its content is not what was written. Never retried.
    #[error("{} is damaged: {message}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// An invariant of this crate is violated. This is a bug to report.
    #[error("internal error: {0}; please report it")]
    Bug(String),
}
