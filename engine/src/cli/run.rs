//! `alluvium run`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::global::{Global, runtime};
use super::signals;
use crate::error::{Error, Finding};
use crate::lock::lock;
use crate::progress::Progress;
use crate::project::Project;
use crate::record::newest_records;
use crate::runtime::{Accept, Outcome, RunRequest, schema_changes};
use crate::serve::http::{Declared, Engine, Key, Server};
use crate::serve::limits::Limits;
use crate::serve::postgres;
use crate::settings::Settings;
use crate::status::{Board, SetAside};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views run
  alluvium -C my-views run --until-caught-up        for a nightly job
  alluvium -C my-views run --http 127.0.0.1:9500    metrics on another port; `off` disables them
  alluvium -C my-views run --accept-loss            make changed views anew though events are gone (`alluvium plan`)

With --until-caught-up the exit code is 3 if events were set aside (`alluvium dead-letters list`), 5 if something looks like a mistake though
nothing failed (a column that no event has a member for), 1 after an error, else 0.

After Ctrl-C or SIGTERM it commits and exits with 0 within `shutdown_timeout`. A second Ctrl-C ends it at once. Commits are never lost.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// End when every view has applied everything that its sources held at the start
    #[arg(long)]
    until_caught_up: bool,
    /// The address of the HTTP server, or `off` [default: the setting `http`, or else 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR|off")]
    http: Option<String>,
    /// Make changed views from what is left of their events, where a source no longer holds all that they have applied
    #[arg(long)]
    accept_loss: bool,
}

impl Run {
    pub(super) fn run(&self, global: &Global, progress: &Progress) -> Result<(), Error> {
        let overrides = crate::settings::Overrides { http: self.http.clone(), ..global.overrides() };
        let project = Arc::new(Project::load(&global.dir, &overrides)?);
        let accept = if self.accept_loss { Accept::Loss } else { Accept::Nothing };
        let work = Work { until_caught_up: self.until_caught_up, serve: true, accept, ..Work::default() };
        let told = run(&project, work, progress)?;
        if !self.until_caught_up {
            return Ok(());
        }
        let message = told.set_aside.iter().map(ToString::to_string).chain(told.warnings).collect::<Vec<_>>().join("\n");
        if !told.set_aside.is_empty() {
            let folder = project.layout().dead_letters();
            let help = format!("`alluvium dead-letters list` shows them; they are kept in {}", folder.display());
            return Err(Error::Found { finding: Finding::SetAside, message, help });
        }
        if !message.is_empty() {
            let help = "all views are committed, and are what their SQL says of these events".to_owned();
            return Err(Error::Found { finding: Finding::Warned, message, help });
        }
        Ok(())
    }
}

/// What a run has to tell besides its end.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The events that it has set aside.
    pub(super) set_aside: Vec<SetAside>,
    /// What looks like a mistake.
    pub(super) warnings: Vec<String>,
    /// Whether it ended with threads at work, which hold the lock until the process ends.
    pub(super) cut_short: bool,
}

/// A run that has begun, for commands that show it themselves.
#[derive(Debug, Clone)]
pub(super) struct Begun {
    /// What each view is doing.
    pub(super) board: Arc<Board>,
    /// The address of the HTTP server, if it serves.
    pub(super) http: Option<SocketAddr>,
    /// The address of the Postgres protocol, if it serves.
    pub(super) postgres: Option<SocketAddr>,
    /// Cancelled when the run ends.
    pub(super) ended: CancellationToken,
}

/// What to run, and whether to serve HTTP meanwhile.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) until_caught_up: bool,
    pub(super) rebuild: Vec<String>,
    pub(super) accept: Accept,
    pub(super) meet_again: BTreeSet<String>,
    pub(super) only: Vec<String>,
    pub(super) serve: bool,
    /// Ends the run when it is cancelled. Without it, signals do.
    pub(super) shutdown: Option<CancellationToken>,
}

/// Runs the engine under the data folder's lock, with signals, progress and the HTTP server.
pub(super) fn run(project: &Arc<Project>, work: Work, progress: &Progress) -> Result<Told, Error> {
    run_and_show(project, work, progress, |_| ())
}

