//! The commit of an epoch. The order of its steps makes it safe to be killed at any moment.
//!
//! 1. Write new state batches and changed parts under names never used before, and sync them. A crash leaves files that nothing
//!    names, and the next start removes them.
//! 2. Write the records to sled in one synced write. This is the commit.
//! 3. Publish the JSON twins, the dead letters and the snapshots. After a crash here, the next start repeats this step.
//! 4. Remove files that no kept snapshot names.

pub(super) mod failpoint;
mod letters;
pub(super) mod state_files;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use alluvium_connectors::dead_letters::DeadLetter;
use alluvium_connectors::durable;
use alluvium_connectors::sink::parquet::ParquetSink;
use alluvium_connectors::sink::{CommitFacts, Delta, Sink, Staged, Token};
use alluvium_projections::LeftOut;
use alluvium_sql::{OnError, View};

use super::component::sources_read;
use super::drive::pipeline::{Member, Pipeline};
use super::rebuilder::{Held, Rebuilder};
use super::shared::Shared;
use crate::error::Error;
use crate::layout::Layout;
use crate::project::Project;
use crate::record::{FORMAT, Record, Write, newest_records};
use crate::status::{Committed, CommittedView, KeptLetter};

impl Member {
    /// Writes the state and stages the rows of an epoch. Returns the view's part of the report on the commit.
    fn commit(&mut self, epoch: u64, changes: &[Delta], left_out: LeftOut) -> Result<CommittedView, Error> {
        let (state_written, staged) = self.write(epoch, changes)?;
        let view_written = staged.written_bytes;
        self.stage(staged);
        let (state_rows, state_bytes) = self.projection.state_size();
        Ok(CommittedView {
            view: self.view.name.clone(),
            rows: self.size.rows,
            parts: self.size.parts,
            bytes: self.size.bytes,
            state_rows,
            state_bytes,
            state_written,
            view_written,
            dead_letters: 0,
            left_out,
            read: self.tallies.take_since_commit(),
            tallies: self.tallies.all.clone(),
        })
    }

    /// Writes the state and stages the rows of an epoch in parallel: both wait for the disk, and large ones keep a core busy each.
    /// Returns the bytes of state written, and what the sink staged.
    fn write(&mut self, epoch: u64, changes: &[Delta]) -> Result<(u64, Staged), Error> {
        let checkpoint = self.projection.checkpoint();
        let (state, writer) = (&mut self.state, &mut self.writer);
        let mut write_state = || {
            let written = state.write(epoch, &checkpoint);
            failpoint::pass("after_state");
            written
        };
        if checkpoint.iter().all(|table| table.added.is_empty()) {
            return Ok((write_state()?, writer.prepare(epoch, changes).map_err(|error| damaged_view(&self.view, error))?));
        }
        let (state, staged) = thread::scope(|scope| {
            let name = thread::current().name().unwrap_or("state").to_owned();
            let state = thread::Builder::new().name(name).spawn_scoped(scope, write_state);
            let staged = writer.prepare(epoch, changes);
            (state.map(thread::ScopedJoinHandle::join), staged)
        });
        let state = state.map_err(|error| {
            Error::unavailable(format!("starting a thread that writes state: {error}"), "see the limits of this user (ulimit -u)")
        })?;
        let state = state.map_err(|_| Error::bug("the thread that writes state panicked"))?;
        Ok((state?, staged.map_err(|error| damaged_view(&self.view, error))?))
    }
}

/// Damage of a view's files is the matter of that view.
fn damaged_view(view: &View, error: alluvium_connectors::Error) -> Error {
    match error {
        alluvium_connectors::Error::Corrupt { .. } => Error::corrupt(
            format!("view {}: {error}", view.name),
            format!("`alluvium rebuild {}` makes it anew from the first event; `alluvium doctor` checks all files", view.name),
        ),
        other => other.into(),
    }
}

/// Options of a commit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CommitOptions<'a> {
    /// This commit ends the rebuild of the pipeline's views.
    pub(crate) ends_rebuild: bool,
    /// The rebuild that may run beside this pipeline. The files with which it begins stay.
    pub(super) beside: Option<&'a Rebuilder>,
}

