//! `POST /query`: SQL over the committed views.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use tokio::time::timeout_at;

use super::app::App;
use super::formats::{Format, send};
use super::idle::Peer;
use super::refusal::Refusal;
use crate::error::Error;

/// Runs the SQL of the body, and sends its rows.
pub(super) async fn query(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    Refusal::unknown(parameters.keys(), "/query", &["format"], "it has `format`; the SQL is the body")?;
    let format = Format::of(parameters.get("format").map(String::as_str), &headers, Format::JsonLines)?;
    let sql = sql_of(&headers, &body)?;
    let turn = app.turn(&peer).await?;
    let planned = timeout_at(turn.deadline, async {
        let answer = crate::query::query(app.newest.layout(), &sql, None).await?;
        answer.stream_within(&app.engine.limits.memory).await
    });
    let stream = planned.await.map_err(|_| Error::unavailable("the query took too long to plan", "ask for less"))??;
    send(stream, format, turn, &[]).await
}

const WRITE: &str = "send the SQL as text, or as JSON: {\"sql\": \"SELECT ...\"}";

/// The SQL of a body: its text, or the member `sql` of its JSON.
fn sql_of(headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::wrong("the body is not UTF-8", WRITE))?;
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // No statement begins with a bracket.
    if !declared.starts_with("application/json") && !text.trim_start().starts_with('{') {
        return match text.trim() {
            "" => Err(Refusal::wrong("the body is empty", WRITE)),
            sql => Ok(sql.to_owned()),
        };
    }
    let body: serde_json::Value =
        serde_json::from_str(text).map_err(|error| Refusal::wrong(format!("the body is not JSON: {error}"), WRITE))?;
    let sql = body.as_object().filter(|body| body.len() == 1).and_then(|body| body.get("sql")).and_then(|sql| sql.as_str());
    sql.map(str::to_owned).ok_or_else(|| Refusal::wrong("the body has no member `sql` that is a text, or has others", WRITE))
}