/// Does the same, and tells when it has begun.
pub(super) fn run_and_show(
    project: &Arc<Project>,
    work: Work,
    progress: &Progress,
    begun: impl FnOnce(Begun),
) -> Result<Told, Error> {
    let metrics = crate::metrics::install();
    let mut guard = lock(&project.layout(), None)?;
    if !project.schemas.is_empty() {
        for change in schema_changes(project, &newest_records(&project.layout())?)? {
            tracing::info!("{change}");
        }
    }
    let runtime = runtime()?;
    let board = Arc::new(Board::default());
    let result = runtime.block_on(async {
        let shutdown = match work.shutdown {
            Some(shutdown) => shutdown,
            None => signals::of_a_run()?,
        };
        let server = if work.serve { bind(&project.settings).await? } else { None };
        let limits = limits(&project.settings);
        let postgres = if work.serve { bind_postgres(&project.settings).await? } else { None };
        guard.announce(server.as_ref().map(Server::address))?;

        let board = Arc::clone(&board);
        let (sender, commands) = mpsc::channel(16);
        let ended = CancellationToken::new();
        let postgres_address = postgres.as_ref().map(|(server, _)| server.address());
        begun(Begun {
            board: Arc::clone(&board),
            http: server.as_ref().map(Server::address),
            postgres: postgres_address,
            ended: ended.clone(),
        });
        let serving = server.map(|server| {
            let engine = engine(project, &board, sender.clone(), metrics, limits.clone(), postgres_address);
            tracing::info!(address = %server.address(), "metrics and status are served over HTTP");
            tokio::spawn(server.serve(engine, ended.clone()))
        });
        if let Some((server, account)) = postgres {
            tracing::info!(address = %server.address(), "views are served over the Postgres protocol");
            tokio::spawn(server.serve(project.layout(), limits, account, ended.clone()));
        }
        let showing = {
            let (progress, board, ended) = (progress.clone(), Arc::clone(&board), ended.clone());
            tokio::spawn(async move { progress.follow(board, ended).await })
        };

        let verifying = match project.settings.verify_interval.filter(|_| work.serve) {
            Some(interval) => {
                Some(crate::verify::periodic::start(Arc::clone(project), Arc::clone(&board), interval, ended.clone())?)
            }
            None => None,
        };
        let began = Instant::now();
        let result = crate::runtime::run(RunRequest {
            project: Arc::clone(project),
            until_caught_up: work.until_caught_up,
            rebuild: work.rebuild,
            accept: work.accept,
            meet_again: work.meet_again,
            only: work.only,
            board,
            commands,
            shutdown,
        })
        .await;
        // The sender lives until here, so that a runtime without an HTTP server does not see a closed channel.
        drop(sender);
        ended.cancel();
        let _ = showing.await;
        end_of_others(verifying, serving, project.settings.shutdown_timeout).await;
        if matches!(result, Ok(Outcome::Complete)) {
            tracing::info!(seconds = began.elapsed().as_secs_f64(), "ended; everything that was applied is committed");
        }
        result
    });
    if matches!(result, Ok(Outcome::CutShort)) {
        // Threads are still at work: keep the lock until the process has ended, and do not wait for them. They leave what a kill leaves.
        std::mem::forget(guard);
        std::mem::forget(runtime);
    }
    let set_aside = board.set_aside();
    if result.is_err() {
        for one in &set_aside {
            tracing::warn!("{one}");
        }
    }
    result.map(|outcome| Told { set_aside, warnings: board.warnings(), cut_short: outcome == Outcome::CutShort })
}

/// Waits for what runs beside the engine, for a bounded time.
async fn end_of_others<V, S>(verifying: Option<JoinHandle<V>>, serving: Option<tokio::task::JoinHandle<S>>, longest: Duration) {
    let overdue = Instant::now() + longest;
    // It removes what it has copied.
    while verifying.as_ref().is_some_and(|thread| !thread.is_finished()) && Instant::now() < overdue {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if let Some(serving) = serving {
        // A client that keeps its connection open must not keep the engine from ending.
        let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    }
}

/// What queries over servers may take.
fn limits(settings: &Settings) -> Limits {
    Limits::new(settings.max_queries, settings.query_timeout, settings.query_memory.bytes())
}

/// What the HTTP server shows of a project.
fn engine(
    project: &Project,
    board: &Arc<Board>,
    commands: mpsc::Sender<crate::runtime::Command>,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
    limits: Limits,
    postgres: Option<SocketAddr>,
) -> Engine {
    let views = &project.catalog.views;
    let key = |view: &alluvium_sql::View| {
        let indexes = view.plan.root.key.iter().flatten();
        let columns = indexes.map(|index| view.plan.schema.field(*index).name().clone()).collect();
        (view.name.clone(), Key { fingerprint: view.plan.fingerprint.clone(), columns })
    };
    Engine {
        board: Arc::clone(board),
        views: views.iter().map(|view| view.name.clone()).collect(),
        commands,
        metrics,
        layout: project.layout(),
        token: project.settings.serve.http_token.clone(),
        limits,
        keys: views.iter().map(key).collect(),
        declared: Declared::of(project, postgres),
    }
}

/// Binds the server of the Postgres protocol, if there is to be one.
async fn bind_postgres(settings: &Settings) -> Result<Option<(postgres::Server, Option<postgres::Account>)>, Error> {
    let Some(address) = settings.serve.postgres else { return Ok(None) };
    let user = settings.serve.user.clone();
    let account = settings.serve.password.clone().map(|password| postgres::Account { user, password });
    Ok(Some((postgres::Server::bind(address, account.as_ref()).await?, account)))
}

/// Binds the HTTP server. If the address is the default and taken, warns and goes on without it.
async fn bind(settings: &Settings) -> Result<Option<Server>, Error> {
    let Some(address) = settings.http else { return Ok(None) };
    match Server::bind(address).await {
        Ok(server) => Ok(Some(server)),
        Err(error) if settings.http_chosen => Err(error),
        Err(error) => {
            tracing::warn!(help = error.help(), "{error}: continuing without metrics and status over HTTP");
            Ok(None)
        }
    }
}
