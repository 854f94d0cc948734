//! The engine of `alluvium dev`, from one deployment to the next.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alluvium_connectors::sink::parquet::Manifest;
use alluvium_sql::describe::summary;
use datafusion::arrow::util::display::FormatOptions;
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;
use futures::TryStreamExt;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::cli::global::print;
use crate::cli::problems;
use crate::cli::report;
use crate::cli::run::{Begun, Told, Work, run_and_show};
use crate::dev::servers::Servers;
use crate::error::Error;
use crate::progress::Progress;
use crate::project::Project;
use crate::query::compared::{Compared, compare};
use crate::query::newest::{NewestCommits, OpenCommit};
use crate::query::run::stream;
use crate::record::newest_records;
use crate::runtime::{Step, ViewChange, plan};
use crate::settings::Overrides;
use crate::status::Phase;

/// A new view that has no row for so long is said to have none.
const EMPTY: Duration = Duration::from_secs(3);

/// Where two versions have more rows than these together, they are not compared: that needs memory beside the engine's.
const COMPARED: u64 = 2_000_000;
/// The most rows that are printed of a view that is new.
const NEW: usize = 5;

/// What is deployed, and what is awaited of it.
pub(super) struct Session<'r> {
    dir: PathBuf,
    overrides: Overrides,
    /// How many rows of a difference are printed.
    rows: usize,
    beside: &'r Runtime,
    stop: CancellationToken,
    servers: Servers,
    engine: Option<Engine>,
    /// Whether an engine has run: what is wrong before ends the command.
    has_run: bool,
    /// What was printed of the addresses that are served.
    served: String,
    /// Views whose new version does not serve yet.
    awaited: BTreeMap<String, Awaited>,
}

/// An engine that runs on a thread of its own.
struct Engine {
    thread: JoinHandle<Result<Told, Error>>,
    shutdown: CancellationToken,
    begun: Begun,
    newest: NewestCommits,
}

/// A version that is to serve.
struct Awaited {
    fingerprint: String,
    key: Option<Vec<String>>,
    /// The last commit of the version before it, open.
    before: Option<Arc<OpenCommit>>,
    /// Since when a view that is new is live without a row.
    empty_since: Option<Instant>,
}

