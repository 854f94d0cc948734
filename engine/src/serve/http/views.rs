//! `GET /views`, and `GET /views/NAME` with `/plan` and `/rows`: what the newest commit of a view is, how it is kept up to date, and its rows:
//! the read model behind a REST service.
//!
//! `min_sequence` waits until the view has committed an event, so that a client reads what it has written.

use std::collections::BTreeMap;
use std::sync::Arc;

use alluvium_sql::nearest;
use axum::Json;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::app::App;
use super::formats::{Format, send};
use super::idle::Peer;
use super::refusal::Refusal;
use super::selection::Selection;
use crate::error::Error;
use crate::query::newest::OpenCommit;
use crate::query::reached::Awaited;
use crate::query::snapshot;
use crate::query::sql_types::sql_name;

/// How long `min_sequence` waits if `timeout` does not say.
const WAIT: std::time::Duration = std::time::Duration::from_secs(10);
/// The header with the epoch of the commit that was read.
const EPOCH: HeaderName = HeaderName::from_static("x-alluvium-epoch");

/// Lists the views that have a commit.
pub(super) async fn list(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    Ok(Json(json!({"views": snapshot::views(app.newest.layout())?})).into_response())
}

/// Describes the newest commit of a view.
pub(super) async fn describe(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(view): Path<String>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    let _busy = peer.busy();
    Refusal::unknown(parameters.keys(), "/views/NAME", &["min_sequence", "timeout"], "it has min_sequence and timeout")?;
    let commit = commit_of(&app, &view, &parameters).await?;
    let manifest = &commit.manifest;
    let columns: Vec<_> = commit
        .schema()
        .fields()
        .iter()
        .map(|field| json!({"name": field.name(), "type": sql_name(field.data_type()), "nullable": field.is_nullable()}))
        .collect();
    let key = app.engine.keys.get(&view).filter(|key| key.fingerprint == manifest.fingerprint).map(|key| &key.columns);
    let status = app.engine.board.all().into_iter().find(|status| status.view == view);
    let body = json!({
        "view": view,
        "columns": columns,
        "key": key,
        "epoch": manifest.epoch,
        "commit": commit.name(),
        "fingerprint": manifest.fingerprint,
        "committed": manifest.committed,
        "committed_ms": manifest.committed_ms,
        "committed_with": manifest.committed_with,
        "offsets": manifest.offsets,
        "rows": manifest.rows,
        "parts": manifest.parts.len(),
        "bytes": manifest.parts.iter().map(|part| part.bytes).sum::<u64>(),
        "phase": status.as_ref().map(|status| status.phase),
        "staleness_seconds": status.as_ref().and_then(|status| status.staleness_seconds),
        "error": status.as_ref().and_then(|status| status.error.clone()),
    });
    Ok(([(EPOCH, manifest.epoch.to_string())], Json(body)).into_response())
}

/// Says how a view is kept up to date: its SQL, and its plan as a tree and as text.
pub(super) async fn plan(State(app): State<Arc<App>>, Path(view): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    let plans = &app.engine.declared.plans;
    match plans.get(&view) {
        Some(plan) => Ok(Json(plan).into_response()),
        None => {
            let help = match nearest(&view, plans.keys().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "GET /overview lists the views".to_owned(),
            };
            let message = format!("no SQL file declared a view {view} when the engine started");
            Err(Refusal::wrong(message, help).with_code(StatusCode::NOT_FOUND))
        }
    }
}

/// Sends rows of the newest commit of a view.
pub(super) async fn rows(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(view): Path<String>,
    Query(parameters): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    let busy = peer.busy();
    let selection = Selection::parse(&parameters)?;
    let format = Format::of(selection.format.as_deref(), &headers, Format::JsonArray)?;
    let commit = commit_of(&app, &view, &selection.waits).await?;
    let tag = format!("\"{}-{format:?}\"", commit.name());
    let of_commit = [
        (header::ETAG, tag.clone()),
        (EPOCH, commit.manifest.epoch.to_string()),
        (header::CACHE_CONTROL, "no-cache".into()),
        (header::VARY, "accept".into()),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if known.split(',').map(|known| known.trim().trim_start_matches("W/")).any(|known| known == tag || known == "*") {
        return Ok((StatusCode::NOT_MODIFIED, of_commit).into_response());
    }
    let turn = app.turn(&peer).await?;
    drop(busy);
    let planned = timeout_at(turn.deadline, async {
        let rows = selection.over(&commit).await?;
        Ok::<_, Refusal>(crate::query::run::stream(rows, Some(&app.engine.limits.memory)).await?)
    });
    let stream = planned.await.map_err(|_| Error::unavailable("the request took too long to plan", "ask for less"))??;
    send(stream, format, turn, &of_commit).await
}

/// Returns the newest commit of a view, after it holds what `min_sequence` asks for.
pub(super) async fn commit_of(app: &App, view: &str, parameters: &BTreeMap<String, String>) -> Result<Arc<OpenCommit>, Refusal> {
    let declared = || {
        app.engine.board.all().into_iter().any(|status| status.view == view) || app.engine.views.iter().any(|name| name == view)
    };
    let there = !view.contains(['/', '\0']) && view != "." && view != "..";
    let newest = if there { app.newest.of(view).await? } else { None };
    if newest.is_none() && !declared() {
        return Err(missing(app, view)?);
    }
    if let Some(text) = parameters.get("min_sequence") {
        let awaited: Awaited = text.parse().map_err(|wrong: String| Refusal::wrong(format!("min_sequence: {wrong}"), WAITS))?;
        let wait = match parameters.get("timeout") {
            Some(text) => alluvium_sql::duration(text)
                .ok_or_else(|| Refusal::wrong(format!("timeout '{text}' is not a length of time"), "write 10s or 500ms"))?,
            None => WAIT,
        };
        let wait = wait.min(app.engine.limits.time);
        let waited = awaited.wait(app.newest.layout(), view, Instant::now() + wait).await;
        waited.map_err(|error| match error.kind() {
            crate::error::Kind::Unavailable => Refusal::from(error).with_code(StatusCode::GATEWAY_TIMEOUT),
            _ => error.into(),
        })?;
        // It may be a newer commit by now, which holds the event as well.
        return app.newest.of(view).await?.ok_or_else(|| none_yet(view));
    }
    if parameters.contains_key("timeout") {
        return Err(Refusal::wrong("timeout says how long min_sequence waits, and there is no min_sequence", WAITS));
    }
    newest.ok_or_else(|| none_yet(view))
}

const WAITS: &str = "write min_sequence=N or min_sequence=SOURCE:N, and with it timeout=10s";

fn none_yet(view: &str) -> Refusal {
    Refusal::wrong(format!("view {view} has no commit yet"), "try again; min_sequence=0 waits for its first")
        .with_code(StatusCode::NOT_FOUND)
}

fn missing(app: &App, view: &str) -> Result<Refusal, Refusal> {
    let there = snapshot::views(app.newest.layout())?;
    let help = match nearest(view, there.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None => "GET /views lists them".to_owned(),
    };
    Ok(Refusal::wrong(format!("there is no view {view}"), help).with_code(StatusCode::NOT_FOUND))
}
