//! The client of a source: created on first use, and created again after the library has closed it.
//!
//! The library reconnects by itself while the server is unavailable. Its events are kept as counters that readers watch: after a lost
//! connection or a dropped message, a reader restarts at its offset, with all checks.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use async_nats::jetstream;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerError};
use tokio::sync::{Mutex, watch};
use tracing::{debug, info, warn};

use super::options::{Credentials, NatsOptions};
use crate::Error;
use crate::source::contract::{Audited, Contact};

/// The maximum number of messages that wait in the client for one reader. The library drops any more that arrive.
const SUBSCRIPTION_CAPACITY: usize = 4 * super::pulls::MAX_PULL;

/// The oldest server that is supported.
const OLDEST_SERVER: (i64, i64, i64) = (2, 10, 0);

/// Counts the client's failures so far. A change means that messages may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Health {
    /// How often a connection was lost.
    pub(super) disconnects: u64,
    /// How often the library reported dropping messages because the reader was too slow.
    pub(super) dropped: u64,
}

/// The client of a source, shared by its readers.
pub(super) struct Connection {
    source: String,
    options: NatsOptions,
    current: Mutex<Option<Live>>,
    health: watch::Sender<Health>,
    known: Arc<std::sync::Mutex<Known>>,
    /// What audits of the filter have found; `None` before the first.
    audited: std::sync::Mutex<Option<Audited>>,
    /// Whether an audit is under way.
    auditing: AtomicBool,
}

/// What is known about the connection to the server.
#[derive(Default)]
struct Known {
    contact: Contact,
    /// The last error that the server sent unasked. The server reports a request that is not permitted only in this way.
    refusal: Option<(Instant, String)>,
}

/// A client that has connected.
struct Live {
    client: Client,
    /// Whether the library has given up, because the server refused it while reconnecting.
    closed: Arc<AtomicBool>,
}

impl Connection {
    /// Creates the connection of a source. Connects on first use.
    pub(super) fn new(source: &str, options: NatsOptions) -> Connection {
        Connection {
            source: source.to_owned(),
            options,
            current: Mutex::new(None),
            health: watch::Sender::default(),
            known: Arc::default(),
            audited: std::sync::Mutex::default(),
            auditing: AtomicBool::new(false),
        }
    }

    /// Returns the options of the declaration.
    pub(super) fn options(&self) -> &NatsOptions {
        &self.options
    }

    /// Returns the source's name.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Watches for lost connections and dropped messages from now on.
    pub(super) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Returns the state of the connection to the server.
    pub(super) fn contact(&self) -> Contact {
        lock(&self.known).contact.clone()
    }