impl<'r> Session<'r> {
    pub(super) fn new(
        dir: &Path,
        overrides: Overrides,
        rows: usize,
        beside: &'r Runtime,
        stop: CancellationToken,
    ) -> Session<'r> {
        Session {
            dir: dir.to_owned(),
            overrides,
            rows,
            beside,
            stop,
            servers: Servers::default(),
            engine: None,
            has_run: false,
            served: String::new(),
            awaited: BTreeMap::new(),
        }
    }

    /// Checks the project, says what changes, and runs it. What is wrong with the files is printed, and what runs goes on. Returns the files
    /// that the project names; none where it does not load.
    pub(super) fn deploy(&mut self) -> Result<Option<Vec<PathBuf>>, Error> {
        let mut named = None;
        match self.checked(&mut named) {
            Ok((project, changes)) => {
                self.start(project, changes)?;
                Ok(named)
            }
            Err(error) => {
                report_error(&error);
                print(match &self.engine {
                    Some(_) => "nothing is deployed: the views go on as they were\n",
                    None => "nothing runs until this is mended\n",
                })?;
                Ok(named)
            }
        }
    }

    /// The project as it is saved, and what becomes of its views. Warnings about views that change are printed.
    fn checked(&mut self, named: &mut Option<Vec<PathBuf>>) -> Result<(Project, Vec<ViewChange>), Error> {
        let project = Project::load(&self.dir, &self.overrides)?;
        *named = Some(named_files(&project));
        project.connect()?;
        self.beside.block_on(project.plan())?;
        for line in self.beside.block_on(self.servers.start(&project))? {
            print(&format!("{line}\n"))?;
        }
        let records = newest_records(&project.layout())?;
        let changes = self.beside.block_on(plan(&project, &records))?;
        for change in changes.iter().filter(|change| change.step != Step::Unchanged) {
            let Some(view) = project.catalog.views.iter().find(|view| view.name == change.view) else { continue };
            let warnings = problems::of_view(view, &summary(view));
            let new = if change.committed { "" } else { "new, " };
            let lines: String = warnings.iter().map(problems::Problem::lines).collect();
            print(&format!("{}: {new}{}\n{lines}", change.view, change.step))?;
        }
        if changes.iter().all(|change| change.step == Step::Unchanged) {
            print("no view changes\n")?;
        }
        for view in records.keys().filter(|view| !project.catalog.views.iter().any(|declared| declared.name == **view)) {
            print(&format!("{view}: no SQL file declares it; its data stays until `alluvium drop {view}` removes it\n"))?;
        }
        Ok((project, changes))
    }

    /// Runs a project in place of the one before.
    fn start(&mut self, project: Project, changes: Vec<ViewChange>) -> Result<(), Error> {
        let project = Arc::new(project);
        let newest = NewestCommits::new(project.layout());
        self.await_changes(&project, changes, &newest)?;
        self.stop_engine()?;
        let shutdown = self.stop.child_token();
        let work = Work { serve: true, shutdown: Some(shutdown.clone()), ..Work::default() };
        let (tell, told) = std::sync::mpsc::channel();
        let run = move || {
            let progress = Progress::new(indicatif::MultiProgress::new(), false);
            run_and_show(&project, work, &progress, |begun| {
                let _ = tell.send(begun);
            })
        };
        let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(run);
        let thread = thread.map_err(|error| Error::unavailable(format!("starting a thread: {error}"), "see `ulimit -u`"))?;
        let Ok(begun) = told.recv() else {
            // It has ended before it began, for instance because another engine runs here.
            return match joined(thread) {
                Err(error) if self.has_run => {
                    report_error(&error);
                    Ok(())
                }
                ended => ended.map(drop),
            };
        };
        self.has_run = true;
        let served = served(&begun);
        if self.served != served {
            print(&served)?;
            self.served = served;
        }
        self.engine = Some(Engine { thread, shutdown, begun, newest });
        Ok(())
    }

    /// Notes the versions that are to serve, with the commits that they are compared with.
    fn await_changes(&mut self, project: &Project, changes: Vec<ViewChange>, newest: &NewestCommits) -> Result<(), Error> {
        self.awaited.clear();
        for change in changes {
            if matches!(change.step, Step::Unchanged | Step::Blocked { .. }) {
                continue;
            }
            let Some(view) = project.catalog.views.iter().find(|view| view.name == change.view) else { continue };
            let before = if change.committed { self.beside.block_on(newest.of(&change.view))? } else { None };
            let awaited =
                Awaited { fingerprint: view.plan.fingerprint.clone(), key: summary(view).key, before, empty_since: None };
            self.awaited.insert(change.view, awaited);
        }
        Ok(())
    }

    /// Prints what awaited views have become, and the end of an engine that was not told to end.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        if self.engine.as_ref().is_some_and(|engine| engine.thread.is_finished()) && !self.stop.is_cancelled() {
            self.awaited.clear();
            if let Some(engine) = self.engine.take() {
                match joined(engine.thread) {
                    Ok(_) => print("the engine has ended: nothing is left to run\n")?,
                    Err(error) => report_error(&error),
                }
                print("it starts again when a file is saved\n")?;
            }
            return Ok(());
        }
        let Some(engine) = &self.engine else { return Ok(()) };
        let mut told = Vec::new();
        for (view, awaited) in &mut self.awaited {
            match self.beside.block_on(awaited.look(engine, view, self.rows)) {
                Ok(None) => continue,
                Ok(Some(text)) => print(&text)?,
                // The view serves all the same.
                Err(error) => report_error(&error),
            }
            told.push(view.clone());
        }
        told.iter().for_each(|view| drop(self.awaited.remove(view)));
        Ok(())
    }

    fn stop_engine(&mut self) -> Result<(), Error> {
        let Some(engine) = self.engine.take() else { return Ok(()) };
        engine.shutdown.cancel();
        match joined(engine.thread) {
            Ok(told) if told.cut_short => Err(Error::unavailable(
                "the engine did not end within `shutdown_timeout`, and still works on the data folder",
                "run `alluvium dev` again: all commits are whole",
            )),
            Ok(_) => Ok(()),
            // It may have failed since the last look; the next one starts all the same.
            Err(error) => {
                report_error(&error);
                Ok(())
            }
        }
    }

    /// Ends the engine, and then the servers.
    pub(super) fn end(mut self) -> Result<(), Error> {
        match self.engine.take() {
            Some(engine) => {
                engine.shutdown.cancel();
                joined(engine.thread).map(drop)
            }
            None => Ok(()),
        }
    }
}

