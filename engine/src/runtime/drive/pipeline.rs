//! A pipeline: the operators of views that read each other, their positions, and how events go through them.
//!
//! A pipeline knows no channel: the [driver](super) feeds it and decides when to commit. `assemble` builds pipelines, and
//! `runtime::commit` commits them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_connectors::dead_letters::DeadLetter;
use alluvium_connectors::sink::parquet::ParquetSink;
use alluvium_connectors::sink::{self, Sink, SinkWriter, Size, Staged, Token, ViewRows};
use alluvium_connectors::{Batch, Position};
use alluvium_projections::{Delta, Projection};
use alluvium_sql::View;

use super::aside::{Aside, CRASH};
use super::tallies::{Tallies, concerns};
use crate::error::Error;
use crate::record::{Definition, Record, dead_letter_key};
use crate::runtime::commit::failpoint;
use crate::runtime::commit::state_files::StateFiles;
use crate::runtime::component::{Component, sources_read, views_read};
use crate::runtime::panics;
use crate::runtime::shared::Shared;

/// One running view of a pipeline.
pub(crate) struct Member {
    pub(crate) view: View,
    pub(crate) projection: Projection,
    pub(crate) sink: ParquetSink,
    pub(crate) writer: Box<dyn SinkWriter>,
    pub(crate) state: StateFiles,
    pub(crate) incarnation: String,
    /// The last token of the sink, staged or recorded; `None` before the first.
    pub(crate) token: Option<Token>,
    pub(crate) size: Size,
    pub(crate) tallies: Tallies,
    /// What records say of its SQL.
    pub(crate) definition: Option<Definition>,
}

impl Member {
    /// Whether the view reads the source directly and, with `only`, is one of those views.
    pub(super) fn reads(&self, source: &str, only: Option<&BTreeSet<String>>) -> bool {
        only.is_none_or(|only| only.contains(&self.view.name)) && sources_read(&self.view).any(|name| name == source)
    }

    /// Starts a view from nothing.
    ///
    /// # Errors
    /// The plan cannot run, Parquet cannot hold a column, or the disk fails.
    pub(crate) async fn new(shared: &Shared, view: &View) -> Result<Member, Error> {
        let incarnation = new_incarnation(shared, view);
        let sink = shared.sink(&view.name);
        Ok(Member {
            projection: Projection::new(&view.plan).await.map_err(|error| Error::projection(view, error))?,
            writer: sink.writer(&view_rows(view), None)?,
            sink,
            state: StateFiles::create(shared.layout().state(&view.name, &incarnation))?,
            incarnation,
            token: None,
            size: Size::default(),
            tallies: match shared.store().record(&view.name)? {
                Some(served) => Tallies::beside(&served.tallies),
                None => Tallies::new(),
            },
            definition: Definition::of(shared.project(), view),
            view: view.clone(),
        })
    }

    /// Restores a view from the record of a commit. With `copy`, its state files are linked into a new incarnation, so that a second
    /// run of the same operators can work beside the first.
    ///
    /// # Errors
    /// As [`Member::new`], and where files are missing or damaged.
    pub(crate) async fn restore(shared: &Shared, view: &View, record: &Record, copy: bool) -> Result<Member, Error> {
        let incarnation = if copy { new_incarnation(shared, view) } else { record.incarnation.clone() };
        let folder = shared.layout().state(&view.name, &incarnation);
        if copy {
            StateFiles::link(&shared.layout().state(&view.name, &record.incarnation), &folder, &record.state)
                .map_err(|error| state_error(view, error))?;
        }
        let (state, tables) = StateFiles::open(folder, &record.state).map_err(|error| state_error(view, error))?;
        let mut projection = Projection::new(&view.plan).await.map_err(|error| Error::projection(view, error))?;
        projection.restore(tables).map_err(|error| Error::projection(view, error))?;
        let sink = shared.sink(&view.name);
        let writer = sink.writer(&view_rows(view), Some(&record.sink))?;
        let (token, size) = (Some(record.sink.clone()), record.size);
        let tallies = Tallies::recorded(record.tallies.clone());
        let (view, definition) = (view.clone(), Definition::of(shared.project(), view));
        Ok(Member { view, projection, sink, writer, state, incarnation, token, size, tallies, definition })
    }

