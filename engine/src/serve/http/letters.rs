//! `GET /dead-letters`: the events that were set aside, by source, view and kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use tokio::time::timeout_at;

use super::app::App;
use super::formats::{Format, send};
use super::idle::Peer;
use super::refusal::Refusal;
use crate::dead_letters::{Selection, newest};
use crate::error::Error;

/// How many letters are sent if `limit` does not say.
const LIMIT: u64 = 100;
/// The most letters that are sent: `alluvium dead-letters show` has no such bound.
const MOST: u64 = 1000;
const HAS: &str = "it has source, view, kind, sequence, limit and format";

/// Sends the selected letters, the newest first. A payload is written in hexadecimal digits.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    Refusal::unknown(parameters.keys(), "/dead-letters", &["source", "view", "kind", "sequence", "limit", "format"], HAS)?;
    let number = |name: &str| match parameters.get(name) {
        Some(text) => text.parse().map(Some).map_err(|_| Refusal::wrong(format!("{name} '{text}' is not a number"), HAS)),
        None => Ok(None),
    };
    let limit = number("limit")?.unwrap_or(LIMIT).min(MOST) as usize;
    let selection = Selection {
        source: parameters.get("source").cloned(),
        view: parameters.get("view").cloned(),
        kind: parameters.get("kind").cloned(),
        sequence: number("sequence")?,
        ..Selection::default()
    };
    let format = Format::of(parameters.get("format").map(String::as_str), &headers, Format::JsonArray)?;
    let turn = app.turn(&peer).await?;
    let planned = timeout_at(turn.deadline, async {
        let letters = newest(app.newest.layout(), &selection, limit).await?;
        crate::query::run::stream(letters, Some(&app.engine.limits.memory)).await
    });
    let stream = planned.await.map_err(|_| Error::unavailable("the request took too long to plan", "ask for less"))??;
    send(stream, format, turn, &[]).await
}
