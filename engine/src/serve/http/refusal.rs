//! Errors of requests for data, as JSON: what is wrong, where in the query, and what to do.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::{Error, Kind};

/// Why a request gets no rows.
#[derive(Debug)]
pub(super) struct Refusal {
    code: StatusCode,
    message: String,
    /// The line and the column in the query, both from 1.
    place: Option<(usize, usize)>,
    help: Option<String>,
}

impl Refusal {
    /// The request is wrong.
    pub(super) fn wrong(message: impl Into<String>, help: impl Into<String>) -> Refusal {
        Refusal { code: StatusCode::BAD_REQUEST, message: message.into(), place: None, help: Some(help.into()) }
    }

    /// Refuses a parameter that a path does not have. `known` are those that it has, and `has` says so.
    pub(super) fn unknown<'n>(
        mut names: impl Iterator<Item = &'n String>,
        path: &str,
        known: &[&str],
        has: &str,
    ) -> Result<(), Refusal> {
        match names.find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Refusal::wrong(format!("{path} has no parameter '{name}'"), has)),
            None => Ok(()),
        }
    }

    /// The same with another status.
    pub(super) fn with_code(self, code: StatusCode) -> Refusal {
        Refusal { code, ..self }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let code = match error.kind() {
            Kind::Config | Kind::BadData => StatusCode::BAD_REQUEST,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Corrupt | Kind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if let Error::Sql(errors) = &error
            && let Some(first) = errors.0.first()
        {
            return Refusal {
                code: StatusCode::BAD_REQUEST,
                message: first.message.clone(),
                place: Some(first.at.line_column()),
                help: first.help.clone(),
            };
        }
        Refusal { code, message: error.to_string(), place: None, help: error.help() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (line, column) = self.place.unzip();
        let body = json!({"ok": false, "message": self.message, "line": line, "column": column, "help": self.help});
        let retry = (self.code == StatusCode::SERVICE_UNAVAILABLE).then_some([(header::RETRY_AFTER, "1")]);
        match retry {
            Some(retry) => (self.code, retry, Json(body)).into_response(),
            None => (self.code, Json(body)).into_response(),
        }
    }
}