    /// Takes the token and the size of what the sink staged.
    pub(crate) fn stage(&mut self, staged: Staged) {
        self.token = Some(staged.token);
        self.size = staged.size;
    }
}

/// Views that are committed together, and their positions.
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    component: Component,
    /// Each view follows those that it reads.
    members: Vec<Member>,
    /// By source: the position after the last batch that was applied.
    positions: BTreeMap<String, Position>,
    /// The epoch of the last commit; 0 before the first.
    epoch: u64,
    /// The dead letters of the batches since the last commit.
    letters: Vec<DeadLetter>,
    /// By source: when the newest applied event was stored, in nanoseconds since the Unix epoch.
    newest_ns: BTreeMap<String, i64>,
    /// Events that are kept from views, since the program panics on them.
    aside: Aside,
}

impl Pipeline {
    /// Makes a pipeline of members that have applied all events before `positions` and were last committed at `epoch`.
    pub(super) fn of(
        shared: Arc<Shared>,
        component: Component,
        members: Vec<Member>,
        positions: BTreeMap<String, Position>,
        epoch: u64,
    ) -> Pipeline {
        Pipeline {
            shared,
            component,
            members,
            positions,
            epoch,
            letters: Vec::new(),
            newest_ns: BTreeMap::new(),
            aside: Aside::default(),
        }
    }

    /// What all pipelines share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Its views and what they read.
    pub(crate) fn component(&self) -> &Component {
        &self.component
    }

    /// The pipeline's name: that of its first view.
    pub(crate) fn name(&self) -> &str {
        self.component.name()
    }

