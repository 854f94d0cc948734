//! `GET /views/NAME/changes`: a view as server-sent events. First come the rows of its newest commit, then the rows that each commit changes.
//!
//! | event | data |
//! | --- | --- |
//! | `snapshot` | `rows`: some rows; the last one of the snapshot has `"last": true` and an id |
//! | `changes` | `changes`: some rows, each with a weight; the last one of the commit has `"last": true` and an id |
//! | `reset` | `reason`: what was received counts no more; a snapshot follows |
//! | `error` | `message` and `help`; the stream ends |
//!
//! The id names a commit. A client that sends it as Last-Event-ID goes on behind that commit, if it is still kept.
//!
//! # Contract
//! - Adding up what comes between two events with an id gives the rows of the second's commit (checked by `changes_add_up_to_the_view`).
//! - A client that reads slowly holds up no commit, and a bounded amount of memory: two events, and the rows of one batch. Commits that come
//!   meanwhile are sent as one. What is no longer kept then is sent anew (checked by `a_client_that_does_not_read_holds_up_nothing`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use alluvium_connectors::sink::parquet::{Manifest, read_snapshot};
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::common::DataFusionError;
use futures::{Stream, StreamExt, TryStreamExt};
use serde_json::json;
use tokio::sync::mpsc;

use super::app::App;
use super::formats::json_lines;
use super::idle::Peer;
use super::refusal::Refusal;
use super::views::commit_of;
use crate::error::Error;
use crate::query::changed::ChangedParts;
use crate::query::newest::{OpenCommit, name_of};
use crate::query::run::stream;

/// The most rows of one event.
const CHUNK: usize = 1_000;
/// Where more rows than these would have to be compared, the view is sent anew: that needs no memory.
const COMPARED: u64 = 1_000_000;
/// A comment is sent after this long without an event, so that a client that is gone is noticed.
const ALIVE: Duration = Duration::from_secs(10);
/// How often to look for a commit that nobody has told of.
const LOOK: Duration = Duration::from_secs(1);