impl Pipeline {
    /// Flushes the operators, commits their changes, and reports on the commit.
    ///
    /// # Errors
    /// An operator, the disk or sled fails. The caller has to drop the pipeline then; the last commit stays whole.
    pub(crate) async fn commit(&mut self, options: CommitOptions<'_>) -> Result<Committed, Error> {
        let mut steps = Steps::begin();
        // A commit that does not fit fails before it sweeps.
        if durable::is_nearly_full(self.shared().layout().root()) {
            self.sweep(options)?;
        }
        let changes = self.flush(None).await?;
        steps.done("flush");
        let epoch = self.epoch() + 1;

        let left_out = self.left_out(options)?;
        failpoint::pass("before_state");
        let mut views = Vec::with_capacity(changes.len());
        for ((member, changes), left_out) in self.members_mut().iter_mut().zip(&changes).zip(left_out) {
            views.push(member.commit(epoch, changes, left_out)?);
        }
        failpoint::pass("after_parts");
        steps.done("state and parts");

        for (view, member) in views.iter_mut().zip(self.members()) {
            view.dead_letters = self.letters_about(&member.view.name);
        }
        let (records, letters) = self.record(epoch, options)?;
        failpoint::pass("after_commit");
        steps.done("record");
        self.advance_to(epoch);
        self.shared().store().write_twins(&records)?;
        failpoint::pass("after_twin");
        for (member, record) in self.members().iter().zip(&records) {
            member.sink.publish(&record.commit, &record.sink)?;
        }
        failpoint::pass("after_publish");
        steps.done("publish");
        self.sweep(options)?;
        steps.done("sweep");

        tracing::debug!(pipeline = self.name(), epoch, %steps, "committed");
        Ok(Committed {
            epoch,
            committed_ms: records.first().map_or(0, |record| record.commit.committed_ms),
            took: steps.began.elapsed(),
            offsets: self.positions().iter().map(|(source, position)| (source.clone(), position.offset)).collect(),
            newest_ns: self.newest_ns().clone(),
            views,
            dead_letters: letters
                .into_iter()
                .map(|letter| KeptLetter { source: letter.source, view: letter.view, kind: letter.kind })
                .collect(),
        })
    }

    /// What each view has left out since the last commit.
    ///
    /// # Errors
    /// A view of which nothing may be left out.
    fn left_out(&mut self, options: CommitOptions<'_>) -> Result<Vec<LeftOut>, Error> {
        let shared = Arc::clone(self.shared());
        let mut all = Vec::new();
        for member in self.members_mut() {
            let left_out = member.projection.take_left_out().unwrap_or_default();
            let on_error = || shared.project().tolerance(&member.view, sources_read(&member.view)).on_error;
            // What a rebuild has left out, the version that it replaces had left out before.
            if left_out.rows > 0 && !options.ends_rebuild && on_error() == OnError::Stop {
                let error = left_out.first_error.unwrap_or_default();
                return Err(Error::config(
                    format!("view {}: an expression fails on a row, and on_error is 'stop': {error}", member.view.name),
                    "guard the expression, for instance with TRY_CAST, NULLIF or CASE, or have such rows left out with on_error = 'dead_letter'",
                ));
            }
            all.push(left_out);
        }
        Ok(all)
    }

    /// Stages the dead letters, writes the records, and publishes the dead letters. Returns the records and the letters.
    fn record(&mut self, epoch: u64, options: CommitOptions<'_>) -> Result<(Vec<Record>, Vec<DeadLetter>), Error> {
        let letters = self.take_letters();
        // One lock spans staging and commit, so that two pipelines that read one source do not both keep a letter.
        let crashed = self.crashed(&letters, options.ends_rebuild)?;
        let writer = if letters.is_empty() { None } else { Some(self.shared().dead_letters()) };
        let mut dead_letter_offsets = BTreeMap::new();
        let mut staged = Vec::new();
        let mut kept = Vec::new();
        if let Some(writer) = &writer {
            kept = self.not_yet_kept(writer, letters, &mut dead_letter_offsets)?;
            if !kept.is_empty() {
                staged = writer.stage(&kept)?;
            }
        }
        failpoint::pass("after_dead_letters");
        let records = self.records(epoch, &staged)?;
        let rebuilds_done = if options.ends_rebuild { self.views().map(str::to_owned).collect() } else { Vec::new() };
        self.shared().store().write(&Write { records: records.clone(), dead_letter_offsets, crashed, rebuilds_done })?;
        if let Some(writer) = &writer {
            writer.publish(&staged)?;
        }
        drop(writer);
        Ok((records, kept))
    }