    /// The names of its views.
    pub(crate) fn views(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.view.name.as_str())
    }

    /// Its members, each after those that it reads.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn members_mut(&mut self) -> &mut [Member] {
        &mut self.members
    }

    /// The position after the last applied batch of a source.
    pub(crate) fn position(&self, source: &str) -> Option<&Position> {
        self.positions.get(source)
    }

    /// The position after the last applied batch, by source.
    pub(crate) fn positions(&self) -> &BTreeMap<String, Position> {
        &self.positions
    }

    /// Sets the position at which reading of a source begins.
    pub(crate) fn begin_at(&mut self, source: &str, position: Position) {
        self.positions.insert(source.to_owned(), position);
    }

    /// The epoch of the last commit; 0 before the first.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Notes that this epoch is committed.
    pub(crate) fn advance_to(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// Takes the dead letters since the last commit. The caller has to keep them from now on.
    pub(crate) fn take_letters(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.letters)
    }

    /// Counts the dead letters since the last commit that are about a view. Another view may have kept some of them before.
    pub(crate) fn letters_about(&self, view: &str) -> u64 {
        self.letters.iter().filter(|letter| concerns(letter, view)).count() as u64
    }

    /// The dead letters since the last commit.
    pub(super) fn letters(&self) -> &[DeadLetter] {
        &self.letters
    }

    /// Adds dead letters, which the next commit keeps.
    pub(crate) fn add_letters(&mut self, letters: impl IntoIterator<Item = DeadLetter>) {
        self.letters.extend(letters);
    }

    /// By source: when the newest applied event was stored, in nanoseconds since the Unix epoch.
    pub(crate) fn newest_ns(&self) -> &BTreeMap<String, i64> {
        &self.newest_ns
    }

    /// Applies a batch of one source to every view that reads it. `columns` are the indices of the source's columns that the batch carries.
    ///
    /// # Errors
    /// An operator fails, or a view has set aside more than it may. The caller has to drop the pipeline then.
    pub(crate) async fn apply(&mut self, source: &str, columns: &[usize], batch: &Batch) -> Result<(), Error> {
        let before = self.letters.len();
        self.push(source, columns, batch, None).await?;
        self.applied(source, batch, before)
    }

    /// Adds the dead letters of a batch: one for each event that did not decode, and one for each value that does not fit a column that
    /// a view reads. With `only`, just the columns of those views count.
    pub(super) fn add_letters_of(&mut self, source: &str, batch: &Batch, only: Option<&BTreeSet<String>>) {
        self.letters.extend(batch.dead_letters.iter().cloned());
        // By marked column: its name and the views that read it; `None` if no view of this pipeline does.
        let mut columns: BTreeMap<usize, Option<(String, String)>> = BTreeMap::new();
        for unfit in &batch.unfit {
            let concerned = columns.entry(unfit.column).or_insert_with(|| self.concerned(source, unfit.column, only));
            if let Some((column, views)) = concerned {
                self.letters.push(batch.unfit_letter(source, column, views, unfit));
            }
        }
    }

    /// Returns the name of a source's column and all declared views that read it, or `None` if no view of this pipeline does.
    fn concerned(&self, source: &str, column: usize, only: Option<&BTreeSet<String>>) -> Option<(String, String)> {
        let reads = |view: &View| view.plan.columns_read.contains(source, column);
        let wanted = |view: &View| only.is_none_or(|only| only.contains(&view.name));
        self.members.iter().find(|member| wanted(&member.view) && reads(&member.view))?;
        let views = self.shared.project().catalog.views.iter().filter(|view| reads(view)).map(|view| view.name.as_str());
        let name = self.shared.source(source)?.declared.fields().get(column)?.name().clone();
        Some((name, views.collect::<Vec<_>>().join(", ")))
    }

    /// Books a batch that was pushed: its letters, tallies and position. There were `before` letters before it.
    fn applied(&mut self, source: &str, batch: &Batch, before: usize) -> Result<(), Error> {
        self.add_letters_of(source, batch, None);
        self.tally(source, batch, None, before)?;
        if let Some(newest) = batch.newest_ns {
            self.newest_ns.insert(source.to_owned(), newest);
        }
        self.positions.insert(source.to_owned(), batch.position.clone());
        Ok(())
    }

    /// Keeps events that this run has found from all views that read their source.
    pub(super) fn set_aside(&mut self, events: &BTreeMap<String, BTreeSet<u64>>) {
        for (source, sequences) in events {
            for member in self.members.iter().filter(|member| member.reads(source, None)) {
                sequences.iter().for_each(|sequence| self.aside.add(source, *sequence, &member.view.name));
            }
        }
    }

    /// Keeps from each view the events that earlier commits of its present version recorded.
    pub(super) fn remember_aside(mut self) -> Result<Pipeline, Error> {
        for member in &self.members {
            let version = Some((member.view.name.as_str(), member.view.plan.fingerprint.as_str()));
            for source in sources_read(&member.view) {
                let key = dead_letter_key(source, version);
                if !self.shared.meets_again(&key) {
                    self.aside.remember(source, &member.view.name, &self.shared.store().crashed(&key)?);
                }
            }
        }
        Ok(self)
    }

    /// Pushes a batch's rows into the views that read the source; with `only`, just into those. Events that are kept from a view become
    /// its dead letters.
    pub(super) async fn push(
        &mut self,
        source: &str,
        columns: &[usize],
        batch: &Batch,
        only: Option<&BTreeSet<String>>,
    ) -> Result<(), Error> {
        let kept_out = self.aside.within(source, batch);
        if kept_out.is_empty() {
            return self.push_rows(source, columns, batch, only).await;
        }
        let mut rest = batch.clone();
        for (sequence, row, views) in kept_out {
            self.push_rows(source, columns, &rest.until(sequence), only).await?;
            let wanted = |view: &str| only.is_none_or(|only| only.contains(view));
            let others = self.views().filter(|view| wanted(view) && !views.contains(*view)).map(str::to_owned).collect();
            self.push_rows(source, columns, &rest.since(sequence).until(sequence + 1), Some(&others)).await?;
            rest = rest.since(sequence + 1);
            self.letters.extend(views.iter().filter(|view| wanted(view)).map(|view| {
                let error = "the program panics on it".to_owned();
                DeadLetter { kind: CRASH, ..batch.message_letter(source, view, row, error) }
            }));
        }
        self.push_rows(source, columns, &rest, only).await
    }

    /// Pushes to each view the rows whose values fit all columns that the view reads.
    async fn push_rows(
        &mut self,
        source: &str,
        columns: &[usize],
        batch: &Batch,
        only: Option<&BTreeSet<String>>,
    ) -> Result<(), Error> {
        let (Some(first), Some(last)) = (batch.sequences.values().first(), batch.sequences.values().last()) else {
            return Ok(());
        };
        if only.is_some_and(BTreeSet::is_empty) {
            return Ok(());
        }
        panics::take_in_hand(source, *first..last + 1);
        for member in self.members.iter_mut().filter(|member| member.reads(source, only)) {
            let fitting = batch.fitting(|column| member.view.plan.columns_read.contains(source, column))?;
            failpoint::pass_events(&member.view.name, fitting.sequences.values());
            let delta = Delta { rows: fitting.rows.clone(), weights: fitting.weights.clone() };
            let rejected =
                member.projection.push(source, columns, &delta).await.map_err(|error| Error::projection(&member.view, error))?;
            for row in rejected {
                self.letters.push(fitting.expression_letter(source, &member.view.name, row.row, row.error));
            }
        }
        Ok(())
    }

    /// Ends an epoch and returns each view's net changes, in the order of the members. A view receives the changes of the views that it
    /// reads before it is flushed. With `only`, the other views are neither flushed nor fed.
    ///
    /// # Errors
    /// As [`Pipeline::apply`].
    pub(crate) async fn flush(&mut self, only: Option<&BTreeSet<String>>) -> Result<Vec<Vec<sink::Delta>>, Error> {
        let takes_part = |member: &Member| only.is_none_or(|only| only.contains(&member.view.name));
        let mut all = Vec::with_capacity(self.members.len());
        for index in 0..self.members.len() {
            let (done, rest) = self.members.split_at_mut(index + 1);
            let Some(member) = done.last_mut() else { continue };
            if !takes_part(member) {
                all.push(Vec::new());
                continue;
            }
            let deltas = member.projection.flush().await.map_err(|error| Error::projection(&member.view, error))?;
            let name = &member.view.name;
            for reader in rest.iter_mut().filter(|reader| takes_part(reader) && views_read(&reader.view).any(|read| read == name))
            {
                for delta in &deltas {
                    push_upstream(reader, &member.view, delta).await?;
                }
            }
            all.push(deltas.into_iter().map(|delta| sink::Delta { rows: delta.rows, weights: delta.weights }).collect());
        }
        Ok(all)
    }
}