    /// Returns what audits of the filter have found; `None` before the first.
    pub(super) fn audited(&self) -> Option<Audited> {
        self.audited.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins an audit, unless one is under way.
    pub(super) fn begin_audit(&self) -> bool {
        !self.auditing.swap(true, Ordering::AcqRel)
    }

    /// Ends an audit.
    pub(super) fn end_audit(&self) {
        self.auditing.store(false, Ordering::Release);
    }

    /// Notes what an audit of the filter has found.
    pub(super) fn note_audit(&self, found: Audited) {
        self.audited.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().add(found);
    }

    /// Notes that the server has answered.
    pub(super) fn answered(&self) {
        lock(&self.known).contact.answered = Some(Instant::now());
    }

    /// Notes that the stream can be read.
    pub(super) fn connected(&self) {
        lock(&self.known).contact = Contact { connected: true, answered: Some(Instant::now()), reason: None };
    }

    /// Notes that the stream cannot be read for now. A server that says that the stream is not that of a position has answered, and other
    /// readers of the stream are not concerned.
    pub(super) fn lost(&self, error: &Error) {
        match error {
            Error::StreamChanged { .. } => self.connected(),
            _ => self.gone(error),
        }
    }

    /// Notes that the stream cannot be read for now, by no reader.
    pub(super) fn gone(&self, error: &Error) {
        lose(&self.known, error.to_string());
    }

    /// A reader is gone that did not fail. If it was the last one, why it could not read counts no longer: nobody would notice that it can be read.
    pub(super) fn left(&self) {
        forget_if_unread(&self.known, &self.health);
    }

    /// Returns a connected client and its JetStream context. Connects if necessary, and checks the server's version.
    ///
    /// # Errors
    /// [`Error::Unavailable`] after the connect timeout; [`Error::Config`] if the server refuses us or is too old, or if a credentials
    /// file cannot be read.
    pub(super) async fn jetstream(&self) -> Result<(async_nats::Client, jetstream::Context), Error> {
        let mut current = self.current.lock().await;
        let client = match &*current {
            Some(live) if !live.closed.load(Ordering::Acquire) => live.client.clone(),
            _ => {
                let live = self.connect().await?;
                current.insert(live).client.clone()
            }
        };
        drop(current);
        let (major, minor, patch) = OLDEST_SERVER;
        if !client.is_server_compatible(major, minor, patch) {
            return Err(Error::Config {
                message: format!(
                    "source {}: the NATS server {} has version {}, but {major}.{minor} is the oldest supported version",
                    self.source,
                    self.options.servers_text(),
                    client.server_info().version
                ),
                help: Some(format!("run a NATS server of version {major}.{minor} or later")),
            });
        }
        let mut context = match &self.options.domain {
            Some(domain) => jetstream::with_domain(client.clone(), domain),
            None => jetstream::new(client.clone()),
        };
        context.set_timeout(self.options.request_timeout);
        Ok((client, context))
    }

    async fn connect(&self) -> Result<Live, Error> {
        let closed = Arc::new(AtomicBool::new(false));
        let options = self.connect_options(Arc::clone(&closed)).await?;
        let limit = self.options.connect_timeout * u32::try_from(self.options.servers.len()).unwrap_or(u32::MAX);
        let connecting = options.connect(self.options.servers.clone());
        let client = match tokio::time::timeout(limit, connecting).await {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(self.refused(&error)),
            Err(_) => return Err(self.unavailable(format!("no connection to {} within {limit:?}", self.options.servers_text()))),
        };
        debug!(source = self.source, version = client.server_info().version, "connected");
        Ok(Live { client, closed })
    }

    /// Classifies an error of connecting. An error that a retry cannot fix is [`Error::Config`].
    fn refused(&self, error: &async_nats::ConnectError) -> Error {
        let servers = self.options.servers_text();
        let config = |message: String, help: &str| Error::Config {
            message: format!("source {}: {message}", self.source),
            help: Some(help.to_owned()),
        };
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => config(
                format!("the NATS server {servers} refuses the credentials"),
                "check creds, user and password, token or nkey in OPTIONS, alluvium.toml and the environment",
            ),
            ConnectErrorKind::Tls => config(
                format!("no TLS connection to {servers}: {error}"),
                "check tls_ca, tls_cert, tls_key and tls_first, and that the certificate names the host of LOCATION",
            ),
            ConnectErrorKind::ServerParse => config(format!("{servers}: {error}"), "write LOCATION 'nats://host:4222/STREAM'"),
            _ => self.unavailable(format!("no connection to {servers}: {error}")),
        }
    }

