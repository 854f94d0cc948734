//! One error for the program, by what its operator has to do. What each error of a crate or a library is to the operator is decided in
//! `sort`, how it looks on a terminal in `cli::report`.

mod events;
mod sort;

pub use events::Events;

/// What the operator of the program has to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mend a file or an option; trying again does not help.
    Config,
    /// An expression fails on a row that cannot be set aside by itself.
    BadData,
    /// The outside is away or full: tried again by us for as long as it lasts.
    Unavailable,
    /// The data is not what was recorded: stopped; a person has to decide.
    Corrupt,
    /// A fault of the program: started again a bounded number of times; report it.
    Bug,
}

/// What a command found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// A run that has caught up has set events aside.
    SetAside,
    /// A view is not what its SQL says.
    Differs,
    /// It cannot be told whether a view is what its SQL says.
    Unknown,
}

/// An error of the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQL files that do not load.
    #[error(transparent)]
    Sql(#[from] alluvium_sql::Errors),
    /// Places in `alluvium.toml` that are wrong.
    #[error("{0}")]
    Settings(alluvium_sql::Errors),
    /// A source, a view's files, the disk.
    #[error(transparent)]
    Connector(#[from] alluvium_connectors::Error),
    /// A view's operators.
    #[error("view {view}: {error}")]
    Projection {
        /// The view.
        view: String,
        /// What failed.
        error: alluvium_projections::Error,
    },
    /// What a source's error, which several views may share, is to one of them.
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
        /// What was taken in since the last commit.
        events: Events,
        /// What the panic said.
        message: String,
    },
    /// A command has done what it was asked to, and the exit code has to say what it found.
    #[error("{message}")]
    Found {
        /// What it found.
        finding: Finding,
        /// The same in words, a line each.
        message: String,
        /// What to do.
        help: String,
    },
    /// Anything else, sorted.
    #[error("{message}")]
    Other {
        /// What the operator has to do.
        kind: Kind,
        /// What, where.
        message: String,
        /// What to do.
        help: Option<String>,
    },
}

impl Error {
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

    /// The disk's error while doing `action` (a present participle) to `path`.
    pub fn io(action: &'static str, path: impl Into<std::path::PathBuf>, error: std::io::Error) -> Error {
        Error::Connector(alluvium_connectors::Error::Io { action, path: path.into(), error })
    }

    /// What the program ends with because of it; the README has the list.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Found { finding: Finding::SetAside, .. } => 3,
            Error::Found { finding: Finding::Unknown, .. } => 4,
            _ => 1,
        }
    }

    /// Whether what a source names is not there yet: it may be made later.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self.of_connector(), Some(alluvium_connectors::Error::Absent { .. }))
    }

    /// Whether a stream is not the one of the checkpoint, or has lost events that were not yet read.
    #[must_use]
    pub fn is_stream_change(&self) -> bool {
        matches!(self.of_connector(), Some(alluvium_connectors::Error::StreamChanged { .. }))
    }

    /// The error of a source, of a view's files or of the disk behind this one.
    fn of_connector(&self) -> Option<&alluvium_connectors::Error> {
        match self {
            Error::Connector(error) => Some(error),
            Error::Source { error, .. } => Some(error),
            _ => None,
        }
    }
}