/// Pushes a view's changes into a view that reads it. A row on which the reader's expressions fail is left out there and counted: it has
/// no sequence that a dead letter could name.
pub(super) async fn push_upstream(reader: &mut Member, upstream: &View, delta: &Delta) -> Result<(), Error> {
    let columns: Vec<usize> = (0..upstream.plan.schema.fields().len()).collect();
    reader.projection.push(&upstream.name, &columns, delta).await.map_err(|error| Error::projection(&reader.view, error))?;
    Ok(())
}

fn state_error(view: &View, error: alluvium_connectors::Error) -> Error {
    match error {
        alluvium_connectors::Error::Corrupt { .. } => Error::corrupt(
            format!("view {}: {error}", view.name),
            format!(
                "`alluvium rebuild {}` rebuilds the view from the first event; its last commit can be read meanwhile",
                view.name
            ),
        ),
        other => other.into(),
    }
}

/// What a view's sink has to know about its rows.
fn view_rows(view: &View) -> ViewRows {
    let root = &view.plan.root;
    ViewRows { schema: view.plan.schema.clone(), retracts: root.retracts, key: root.key.clone().unwrap_or_default() }
}

/// Makes a name, never used before, for a run of a view's operators. The time tells two runs of one version apart.
fn new_incarnation(shared: &Shared, view: &View) -> String {
    let now = shared.surroundings().now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos();
    format!("{}-{now:x}", &view.plan.fingerprint[..view.plan.fingerprint.len().min(8)])
}