    async fn connect_options(&self, closed: Arc<AtomicBool>) -> Result<ConnectOptions, Error> {
        let wanted = &self.options;
        let mut options = ConnectOptions::new()
            .name(format!("alluvium {}", self.source))
            .connection_timeout(wanted.connect_timeout)
            .request_timeout(Some(wanted.request_timeout))
            .subscription_capacity(SUBSCRIPTION_CAPACITY)
            .event_callback(self.on_event(closed));
        options = match &wanted.credentials {
            Credentials::None => options,
            Credentials::User(user, password) => options.user_and_password(user.clone(), password.clone()),
            Credentials::Token(token) => options.token(token.clone()),
            Credentials::Seed(seed) => options.nkey(seed.clone()),
            Credentials::SeedFile(path) => options.nkey(self.secret_file("nkey", path).await?.trim().to_owned()),
            Credentials::File(path) => {
                let text = self.secret_file("creds", path).await?;
                options.credentials(&text).map_err(|_| Error::Config {
                    message: format!("source {}: {} holds no NATS credentials", self.source, path.display()),
                    help: Some("option 'creds' names a file as `nsc generate creds` writes it".into()),
                })?
            }
        };
        for (option, path) in [("tls_ca", wanted.tls_ca.as_ref())].into_iter().chain(
            wanted.tls_client.iter().flat_map(|(certificate, key)| [("tls_cert", Some(certificate)), ("tls_key", Some(key))]),
        ) {
            if let Some(path) = path {
                self.secret_file(option, path).await?;
            }
        }
        if let Some(path) = &wanted.tls_ca {
            options = options.add_root_certificates(path.clone());
        }
        if let Some((certificate, key)) = &wanted.tls_client {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        if wanted.tls {
            options = options.require_tls(true);
        }
        if wanted.tls_first {
            options = options.tls_first();
        }
        if let Some(prefix) = &wanted.inbox_prefix {
            options = options.custom_inbox_prefix(prefix);
        }
        Ok(options)
    }

    async fn secret_file(&self, option: &str, path: &Path) -> Result<String, Error> {
        tokio::fs::read_to_string(path).await.map_err(|error| Error::Config {
            message: format!("source {}: the file {} of option '{option}' cannot be read: {error}", self.source, path.display()),
            help: None,
        })
    }

    /// Returns the callback that counts the library's events.
    fn on_event(&self, closed: Arc<AtomicBool>) -> impl Fn(Event) -> std::future::Ready<()> + Send + Sync + 'static + use<> {
        let health = self.health.clone();
        let (source, known) = (self.source.clone(), Arc::clone(&self.known));
        move |event| {
            match &event {
                Event::Connected => {
                    info!(source, "connected");
                    // A reader looks at the stream again, and notes what it finds.
                    forget_if_unread(&known, &health);
                }
                Event::Disconnected => {
                    warn!(source, "connection lost");
                    lose(&known, "the connection was lost".to_owned());
                    health.send_modify(|health| health.disconnects += 1);
                }
                Event::ServerError(ServerError::Other(error)) => {
                    warn!(source, error, "refused by the server");
                    lock(&known).refusal = Some((Instant::now(), error.clone()));
                }
                Event::SlowConsumer(_) => {
                    warn!(source, "messages dropped by the client");
                    health.send_modify(|health| health.dropped += 1);
                }
                Event::Closed => {
                    closed.store(true, Ordering::Release);
                    lose(&known, "the connection was closed".to_owned());
                    // Only the next reader connects again.
                    forget_if_unread(&known, &health);
                    health.send_modify(|health| health.disconnects += 1);
                }
                other => debug!(source, event = %other, "client event"),
            }
            std::future::ready(())
        }
    }

    /// Returns an [`Error::Unavailable`], with a recent error of the server.
    pub(super) fn unavailable(&self, message: impl Into<String>) -> Error {
        let mut message = message.into();
        // The server does not answer a request that is not permitted: it sends a separate error, and the request times out.
        let recent = 2 * self.options.request_timeout;
        if let Some((_, refusal)) = lock(&self.known).refusal.as_ref().filter(|(at, _)| at.elapsed() < recent) {
            message.push_str(&format!("; the server says: {refusal}"));
        }
        Error::Unavailable { source_name: self.source.clone(), message }
    }

    /// Returns an [`Error::StreamChanged`]: the stream is another one, or has lost events.
    pub(super) fn changed(&self, message: impl Into<String>) -> Error {
        Error::StreamChanged { source_name: self.source.clone(), message: message.into() }
    }
}

fn lock(known: &std::sync::Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lose(known: &std::sync::Mutex<Known>, reason: String) {
    let mut known = lock(known);
    known.contact.connected = false;
    known.contact.reason = Some(reason);
}

/// Nothing is known of a source that nobody reads.
fn forget_if_unread(known: &std::sync::Mutex<Known>, health: &watch::Sender<Health>) {
    if health.receiver_count() == 0 {
        lock(known).contact.reason = None;
    }
}
