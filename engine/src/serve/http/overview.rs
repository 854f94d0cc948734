//! `GET /overview` and `GET /sources/NAME`: what an engine is doing, in one small answer. The console asks for it again and again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::Arc;

use alluvium_connectors::source::Gap;
use alluvium_sql::nearest;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::app::App;
use super::refusal::Refusal;
use crate::error::Error;
use crate::status::{SourceHealth, SourceStatus, ViewStatus, words};

/// The answer of `GET /overview`.
#[derive(Debug, Serialize)]
struct Overview<'a> {
    version: &'static str,
    /// The project's folder.
    folder: &'a FilePath,
    /// The data folder.
    data: &'a FilePath,
    /// The address of the Postgres protocol, if it is served.
    postgres: Option<SocketAddr>,
    sources: Vec<ShownSource>,
    views: Vec<ShownView<'a>>,
}

/// A source, and what there is to say of it.
#[derive(Debug, Serialize)]
struct ShownSource {
    #[serde(flatten)]
    health: SourceHealth,
    /// Whether it answers, as `alluvium status` says it.
    says: String,
    remarks: Vec<String>,
    away: bool,
}

impl ShownSource {
    fn of(health: SourceHealth) -> ShownSource {
        ShownSource {
            says: words::contact(&health),
            remarks: words::skipped(&health).into_iter().collect(),
            away: health.is_away(),
            health,
        }
    }
}

/// A view, and what there is to say of it.
#[derive(Debug, Serialize)]
struct ShownView<'a> {
    #[serde(flatten)]
    status: ViewStatus,
    /// What it is doing, as `alluvium status` says it.
    says: String,
    remarks: Vec<String>,
    /// The sources and views that it reads directly.
    reads: &'a [String],
}

/// Says what all sources and views are doing.
pub(super) async fn overview(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    let json = app.overview.get(|| {
        let made = serde_json::to_vec(&made(&app));
        made.map_err(|error| Error::bug(format!("an overview as JSON: {error}")))
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], json).into_response())
}

fn made(app: &App) -> Overview<'_> {
    let declared = &app.engine.declared;
    let shown = |status: ViewStatus| ShownView {
        says: words::phase(&status),
        remarks: words::remarks(&status),
        reads: declared.reads.get(&status.view).map_or(&[], Vec::as_slice),
        status,
    };
    Overview {
        version: env!("CARGO_PKG_VERSION"),
        folder: &declared.folder,
        data: &declared.data,
        postgres: declared.postgres,
        sources: app.engine.board.sources().into_iter().map(ShownSource::of).collect(),
        views: app.engine.board.all().into_iter().map(shown).collect(),
    }
}

/// The answer of `GET /sources/NAME`.
#[derive(Debug, Serialize)]
struct DescribedSource {
    #[serde(flatten)]
    source: ShownSource,
    /// What it is stored as and its columns; `None` if no SQL file declares it.
    declared: Option<Value>,
    /// By view that reads it, also through other views.
    views: BTreeMap<String, Progress>,
}

/// How far a view is in a source.
#[derive(Debug, Serialize)]
struct Progress {
    #[serde(flatten)]
    place: SourceStatus,
    gaps: Vec<Gap>,
}

/// Says what one source is doing, and how far each view is in it.
pub(super) async fn source(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    let health = app.engine.board.sources();
    let Some(health) = health.iter().find(|health| health.source == name).cloned() else {
        let help = match nearest(&name, health.iter().map(|health| health.source.as_str())) {
            Some(near) => format!("did you mean {near}?"),
            None => "GET /sources lists those that views read".to_owned(),
        };
        return Err(Refusal::wrong(format!("no view reads a source {name}"), help).with_code(StatusCode::NOT_FOUND));
    };
    let progress = |mut status: ViewStatus| {
        let place = *status.sources.get(&name)?;
        Some((status.view, Progress { place, gaps: status.gaps.remove(&name).unwrap_or_default() }))
    };
    let views = app.engine.board.all().into_iter().filter_map(progress).collect();
    let declared = app.engine.declared.sources.get(&name).cloned();
    Ok(Json(DescribedSource { source: ShownSource::of(health), declared, views }).into_response())
}
