//! What all handlers share.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::declared::Declared;
use super::idle::{Busy, Peer};
use super::recent::Recent;
use super::refusal::Refusal;
use crate::layout::Layout;
use crate::query::newest::NewestCommits;
use crate::runtime::Command;
use crate::serve::limits::Limits;
use crate::status::Board;

/// How long a request waits for its turn while there are too many.
const TURN: Duration = Duration::from_secs(2);

/// How many differences of commits are computed at once for those who follow views: they may not take the cores from commits.
const COMPARING: usize = 2;

/// What the handlers need.
#[derive(Debug)]
pub struct Engine {
    /// The status of every view.
    pub board: Arc<Board>,
    /// The views that must have caught up before the engine is ready.
    pub views: Vec<String>,
    /// Sends commands to the runtime.
    pub commands: mpsc::Sender<Command>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// The data folder, whose views are served.
    pub layout: Layout,
    /// What queries may take.
    pub limits: Limits,
    /// What requests for data have to carry; without it, they are answered on a loopback address only.
    pub token: Option<String>,
    /// By view: the columns that identify a row, and the version of the view of which that is known.
    pub keys: BTreeMap<String, Key>,
    /// What the project declares.
    pub declared: Declared,
}

/// The columns that identify a row of a view.
#[derive(Debug, Clone)]
pub struct Key {
    /// Identifies the version of the view.
    pub fingerprint: String,
    /// The names of the columns; none if no such columns are known.
    pub columns: Vec<String>,
}

/// The engine as the handlers see it.
pub(super) struct App {
    pub(super) engine: Engine,
    pub(super) address: SocketAddr,
    /// The commits that requests read.
    pub(super) newest: NewestCommits,
    /// Cancelled when the server ends: what would stream for ever ends then.
    pub(super) ending: CancellationToken,
    /// How many differences of commits are computed at once.
    pub(super) comparing: Semaphore,
    /// What all views are doing, for those who look at it again and again.
    pub(super) overview: Recent,
}

/// The right to run a query. It ends with the response, also when the client goes away.
#[derive(Debug)]
pub(super) struct Turn {
    /// When the query has to have ended.
    pub(super) deadline: Instant,
    _permit: OwnedSemaphorePermit,
    _busy: Busy,
}

impl App {
    pub(super) fn new(engine: Engine, address: SocketAddr, ending: CancellationToken) -> App {
        let newest = NewestCommits::new(engine.layout.clone());
        App { engine, address, newest, ending, comparing: Semaphore::new(COMPARING), overview: Recent::default() }
    }

    /// Waits for the right to run a query.
    pub(super) async fn turn(&self, peer: &Peer) -> Result<Turn, Refusal> {
        let waiting = tokio::time::timeout(TURN, Arc::clone(&self.engine.limits.turns).acquire_owned());
        let Ok(Ok(permit)) = waiting.await else {
            let busy = Refusal::wrong(
                format!("{} queries are running, as many as may run at once", self.engine.limits.at_once),
                "try again; `max_queries` in alluvium.toml allows more",
            );
            return Err(busy.with_code(StatusCode::SERVICE_UNAVAILABLE));
        };
        Ok(Turn { deadline: Instant::now() + self.engine.limits.time, _permit: permit, _busy: peer.busy() })
    }

    /// Checks who asks for data: who carries the token, or without one, this machine. A server on a loopback address is asked for by that
    /// address: a web page can make a name of its own point to it.
    pub(super) fn may_read(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let bound = self.address.ip();
        let forbidden = |message: &str, help: String| Err(Refusal::wrong(message, help).with_code(StatusCode::FORBIDDEN));
        if let Some(token) = &self.engine.token {
            let carried = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
            let digest = |text: &str| ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
            // Digests are compared, so that the time that it takes tells nothing of the token.
            if carried.is_some_and(|carried| digest(carried).as_ref() == digest(token).as_ref()) {
                return Ok(());
            }
            return forbidden("the request does not carry the token", "send the header Authorization: Bearer TOKEN".to_owned());
        }
        if !bound.to_canonical().is_loopback() {
            return forbidden(
                "views are not served to other machines without a token",
                "set http_token in [serve] of alluvium.toml, or ALLUVIUM_SERVE_HTTP_TOKEN".to_owned(),
            );
        }
        if is_host_of(bound, headers) {
            return Ok(());
        }
        forbidden(
            "the Host of a request to a loopback address must be that address or localhost",
            format!("ask http://{}", self.address),
        )
    }
}

/// Whether an address is one of this machine that only it, or whoever can reach `bound`, can use.
pub(super) fn is_here(bound: IpAddr, ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback() || ip.to_canonical() == bound.to_canonical()
}

/// Whether the Host header names this machine by an address that is here, or by `localhost`.
pub(super) fn is_host_of(bound: IpAddr, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let named_here = name.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| is_here(bound, ip) && !ip.is_unspecified());
    named_here || name.eq_ignore_ascii_case("localhost")
}