/// Streams a view.
pub(super) async fn follow(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(view): Path<String>,
    Query(parameters): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    app.may_read(&headers)?;
    let busy = peer.busy();
    Refusal::unknown(parameters.keys(), "/views/NAME/changes", &["last_event_id"], "it has last_event_id")?;
    commit_of(&app, &view, &BTreeMap::new()).await?;
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let last = header.or_else(|| parameters.get("last_event_id").cloned()).filter(|last| !last.is_empty());
    let (events, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _busy = busy;
        let follower = Follower { app: &app, view: &view, events: &events };
        if let Err(Ended::Failed(error)) = follower.run(last).await {
            tracing::warn!(view, "a client that follows the view is sent away: {error}");
            let data = json!({"message": error.to_string(), "help": error.help()});
            let _ = events.send(Event::default().event("error").data(data.to_string())).await;
        }
    });
    let stream = futures::stream::unfold(receiver, async |mut receiver| {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

/// Why a stream ends.
enum Ended {
    /// The client is gone, or the server ends.
    Gone,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Ended {
        Ended::Failed(error)
    }
}

impl From<DataFusionError> for Ended {
    fn from(error: DataFusionError) -> Ended {
        Ended::Failed(error.into())
    }
}

/// One client that follows a view.
struct Follower<'a> {
    app: &'a App,
    view: &'a str,
    events: &'a mpsc::Sender<Event>,
}

impl Follower<'_> {
    async fn run(&self, last: Option<String>) -> Result<(), Ended> {
        let mut commits = self.app.engine.board.commits();
        let mut at = match last {
            None => self.snapshot().await?,
            Some(last) => match self.kept(&last)? {
                Some(manifest) => manifest,
                None => self.reset(&format!("commit {last} is not one of view {} that is kept", self.view)).await?,
            },
        };
        loop {
            let newest = self.newest().await?;
            if name_of(&newest.manifest) != name_of(&at) {
                at = self.step(&at, &newest).await?;
                continue;
            }
            drop(newest);
            tokio::select! {
                _ = commits.changed() => {}
                () = tokio::time::sleep(LOOK) => {}
                () = self.events.closed() => return Err(Ended::Gone),
                () = self.app.ending.cancelled() => return Err(Ended::Gone),
            }
        }
    }

    async fn newest(&self) -> Result<Arc<OpenCommit>, Ended> {
        let newest = self.app.newest.of(self.view).await?;
        newest.ok_or_else(|| Ended::Failed(Error::config(format!("view {} is gone", self.view), "it was dropped")))
    }

    /// The commit of an id, if it is kept.
    fn kept(&self, id: &str) -> Result<Option<Manifest>, Error> {
        let Some(epoch) = id.split('-').next().and_then(|epoch| epoch.parse().ok()) else { return Ok(None) };
        let kept = read_snapshot(&self.app.newest.layout().view(self.view), epoch)?;
        Ok(kept.filter(|manifest| name_of(manifest) == id))
    }

    /// Sends the changes from one commit to a later one. Returns the commit that the client has then.
    async fn step(&self, from: &Manifest, to: &OpenCommit) -> Result<Manifest, Ended> {
        if from.fingerprint != to.manifest.fingerprint {
            return self.reset("another version of the view serves now").await;
        }
        let parts = ChangedParts::of(from, &to.manifest);
        if parts.rows() > COMPARED {
            return self.reset("too much has changed since the last event").await;
        }
        let turn = self.app.comparing.acquire().await.map_err(|_| Ended::Gone)?;
        let mut stream =
            match parts.stream(self.app.newest.layout(), self.view, to.schema(), &self.app.engine.limits.memory).await {
                Ok(stream) => stream,
                Err(Error::Connector(alluvium_connectors::Error::Io { error, .. }))
                    if error.kind() == std::io::ErrorKind::NotFound =>
                {
                    drop(turn);
                    return self.reset("the commit of the last event is no longer kept").await;
                }
                Err(error) => return Err(error.into()),
            };
        // The rows are compared before the first one comes. A client that takes them slowly keeps no other client waiting.
        let first = stream.try_next().await?;
        drop(turn);
        let stream = futures::stream::iter(first.map(Ok)).chain(stream);
        self.send("changes", &to.manifest, stream, |batch| {
            let weights = batch.column(batch.num_columns() - 1).as_primitive::<Int64Type>().clone();
            let rows = batch.project(&(0..batch.num_columns() - 1).collect::<Vec<_>>()).map_err(DataFusionError::from)?;
            let lines = lines(&rows)?;
            Ok(lines
                .into_iter()
                .zip(weights.values())
                .map(|(row, weight)| format!("{{\"weight\":{weight},\"row\":{row}}}"))
                .collect())
        })
        .await?;
        Ok(to.manifest.clone())
    }

    /// Says that what the client has counts no more, and sends a snapshot.
    async fn reset(&self, reason: &str) -> Result<Manifest, Ended> {
        self.event(Event::default().event("reset").data(json!({"reason": reason}).to_string())).await?;
        self.snapshot().await
    }

    async fn snapshot(&self) -> Result<Manifest, Ended> {
        let commit = self.newest().await?;
        let stream = stream(commit.rows(|_| true).await?, Some(&self.app.engine.limits.memory)).await?;
        self.send("snapshot", &commit.manifest, stream, lines).await?;
        Ok(commit.manifest.clone())
    }

    /// Sends the rows of a stream as events of one kind. The last one has the id of the commit.
    async fn send(
        &self,
        kind: &str,
        manifest: &Manifest,
        mut stream: impl Stream<Item = Result<RecordBatch, DataFusionError>> + Unpin,
        encode: impl Fn(&RecordBatch) -> Result<Vec<String>, Error>,
    ) -> Result<(), Ended> {
        let member = if kind == "snapshot" { "rows" } else { kind };
        let data = |rows: &[String], last: bool| {
            let offsets = serde_json::to_string(&manifest.offsets).unwrap_or_default();
            let (epoch, rows) = (manifest.epoch, rows.join(","));
            format!("{{\"epoch\":{epoch},\"offsets\":{offsets},\"last\":{last},\"{member}\":[{rows}]}}")
        };
        let mut waiting: Vec<String> = Vec::new();
        while let Some(batch) = stream.try_next().await? {
            waiting.extend(encode(&batch)?);
            let full = waiting.len().saturating_sub(1) / CHUNK * CHUNK;
            for rows in waiting[..full].chunks(CHUNK) {
                self.event(Event::default().event(kind).data(data(rows, false))).await?;
            }
            waiting.drain(..full);
        }
        self.event(Event::default().event(kind).id(name_of(manifest)).data(data(&waiting, true))).await
    }

    async fn event(&self, event: Event) -> Result<(), Ended> {
        tokio::select! {
            sent = self.events.send(event) => sent.map_err(|_| Ended::Gone),
            () = self.app.ending.cancelled() => Err(Ended::Gone),
        }
    }
}

/// The rows of a batch as JSON.
fn lines(batch: &RecordBatch) -> Result<Vec<String>, Error> {
    let text = json_lines(batch).map_err(DataFusionError::from)?;
    let text = String::from_utf8(text).map_err(|error| Error::bug(format!("JSON: {error}")))?;
    Ok(text.lines().map(str::to_owned).collect())
}
