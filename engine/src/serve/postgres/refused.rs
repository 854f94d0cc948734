//! Errors of the queries of Postgres clients, with the codes of PostgreSQL.

use std::io;

use crate::error::{Error, Kind};

/// An error of one query, after which the connection goes on.
pub(super) struct Refused {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) help: Option<String>,
    pub(super) position: Option<usize>,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        let code = match error.kind() {
            Kind::Config => "42000",
            Kind::BadData => "22000",
            Kind::Unavailable => "57000",
            Kind::Corrupt | Kind::Bug => "XX000",
        };
        if let Error::Sql(errors) = &error
            && let Some(first) = errors.0.first()
        {
            let before = first.at.file.text.get(..first.at.offset).unwrap_or_default();
            return Refused {
                code: "42601",
                message: first.message.clone(),
                help: first.help.clone(),
                position: Some(before.chars().count() + 1),
            };
        }
        Refused { code, message: error.to_string(), help: error.help(), position: None }
    }
}

/// An error without a help text.
pub(super) fn refused(code: &'static str, message: impl Into<String>) -> Refused {
    Refused { code, message: message.into(), help: None, position: None }
}

/// What ends a request: the connection, or an error that is sent.
pub(super) enum Ended {
    Connection(io::Error),
    Query(Refused),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Ended {
        Ended::Connection(error)
    }
}

impl From<Refused> for Ended {
    fn from(refused: Refused) -> Ended {
        Ended::Query(refused)
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Query(error.into())
    }
}
