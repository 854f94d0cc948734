//! The HTTP server of a running engine: metrics, health, status, the rows of views, the console, and the commands of `alluvium rebuild`,
//! `restart` and `drop`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `app` | what all handlers share, and the limits of queries |
//! | `ask` | `POST /query` |
//! | `views`, `selection` | `GET /views/NAME` and its rows; which rows a request asks for |
//! | `overview` | `GET /overview` and `GET /sources/NAME`: what all views and one source are doing |
//! | `recent` | an answer that is made once a second for all who ask |
//! | `letters` | `GET /dead-letters`: the events that were set aside |
//! | `declared` | what the project declares of views and sources |
//! | `changes` | `GET /views/NAME/changes`: a snapshot, and then the changes of each commit, as server-sent events |
//! | `formats`, `refusal` | rows as JSON, CSV and Arrow; errors as JSON |
//! | `idle` | closes idle connections |
//!
//! The pages of [`super::console`] are served here, too.
//!
//! Commands are accepted from this machine only, and not from web pages. They need a header that a page cannot send to another
//! origin, and a Host that is one of our addresses, which keeps out DNS rebinding.

mod app;
mod ask;
mod changes;
mod declared;
mod formats;
mod idle;
mod letters;
mod overview;
mod recent;
mod refusal;
mod selection;
#[cfg(test)]
mod tests;
mod views;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind};
use crate::runtime::{Accept, Command};
use crate::status::SourceHealth;

use self::app::{App, is_here, is_host_of};
pub use self::app::{Engine, Key};
pub use self::declared::Declared;
use self::idle::{IdleListener, Peer};

/// The header that every command carries.
pub const COMMAND_HEADER: &str = "x-alluvium-command";
/// A connection without traffic is closed after this long.
const IDLE: Duration = Duration::from_secs(30);

/// A commit that no request has read for so long is released.
const UNREAD: Duration = Duration::from_secs(60);

/// A server that has bound its port but does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if that fails, for instance because the port is taken. The help says how to choose another.
    pub async fn bind(address: SocketAddr) -> Result<Server, Error> {
        let help = "choose another with --http 127.0.0.1:PORT, ALLUVIUM_HTTP or `http` in alluvium.toml; port 0 takes any free port, \
                    \"off\" disables it";
        let (listener, address) = super::bind(address, "HTTP", help).await?;
        Ok(Server { listener, address })
    }

    /// The address that was bound, with the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(self, engine: Engine, shutdown: CancellationToken) -> Result<(), Error> {
        self.serve_with(engine, shutdown, IDLE).await
    }

    async fn serve_with(self, engine: Engine, shutdown: CancellationToken, idle: Duration) -> Result<(), Error> {
        let app = Arc::new(App::new(engine, self.address, shutdown.clone()));
        let releasing = tokio::spawn(release(Arc::clone(&app)));
        let service = routes(app).into_make_service_with_connect_info::<Peer>();
        let listener = IdleListener::new(self.listener, idle);
        let served = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        releasing.abort();
        served.map_err(|error| Error::unavailable(format!("the HTTP server ended: {error}"), "start the engine again"))
    }
}

/// Releases the commits that nobody reads any more.
async fn release(app: Arc<App>) {
    loop {
        tokio::time::sleep(UNREAD / 2).await;
        app.newest.release(UNREAD);
    }
}

fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/sources", get(sources))
        .route("/sources/{source}", get(overview::source))
        .route("/overview", get(overview::overview))
        .route("/dead-letters", get(letters::list))
        .route("/query", post(ask::query))
        .route("/views", get(views::list))
        .route("/views/{view}", get(views::describe))
        .route("/views/{view}/plan", get(views::plan))
        .route("/views/{view}/rows", get(views::rows))
        .route("/views/{view}/changes", get(changes::follow))
        .route("/rebuild/{view}", post(rebuild))
        .route("/rebuild-accepting-loss/{view}", post(rebuild_accepting_loss))
        .route("/restart/{view}", post(restart))
        .route("/drop/{view}", post(drop_view))
        .merge(super::console::routes())
        .with_state(app)
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    crate::metrics::refresh(&app.engine.board, app.newest.layout().root());
    app.engine.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.engine.metrics.render()).into_response()
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    let waiting = app.engine.board.not_ready(&app.engine.views);
    let waiting: Vec<_> = waiting.into_iter().map(|(view, phase)| json!({"view": view, "phase": phase})).collect();
    let code = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let away: Vec<_> = app.engine.board.sources().into_iter().filter(SourceHealth::is_away).collect();
    (code, Json(json!({"ready": waiting.is_empty(), "not_ready": waiting, "sources_away": away}))).into_response()
}

async fn sources(State(app): State<Arc<App>>) -> Response {
    Json(app.engine.board.sources()).into_response()
}

async fn status(State(app): State<Arc<App>>) -> Response {
    Json(app.engine.board.all()).into_response()
}

async fn rebuild(state: State<Arc<App>>, peer: ConnectInfo<Peer>, headers: HeaderMap, Path(view): Path<String>) -> Response {
    command(&state, peer.0.address, &headers, |reply| Command::Rebuild { view, accept: Accept::AnotherStream, reply }).await
}

async fn rebuild_accepting_loss(
    state: State<Arc<App>>,
    peer: ConnectInfo<Peer>,
    headers: HeaderMap,
    Path(view): Path<String>,
) -> Response {
    command(&state, peer.0.address, &headers, |reply| Command::Rebuild { view, accept: Accept::Loss, reply }).await
}

async fn restart(state: State<Arc<App>>, peer: ConnectInfo<Peer>, headers: HeaderMap, Path(view): Path<String>) -> Response {
    command(&state, peer.0.address, &headers, |reply| Command::Restart { view, reply }).await
}

async fn drop_view(state: State<Arc<App>>, peer: ConnectInfo<Peer>, headers: HeaderMap, Path(view): Path<String>) -> Response {
    command(&state, peer.0.address, &headers, |reply| Command::Drop { view, reply }).await
}

async fn command(
    app: &App,
    peer: SocketAddr,
    headers: &HeaderMap,
    make: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Command,
) -> Response {
    if let Err(reason) = allowed(app.address.ip(), peer.ip(), headers) {
        return refuse(StatusCode::FORBIDDEN, reason, None);
    }
    let (reply, answer) = oneshot::channel();
    let sent = app.engine.commands.send(make(reply)).await;
    match (sent, answer.await) {
        (Ok(()), Ok(Ok(()))) => Json(json!({"ok": true})).into_response(),
        (Ok(()), Ok(Err(error))) => {
            let code = if error.kind() == Kind::Config { StatusCode::CONFLICT } else { StatusCode::INTERNAL_SERVER_ERROR };
            refuse(code, &error.to_string(), error.help())
        }
        _ => {
            refuse(StatusCode::SERVICE_UNAVAILABLE, "the engine is ending", Some("start it again and repeat the command".into()))
        }
    }
}

fn refuse(code: StatusCode, message: &str, help: Option<String>) -> Response {
    (code, Json(json!({"ok": false, "error": message, "help": help}))).into_response()
}

/// Checks whether a command may come from `peer` with these headers. The error says what is missing.
fn allowed(bound: IpAddr, peer: IpAddr, headers: &HeaderMap) -> Result<(), &'static str> {
    if headers.get(COMMAND_HEADER).is_none_or(|value| value != "1") {
        return Err("commands need the header x-alluvium-command: 1");
    }
    if !is_here(bound, peer) {
        return Err("commands are accepted from this machine only");
    }
    if is_host_of(bound, headers) { Ok(()) } else { Err("the Host of a command must be a loopback address") }
}
