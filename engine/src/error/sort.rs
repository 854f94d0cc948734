//! The one place that sorts errors: what each means for the operator of the program, and what to do about it.

use std::io;

use alluvium_connectors::Error as Connector;
use alluvium_projections::Error as Projection;
use alluvium_sql::Cause;
use datafusion::common::DataFusionError;

use super::{Error, Finding, Kind};

impl Error {
    /// The kind of this error: what the operator has to do.
    #[must_use]
    pub fn kind(&self) -> Kind {
        kind(self)
    }

    /// What to do, in words. `None` if the message already says it, or if there is no advice.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        help(self)
    }
}

fn kind(error: &Error) -> Kind {
    match error {
        Error::Sql(_) | Error::Settings(_) => Kind::Config,
        Error::Connector(error) => of_connector(error),
        Error::Source { error, .. } => of_connector(error),
        Error::Projection { error, .. } => match error {
            Projection::Row(_) => Kind::BadData,
            Projection::Plan(_) => Kind::Config,
            Projection::Corrupt { .. } => Kind::Corrupt,
            Projection::Resources(_) => Kind::Unavailable,
            Projection::Bug(_) => Kind::Bug,
        },
        Error::Panic { .. } => Kind::Bug,
        Error::Found { finding: Finding::SetAside | Finding::Unknown, .. } => Kind::BadData,
        Error::Found { finding: Finding::Warned, .. } => Kind::Config,
        Error::Found { finding: Finding::Differs | Finding::Damaged, .. } => Kind::Corrupt,
        Error::Held { .. } => Kind::Config,
        Error::Other { kind, .. } => *kind,
    }
}

fn help(error: &Error) -> Option<String> {
    match error {
        Error::Sql(_) | Error::Settings(_) | Error::Panic { .. } => None,
        Error::Connector(error) => help_of_connector(error),
        Error::Source { error, .. } => help_of_connector(error),
        Error::Projection { view, error } => match error {
            Projection::Corrupt { .. } => Some(format!("`alluvium rebuild {view}` rebuilds it from the first event")),
            Projection::Resources(_) => {
                Some("the last commit is whole; give the process more memory, or narrow the query".into())
            }
            Projection::Row(_) => Some("guard the expression, for instance with TRY_CAST, NULLIF or CASE".into()),
            Projection::Plan(_) | Projection::Bug(_) => None,
        },
        Error::Found { help, .. } => Some(help.clone()),
        Error::Held { .. } => Some(
            "take the change back, or make the view from what is left: `alluvium run --accept-loss`, or `alluvium rebuild VIEW \
             --accept-loss`"
                .into(),
        ),
        Error::Other { help, .. } => help.clone(),
    }
}

fn of_connector(error: &Connector) -> Kind {
    match error {
        Connector::Config { .. } => Kind::Config,
        Connector::Unavailable { .. } | Connector::Absent { .. } => Kind::Unavailable,
        Connector::Io { error, .. } => of_io(error.kind()),
        Connector::StreamChanged { .. } | Connector::Corrupt { .. } => Kind::Corrupt,
        Connector::Bug(_) => Kind::Bug,
    }
}

/// Sorts an error of the system. A wrong path or permission stays until somebody corrects it; a full disk or a reached limit may pass.
fn of_io(kind: io::ErrorKind) -> Kind {
    use io::ErrorKind as E;
    match kind {
        E::PermissionDenied | E::ReadOnlyFilesystem | E::NotFound | E::NotADirectory | E::IsADirectory | E::InvalidInput => {
            Kind::Config
        }
        _ => Kind::Unavailable,
    }
}

fn help_of_connector(error: &Connector) -> Option<String> {
    match error {
        Connector::Config { help, .. } | Connector::Absent { help, .. } => help.clone(),
        Connector::Unavailable { .. } => Some("check that the server runs and answers at this address".into()),
        Connector::StreamChanged { .. } => Some(
            "`alluvium rebuild VIEW` rebuilds a view from the first event that the stream has; \
             with `on_stream_change = \"rebuild\"` in alluvium.toml, or option on_gap 'rebuild' of the source, this is done automatically; \
             on_gap 'continue' goes on without events that are missing"
                .into(),
        ),
        Connector::Io { error, .. } => help_of_io(error.kind()).map(str::to_owned),
        Connector::Corrupt { .. } => Some(
            "`alluvium rebuild VIEW` rebuilds the view from the first event; keep a copy of the file if you report this".into(),
        ),
        Connector::Bug(_) => None,
    }
}

fn help_of_io(kind: io::ErrorKind) -> Option<&'static str> {
    use io::ErrorKind as E;
    Some(match kind {
        E::StorageFull | E::QuotaExceeded => "make room on the disk and start again; the last commit is whole",
        E::PermissionDenied | E::ReadOnlyFilesystem => "let this user read and write there, or choose another folder with --data",
        E::NotFound => "check that the path is right",
        _ => return None,
    })
}

/// The damaged file that a query has met.
fn damage(error: &DataFusionError) -> Option<Connector> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Connector::Corrupt { path, message }) = error.downcast_ref() {
            return Some(Connector::Corrupt { path: path.clone(), message: message.clone() });
        }
        cause = error.source();
    }
    None
}

/// Sorts an error of DataFusion in a user's query. The crate `projections` sorts those of a view's operators.
impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Error {
        use DataFusionError as D;
        if let Some(error) = damage(&error) {
            return Error::Connector(error);
        }
        let (message, help) = match error.find_root() {
            D::SQL(parser, _) => {
                (format!("the statement does not parse: {}", parser.to_string().trim_start_matches("sql parser error: ")), None)
            }
            // The statement is not at fault: DataFusion's own message says more than words about SQL would.
            D::Internal(_) | D::IoError(_) | D::ObjectStore(_) | D::ParquetError(_) => (error.strip_backtrace(), None),
            _ => {
                let worded = alluvium_sql::wording::of_error(&error);
                (worded.message, worded.help)
            }
        };
        let kind = match alluvium_sql::cause(&error) {
            Cause::Resources => return Error::unavailable(message, "give the process more memory, or narrow the query"),
            Cause::Values | Cause::Query => Kind::Config,
            Cause::Outside => Kind::Unavailable,
            Cause::File => Kind::Corrupt,
            Cause::Bug => Kind::Bug,
        };
        Error::Other { kind, message, help }
    }
}
