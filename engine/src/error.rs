//! One error for the program, by what its operator has to do.

/// What the operator of the program has to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Mend a file or an option.
    Config,
    /// Wait or mend the outside: tried again by us where that can help.
    Unavailable,
    /// The data is not what was recorded: stopped; a person has to decide.
    Corrupt,
    /// Report it.
    Bug,
}

/// An error of the program.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQL files that do not load.
    #[error(transparent)]
    Sql(#[from] alluvium_sql::Errors),
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

    /// A [`Kind::Corrupt`] error with a help text.
    pub fn corrupt(message: impl Into<String>, help: impl Into<String>) -> Error {
        Error::Other { kind: Kind::Corrupt, message: message.into(), help: Some(help.into()) }
    }

    /// A [`Kind::Bug`] error.
    pub fn bug(message: impl Into<String>) -> Error {
        Error::Other { kind: Kind::Bug, message: message.into(), help: None }
    }
}