    /// Makes the records of this commit, one for each view. The first one names the staged dead letters.
    fn records(&self, epoch: u64, staged: &[String]) -> Result<Vec<Record>, Error> {
        let committed_ms = milliseconds(self.shared().surroundings().now());
        let names: Vec<String> = self.views().map(str::to_owned).collect();
        let mut records = Vec::with_capacity(names.len());
        for (index, member) in self.members().iter().enumerate() {
            let view = &member.view.name;
            let offset = |source: String| self.position(&source).map(|position| position.offset).map(|offset| (source, offset));
            let commit = CommitFacts {
                view: view.clone(),
                epoch,
                offsets: self.component().sources_behind(view).into_iter().filter_map(offset).collect(),
                fingerprint: member.view.plan.fingerprint.clone(),
                committed_ms,
                committed_with: names.clone(),
            };
            records.push(Record {
                format: FORMAT,
                view: view.clone(),
                epoch,
                incarnation: member.incarnation.clone(),
                fingerprint: member.view.plan.fingerprint.clone(),
                positions: self.positions().clone(),
                state: member.state.records(),
                commit,
                sink: member.token.clone().ok_or_else(|| Error::bug(format!("view {view} is committed without a token")))?,
                size: member.size,
                dead_letters: if index == 0 { staged.to_vec() } else { Vec::new() },
                tallies: member.tallies.all.clone(),
                definition: member.definition.clone(),
            });
        }
        Ok(records)
    }

    fn sweep(&self, options: CommitOptions<'_>) -> Result<(), Error> {
        for member in self.members() {
            // Asked now, and not before the commit: a rebuild may have begun meanwhile.
            let held = match options.beside.map_or(Held::Nothing, |beside| beside.holds(&member.view.name)) {
                Held::Nothing => None,
                Held::Record(record) => Some(record),
                Held::Everything => continue,
            };
            member.state.sweep(held.as_ref().map_or(&[], |record| &record.state))?;
            let kept: Vec<&Token> = member.token.iter().chain(held.as_ref().map(|record| &record.sink)).collect();
            member.sink.sweep(&kept, self.shared().surroundings().now())?;
        }
        Ok(())
    }
}

/// The duration of each step of a commit, for the log.
struct Steps {
    began: Instant,
    last: Instant,
    took: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn begin() -> Steps {
        let now = Instant::now();
        Steps { began: now, last: now, took: Vec::new() }
    }

    /// Ends a step, which began when the previous one ended.
    fn done(&mut self, step: &'static str) {
        let now = Instant::now();
        self.took.push((step, now - self.last));
        self.last = now;
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (step, took)) in self.took.iter().enumerate() {
            write!(f, "{}{step} {:.1} ms", if index > 0 { ", " } else { "" }, took.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

/// Publishes a recorded commit again: its pipeline may have failed between commit and publication.
///
/// # Errors
/// The disk fails, or [`alluvium_connectors::Error::Corrupt`] if recorded files are gone.
pub(super) fn show_again(shared: &Shared, record: &Record) -> Result<(), Error> {
    Ok(shared.sink(&record.view).publish(&record.commit, &record.sink)?)
}

/// Publishes a recorded commit again and removes what a crash left beside it. Only for the start, while nothing writes there.
///
/// # Errors
/// As [`show_again`].
pub(super) fn repair(shared: &Shared, record: &Record) -> Result<(), Error> {
    shared.sink(&record.view).recover(&record.commit, &record.sink)?;
    sweep_incarnations(&shared.layout().states(&record.view), &record.incarnation)
}

/// Where the disk is nearly full, removes old snapshots of declared views that are `idle`: nothing writes or rebuilds them. To be called before
/// anything is written: a full disk would refuse the database, and no commit could sweep. What fails here is met and reported when the views
/// are repaired.
pub(super) fn make_room(layout: &Layout, project: &Project, idle: impl Fn(&str) -> bool) {
    if !durable::is_nearly_full(layout.root()) {
        return;
    }
    let declared = |view: &str| project.catalog.views.iter().any(|declared| declared.name == view);
    let records = newest_records(layout).unwrap_or_default();
    for (view, record) in records.iter().filter(|(view, _)| declared(view) && idle(view)) {
        let sink = ParquetSink::new(layout.view(view), project.retention(view));
        if let Err(error) = sink.sweep(&[&record.sink], SystemTime::now()) {
            tracing::warn!(view, %error, "the disk is nearly full, and old snapshots cannot be removed");
        }
    }
}

/// Removes the state of every incarnation of a view except `keep`.
///
/// # Errors
/// The disk fails.
pub(super) fn sweep_incarnations(folder: &Path, keep: &str) -> Result<(), Error> {
    let failed = |action, error| Error::Connector(alluvium_connectors::Error::Io { action, path: folder.to_path_buf(), error });
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("reading", error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failed("reading", error))?;
        if *entry.file_name() != *keep {
            std::fs::remove_dir_all(entry.path()).map_err(|error| failed("removing", error))?;
        }
    }
    Ok(())
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
