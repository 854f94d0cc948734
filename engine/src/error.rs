//! The program's error, sorted by what its operator has to do. `sort` decides what each error of a crate or a library means for the
//! operator; `cli::report` prints errors on a terminal.

mod events;
mod sort;

pub use events::Events;

/// What the operator of the program has to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Correct a file or an option. Trying again does not help.
    Config,
    /// An expression fails on a row that cannot be set aside on its own.
    BadData,
    /// Something outside is away or full. The program tries again for as long as that lasts.
    Unavailable,
    /// The data is not what was recorded. The pipeline stops, and a person has to decide.
    Corrupt,
    /// A fault of the program. The pipeline restarts a bounded number of times. Report it.
    Bug,
}

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// A run has caught up, and has set events aside.
    SetAside,
    /// A run that has caught up has found what looks like a mistake, though nothing failed.
    Warned,
    /// A view differs from its SQL.
    Differs,
    /// Files are not as they were written.
    Damaged,
    /// `verify` cannot tell whether a view equals its SQL.
    Unknown,
}

/// An error of the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The SQL files do not load.
    #[error(transparent)]
    Sql(#[from] alluvium_sql::Errors),
    /// `alluvium.toml` has errors.
    #[error("{0}")]
    Settings(alluvium_sql::Errors),
    /// An error of a source, of a view's files or of the disk.
    #[error(transparent)]
    Connector(#[from] alluvium_connectors::Error),
    /// An error of a view's operators.
    #[error("view {view}: {error}")]
    Projection {
        /// The view.
        view: String,
        /// What failed.
        error: alluvium_projections::Error,
    },
    /// A source's error, as it concerns one view. Several views may share it.
    #[error("view {view}: {error}")]
    Source {
        /// The view, or the first of those that are committed together.
        view: String,
        /// What failed.
        error: std::sync::Arc<alluvium_connectors::Error>,
    },
    /// A panic of a pipeline.
    #[error("view {view}: the program panicked with {events} in hand: {message}")]
    Panic {
        /// The view, or the first of those that are committed together.
        view: String,
        /// The events taken in since the last commit.
        events: Events,
        /// The panic's message.
        message: String,
    },
    /// A command has done its work, and the exit code reports what it found.
    #[error("{message}")]
    Found {
        /// What it found.
        finding: Finding,
        /// The findings in words, one a line.
        message: String,
        /// What to do.
        help: String,
    },
    /// New versions of views would lose events: the versions that serve go on.
    #[error("{message}")]
    Held {
        /// Of which views, and what would be lost.
        message: String,
    },
    /// Any other error, already sorted.
    #[error("{message}")]
    Other {
        /// What the operator has to do.
        kind: Kind,
        /// What failed, and where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
}

impl Error {
    /// An error of a view's operators.
    pub(crate) fn projection(view: &alluvium_sql::View, error: alluvium_projections::Error) -> Error {
        Error::Projection { view: view.name.clone(), error }
    }

    /// A [`Kind::Config`] error with a help text.
    pub fn config(message: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Other { kind: Kind::Config, message: message.into(), help: Some(help.into()) }
    }

    /// A [`Kind::Unavailable`] error with a help text.
    pub fn unavailable(message: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Other { kind: Kind::Unavailable, message: message.into(), help: Some(help.into()) }
    }

    /// A [`Kind::Corrupt`] error with a help text.
    pub fn corrupt(message: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Other { kind: Kind::Corrupt, message: message.into(), help: Some(help.into()) }
    }

    /// A [`Kind::Bug`] error.
    pub fn bug(message: impl Into<String>) -> Error {
        Error::Other { kind: Kind::Bug, message: message.into(), help: None }
    }

    /// An error of the disk during `action` on `path`. `action` is a present participle.
    pub fn io(action: &'static str, path: impl Into<std::path::PathBuf>, error: std::io::Error) -> Error {
        Error::Connector(alluvium_connectors::Error::Io { action, path: path.into(), error })
    }

    /// The program's exit code after this error. `docs/src/operations/commands.md` lists them.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Found { finding: Finding::SetAside, .. } => 3,
            Error::Found { finding: Finding::Unknown, .. } => 4,
            Error::Found { finding: Finding::Warned, .. } => 5,
            _ => 1,
        }
    }

    /// Whether something that a source names does not exist yet. It may be created later.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self.of_connector(), Some(alluvium_connectors::Error::Absent { .. }))
    }

    /// Whether a stream is not that of the checkpoint, or has lost events that were not read yet.
    #[must_use]
    pub fn is_stream_change(&self) -> bool {
        matches!(self.of_connector(), Some(alluvium_connectors::Error::StreamChanged { .. }))
    }

    /// Returns the source whose stream is not that of the checkpoint, or has lost events that were not read yet.
    #[must_use]
    pub fn changed_source(&self) -> Option<&str> {
        match self.of_connector() {
            Some(alluvium_connectors::Error::StreamChanged { source_name, .. }) => Some(source_name),
            _ => None,
        }
    }

    /// Returns the error of a source, of a view's files or of the disk behind this one.
    fn of_connector(&self) -> Option<&alluvium_connectors::Error> {
        match self {
            Error::Connector(error) => Some(error),
            Error::Source { error, .. } => Some(error),
            _ => None,
        }
    }
}
