//! One error for the program, by what its operator has to do. How it looks on a terminal is decided in `cli::report`.

use datafusion::common::DataFusionError;

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

    /// What has to be done.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Error::Sql(_) | Error::Settings(_) => Kind::Config,
            Error::Connector(error) => connector_kind(error),
            Error::Source { error, .. } => connector_kind(error),
            Error::Projection { error, .. } => match error {
                alluvium_projections::Error::Row(_) | alluvium_projections::Error::Plan(_) => Kind::Config,
                alluvium_projections::Error::Corrupt { .. } => Kind::Corrupt,
                alluvium_projections::Error::Resources(_) => Kind::Unavailable,
                alluvium_projections::Error::Bug(_) => Kind::Bug,
            },
            Error::Other { kind, .. } => *kind,
        }
    }

    /// What to do, in words; none where the message says it already or nothing is known.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Error::Sql(_) | Error::Settings(_) => None,
            Error::Connector(error) => connector_help(error),
            Error::Source { error, .. } => connector_help(error),
            Error::Projection { view, error } => match error {
                alluvium_projections::Error::Corrupt { .. } => {
                    Some(format!("`alluvium rebuild {view}` makes it anew from the first event"))
                }
                alluvium_projections::Error::Resources(_) => {
                    Some("the last commit is whole; give the process more memory, or narrow the query".into())
                }
                _ => None,
            },
            Error::Other { help, .. } => help.clone(),
        }
    }
}

fn connector_kind(error: &alluvium_connectors::Error) -> Kind {
    use alluvium_connectors::Error as E;
    match error {
        E::Config { .. } => Kind::Config,
        E::Unavailable { .. } | E::Io { .. } => Kind::Unavailable,
        E::StreamChanged { .. } | E::Corrupt { .. } => Kind::Corrupt,
        E::Bug(_) => Kind::Bug,
    }
}

fn connector_help(error: &alluvium_connectors::Error) -> Option<String> {
    use alluvium_connectors::Error as E;
    use std::io::ErrorKind;
    match error {
        E::Config { help, .. } => help.clone(),
        E::Unavailable { .. } => Some("see that the server runs and answers at this address".into()),
        E::StreamChanged { .. } => Some(
            "`alluvium rebuild VIEW` makes a view anew from the first event that the stream has; \
             `on_stream_change = \"rebuild\"` in alluvium.toml does so by itself"
                .into(),
        ),
        E::Io { error, .. } => Some(
            match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    "make room on the disk and start again; the last commit is whole"
                }
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    "let this user read and write there, or choose another folder with --data"
                }
                ErrorKind::NotFound => "see that the path is right",
                _ => return None,
            }
            .into(),
        ),
        E::Corrupt { .. } => Some(
            "`alluvium rebuild VIEW` makes the view anew from the first event; keep a copy of the file if you report this".into(),
        ),
        E::Bug(_) => None,
    }
}

/// The one place where DataFusion's errors are sorted.
impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Error {
        use DataFusionError as D;
        let (message, help) = match error.find_root() {
            D::SQL(parser, _) => {
                (format!("the statement does not parse: {}", parser.to_string().trim_start_matches("sql parser error: ")), None)
            }
            // Its name says where to look, which words for a user of SQL would leave out.
            D::Internal(_) | D::IoError(_) | D::ObjectStore(_) | D::ParquetError(_) => (error.strip_backtrace(), None),
            _ => {
                let worded = alluvium_sql::wording::of_error(&error);
                (worded.message, worded.help)
            }
        };
        let kind = match error.find_root() {
            D::ResourcesExhausted(_) => {
                return Error::unavailable(message, "give the process more memory, or narrow the query");
            }
            D::IoError(_) | D::ObjectStore(_) => Kind::Unavailable,
            D::ParquetError(_) => Kind::Corrupt,
            D::Internal(_) => Kind::Bug,
            _ => Kind::Config,
        };
        Error::Other { kind, message, help }
    }
}
