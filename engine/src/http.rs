//! The HTTP server of a running engine: metrics, health, status, and the commands of `alluvium rebuild` and `alluvium drop`.
//!
//! Commands are taken from this machine only, and not from web pages: they need a header that a page cannot send to another
//! origin, and a Host that is an address of ours, so that no name that was pointed here can ask.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Kind};
use crate::runtime::Command;
use crate::status::{Board, Phase};

/// Commands carry this header.
pub const COMMAND_HEADER: &str = "x-alluvium-command";
/// How often the board is looked at for views that have caught up.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What the handlers need.
#[derive(Debug)]
pub struct Engine {
    /// Every view's status.
    pub board: Arc<Board>,
    /// The views that must have caught up before the engine is ready.
    pub views: Vec<String>,
    /// To the runtime.
    pub commands: mpsc::Sender<Command>,
    /// The recorder's text.
    pub metrics: PrometheusHandle,
}

/// A port that is ours already.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] where it is taken, with how to choose another.
    pub async fn bind(address: SocketAddr) -> Result<Server, Error> {
        let wrong = |error: std::io::Error| {
            let help = "choose another with --http 127.0.0.1:PORT, ALLUVIUM_HTTP or `http` in alluvium.toml; port 0 takes any that is free, \
                        \"off\" none";
            let message = match error.kind() {
                std::io::ErrorKind::AddrInUse => format!("the HTTP address {address} is taken by another program"),
                _ => format!("cannot listen on the HTTP address {address}: {error}"),
            };
            Error::unavailable(message, help)
        };
        let listener = TcpListener::bind(address).await.map_err(wrong)?;
        let address = listener.local_addr().map_err(wrong)?;
        Ok(Server { listener, address })
    }

    /// The address, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(self, engine: Engine, shutdown: CancellationToken) -> Result<(), Error> {
        let shared = Arc::new(Shared { engine, address: self.address, caught_up: Mutex::default() });
        let look = Arc::clone(&shared);
        let ended = shutdown.clone();
        let looking = tokio::spawn(async move {
            loop {
                look.note_caught_up();
                tokio::select! {
                    () = ended.cancelled() => break,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        });
        let service = routes(shared).into_make_service_with_connect_info::<SocketAddr>();
        let served = axum::serve(self.listener, service).with_graceful_shutdown(shutdown.cancelled_owned()).await;
        looking.abort();
        served.map_err(|error| Error::unavailable(format!("the HTTP server ended: {error}"), "start the engine again"))
    }
}

struct Shared {
    engine: Engine,
    address: SocketAddr,
    /// Views that were live once; they stay ready while they rebuild or fall behind.
    caught_up: Mutex<BTreeSet<String>>,
}

impl Shared {
    fn note_caught_up(&self) -> BTreeSet<String> {
        let mut caught_up = self.caught_up.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        caught_up.extend(self.engine.board.all().into_iter().filter(|status| status.phase == Phase::Live).map(|status| status.view));
        caught_up.clone()
    }
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/rebuild/{view}", post(rebuild))
        .route("/drop/{view}", post(drop_view))
        .with_state(shared)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    crate::metrics::refresh(&shared.engine.board);
    shared.engine.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.engine.metrics.render()).into_response()
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let caught_up = shared.note_caught_up();
    let board = shared.engine.board.all();
    let waiting: Vec<_> = shared
        .engine
        .views
        .iter()
        .filter_map(|view| {
            let phase = board.iter().find(|status| status.view == *view).map(|status| status.phase);
            let ready = phase != Some(Phase::Failed) && caught_up.contains(view);
            (!ready).then(|| json!({"view": view, "phase": phase.unwrap_or(Phase::CatchingUp)}))
        })
        .collect();
    let code = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({"ready": waiting.is_empty(), "not_ready": waiting}))).into_response()
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.engine.board.all()).into_response()
}

async fn rebuild(state: State<Arc<Shared>>, peer: ConnectInfo<SocketAddr>, headers: HeaderMap, Path(view): Path<String>) -> Response {
    command(&state, peer.0, &headers, |reply| Command::Rebuild { view, reply }).await
}

async fn drop_view(state: State<Arc<Shared>>, peer: ConnectInfo<SocketAddr>, headers: HeaderMap, Path(view): Path<String>) -> Response {
    command(&state, peer.0, &headers, |reply| Command::Drop { view, reply }).await
}

async fn command(
    shared: &Shared,
    peer: SocketAddr,
    headers: &HeaderMap,
    make: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Command,
) -> Response {
    if let Err(reason) = allowed(shared.address.ip(), peer.ip(), headers) {
        return refuse(StatusCode::FORBIDDEN, reason, None);
    }
    let (reply, answer) = oneshot::channel();
    let sent = shared.engine.commands.send(make(reply)).await;
    match (sent, answer.await) {
        (Ok(()), Ok(Ok(()))) => Json(json!({"ok": true})).into_response(),
        (Ok(()), Ok(Err(error))) => {
            let code = if error.kind() == Kind::Config { StatusCode::CONFLICT } else { StatusCode::INTERNAL_SERVER_ERROR };
            refuse(code, &error.to_string(), error.help())
        }
        _ => refuse(StatusCode::SERVICE_UNAVAILABLE, "the engine is ending", Some("start it again and repeat the command".into())),
    }
}

fn refuse(code: StatusCode, message: &str, help: Option<String>) -> Response {
    (code, Json(json!({"ok": false, "error": message, "help": help}))).into_response()
}

/// Whether a command may come from there.
fn allowed(bound: IpAddr, peer: IpAddr, headers: &HeaderMap) -> Result<(), &'static str> {
    let here = |ip: IpAddr| ip.to_canonical().is_loopback() || ip.to_canonical() == bound.to_canonical();
    if headers.get(COMMAND_HEADER).is_none_or(|value| value != "1") {
        return Err("commands need the header x-alluvium-command: 1");
    }
    if !here(peer) {
        return Err("commands are taken from this machine only");
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let named_here = name.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| here(ip) && !ip.is_unspecified());
    if named_here || name.eq_ignore_ascii_case("localhost") { Ok(()) } else { Err("the Host of a command must be a loopback address") }
}