impl Awaited {
    /// Says what has become of the view; nothing yet while it is being built.
    async fn look(&mut self, engine: &Engine, view: &str, rows: usize) -> Result<Option<String>, Error> {
        let status = engine.begun.board.all().into_iter().find(|status| status.view == view);
        let wrong =
            status.as_ref().and_then(|status| status.rebuild_error.as_ref().or(status.error.as_ref()).or(status.held.as_ref()));
        if let Some(reason) = wrong {
            return Ok(Some(format!("{view}: {reason}\n")));
        }
        let Some(now) = engine.newest.of(view).await? else { return Ok(None) };
        if now.manifest.fingerprint != self.fingerprint {
            self.before = Some(now);
            return Ok(None);
        }
        match &self.before {
            Some(before) if before.manifest.rows + now.manifest.rows > COMPARED => Ok(Some(format!(
                "{view}: the new version serves; {} rows before, {} now, too many to compare\n",
                before.manifest.rows, now.manifest.rows
            ))),
            Some(before) => {
                let compared = compare(before, &now, self.key.as_deref(), rows).await?;
                Ok(Some(difference(view, &compared, &before.manifest, &now.manifest)))
            }
            None if !status.is_some_and(|status| status.phase == Phase::Live) => Ok(None),
            // A file has no end that is known, so a view is live before its first rows are committed.
            None if now.manifest.rows == 0 && self.empty_since.get_or_insert_with(Instant::now).elapsed() < EMPTY => Ok(None),
            None => first_rows(view, &now, rows).await.map(Some),
        }
    }
}

/// The rows in which two versions differ.
fn difference(view: &str, compared: &Compared, before: &Manifest, after: &Manifest) -> String {
    let came: u64 = after
        .offsets
        .iter()
        .map(|(source, offset)| offset.saturating_sub(before.offsets.get(source).copied().unwrap_or_default()))
        .sum();
    let meanwhile = if came == 0 { String::new() } else { format!("; {came} events came meanwhile") };
    if compared.is_same() {
        return format!("{view}: the new version serves, and has the same rows ({}{meanwhile})\n", after.rows);
    }
    let Compared { added, removed, changed, .. } = compared;
    let mut text = format!(
        "{view}: rows: {added} added, {removed} removed, {changed} changed; {} before, {} now{meanwhile}\n",
        before.rows, after.rows
    );
    compared.columns.iter().chain(&compared.rows).for_each(|line| text.push_str(&format!("  {line}\n")));
    if compared.more > 0 {
        text.push_str(&format!("  ... and {} more\n", compared.more));
    }
    text
}

/// The first rows of a view that is new.
async fn first_rows(view: &str, commit: &OpenCommit, rows: usize) -> Result<String, Error> {
    let first = commit.rows(|_| true).await?.limit(0, Some(rows.min(NEW)))?;
    let batches: Vec<_> = stream(first, None).await?.try_collect().await?;
    let table = match pretty_format_batches_with_options(&batches, &FormatOptions::default().with_null("NULL")) {
        Ok(table) if !batches.is_empty() => format!("{table}\n"),
        _ => String::new(),
    };
    let count = if commit.manifest.rows == 1 { "1 row".to_owned() } else { format!("{} rows", commit.manifest.rows) };
    Ok(format!("{view}: {count}\n{table}"))
}

/// The schemas that sources name.
fn named_files(project: &Project) -> Vec<PathBuf> {
    let schemas = project.sources.values().filter_map(|source| source.options.get("schema"));
    schemas.flat_map(|files| files.split(',')).map(|file| project.dir.join(file.trim())).collect()
}

fn served(begun: &Begun) -> String {
    let http = begun.http.map(|address| format!("status and views at http://{address}\n"));
    let postgres = begun.postgres.map(|address| format!("views over the Postgres protocol at {address}\n"));
    http.into_iter().chain(postgres).collect()
}

fn joined(thread: JoinHandle<Result<Told, Error>>) -> Result<Told, Error> {
    thread.join().unwrap_or_else(|_| Err(Error::bug("the engine's thread has panicked")))
}

/// Prints an error as each command does.
fn report_error(error: &Error) {
    let text = report::render(error, report::Style::of_stderr());
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}
