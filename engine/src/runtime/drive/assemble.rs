//! Builds pipelines: from nothing, from a checkpoint, or for a rebuild.
//!
//! A rebuild runs a whole component beside the one that serves. The views to rebuild begin with the first event that the stream still
//! has. The others continue from their checkpoints, so that they keep events that the stream no longer holds. [`Pipeline::align`]
//! brings both to one position before they go on together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use alluvium_connectors::source::{Read, Start};
use alluvium_connectors::{Batch, Position};
use alluvium_projections::Delta;

use super::pipeline::{Member, Pipeline, push_upstream};
use crate::error::Error;
use crate::record::Record;
use crate::runtime::changes::losses::Guard;
use crate::runtime::component::{Component, views_read};
use crate::runtime::shared::Shared;

/// How many events to read between two flushes while views are brought to one position.
const ALIGN_EVENTS: u64 = 1_000_000;

impl Pipeline {
    /// Builds the pipeline of a component that has no record.
    ///
    /// # Errors
    /// As [`Member::new`].
    pub(crate) async fn new(shared: Arc<Shared>, component: Component) -> Result<Pipeline, Error> {
        let mut members = Vec::new();
        for view in &component.views {
            members.push(Member::new(&shared, view).await?);
        }
        Pipeline::of(shared, component, members, BTreeMap::new(), 0).remember_aside()
    }

    /// Restores the pipeline of a component whose views were all committed together.
    ///
    /// # Errors
    /// As [`Member::restore`].
    pub(crate) async fn restore(
        shared: Arc<Shared>,
        component: Component,
        records: &BTreeMap<String, Record>,
    ) -> Result<Pipeline, Error> {
        let mut members = Vec::new();
        let mut positions = BTreeMap::new();
        let mut epoch = 0;
        for view in &component.views {
            let record = records.get(&view.name).ok_or_else(|| Error::bug(format!("view {} has no record", view.name)))?;
            members.push(Member::restore(&shared, view, record, false).await?);
            positions.extend(record.positions.clone());
            epoch = epoch.max(record.epoch);
        }
        let sources = component.sources();
        positions.retain(|source, _| sources.contains(source));
        Pipeline::of(shared, component, members, positions, epoch).remember_aside()
    }

    /// A component of which the views that `guard` says are made anew begin at the first event, and the others where their records say.
    ///
    /// # Errors
    /// As [`Member::new`] and [`Member::restore`], those of the sources that have to be read, and those of the guard.
    /// [`Unavailable`](crate::error::Kind::Unavailable) if a record is no longer the last one of its view, and its files are gone.
    pub(crate) async fn rebuild(
        shared: Arc<Shared>,
        component: Component,
        records: &BTreeMap<String, Record>,
        guard: &Guard,
    ) -> Result<Pipeline, Error> {
        guard.check(&component, &shared).await?;
        let anew = &guard.anew;
        let mut members = Vec::new();
        let mut kept = Vec::new();
        for view in &component.views {
            match records.get(&view.name).filter(|_| !anew.contains(&view.name)) {
                Some(record) => {
                    let restored = Member::restore(&shared, view, record, true).await;
                    is_current(&shared, record)?;
                    members.push(restored?);
                    kept.push((view.name.clone(), record.positions.clone()));
                }
                None => members.push(Member::new(&shared, view).await?),
            }
        }
        let mut pipeline = Pipeline::of(shared, component, members, BTreeMap::new(), 0).remember_aside()?;
        if !kept.is_empty() {
            pipeline.align(&kept, guard).await?;
        }
        Ok(pipeline)
    }

    /// Brings every member to one position: the farthest that any of the kept ones has reached.
    async fn align(&mut self, kept: &[(String, BTreeMap<String, Position>)], guard: &Guard) -> Result<(), Error> {
        let anew = &guard.anew;
        let farthest = farthest(kept)?;
        for (source, position) in &farthest {
            self.begin_at(source, position.clone());
        }
        // First align the kept views. The new ones must not see their deltas: they receive the resulting rows instead.
        let old: BTreeSet<String> = kept.iter().map(|(view, _)| view.clone()).collect();
        for (source, end) in &farthest {
            for (view, positions) in kept {
                let from = positions.get(source).filter(|from| !from.reaches(end));
                if let Some(from) = from.filter(|_| self.reads(view, source)) {
                    let view = BTreeSet::from([view.clone()]);
                    self.read_into(source, Start::At(from.clone()), end, (&view, &old), None).await?;
                }
            }
        }
        self.build(Some(&old)).await?;
        // Then the new ones: the rows of the kept views arrive as one delta, then the events from the first on.
        for index in 0..self.members().len() {
            self.hand_over(index, anew).await?;
        }
        for (source, end) in &farthest {
            let readers: BTreeSet<String> = anew.iter().filter(|view| self.reads(view, source)).cloned().collect();
            if !readers.is_empty() {
                self.read_into(source, Start::First, end, (&readers, anew), Some(guard)).await?;
            }
        }
        self.build(Some(anew)).await
    }

    fn reads(&self, view: &str, source: &str) -> bool {
        let member = self.members().iter().find(|member| member.view.name == view);
        member.is_some_and(|member| member.reads(source, None))
    }

    /// Pushes a kept view's current rows into the new views that read it.
    async fn hand_over(&mut self, index: usize, anew: &BTreeSet<String>) -> Result<(), Error> {
        let (done, rest) = self.members_mut().split_at_mut(index + 1);
        let Some(member) = done.last().filter(|member| !anew.contains(&member.view.name)) else { return Ok(()) };
        let (upstream, sink, token) = (member.view.clone(), member.sink.clone(), member.token.clone());
        let name = &upstream.name;
        let mut readers: Vec<&mut Member> = rest
            .iter_mut()
            .filter(|reader| anew.contains(&reader.view.name) && views_read(&reader.view).any(|read| read == name))
            .collect();
        if readers.is_empty() {
            return Ok(());
        }
        let Some(token) = token else { return Ok(()) };
        for rows in sink.rows(upstream.plan.schema.clone(), &token)? {
            let delta = Delta { rows: rows?, weights: None };
            for reader in &mut readers {
                push_upstream(reader, &upstream, &delta).await?;
            }
        }
        Ok(())
    }

    /// Reads a source up to an offset into some of the views; `flushed` are those whose deltas may pass meanwhile. Where there is a `guard`, it
    /// is asked once the reader is open.
    async fn read_into(
        &mut self,
        source: &str,
        start: Start,
        end: &Position,
        (views, flushed): (&BTreeSet<String>, &BTreeSet<String>),
        guard: Option<&Guard>,
    ) -> Result<(), Error> {
        let origin = self.shared().feed(source)?.source().clone();
        let mut reader = origin.read(start).await?;
        if let Some(guard) = guard {
            guard.check(self.component(), self.shared()).await?;
        }
        self.begin_tallies(source, reader.position().offset, Some(views));
        let mut since_flush = 0;
        while !reader.position().reaches(end) {
            let batch: Batch = match reader.next().await? {
                Read::Batch(batch) => batch.until(end.offset_of(batch.partition)),
                Read::CaughtUp { .. } if !reader.position().reaches(end) => {
                    let (found, end) = (reader.position().progress(), end.progress());
                    return Err(Error::corrupt(
                        format!("source {source} ends at {found}, before {end}, which was applied"),
                        "its tail was lost: rebuild the views that read it",
                    ));
                }
                Read::CaughtUp { .. } | Read::End => break,
            };
            let before = self.letters().len();
            self.push(source, &origin.config().columns, &batch, Some(views)).await?;
            self.add_letters_of(source, &batch, Some(views));
            self.tally(source, &batch, Some(views), before)?;
            since_flush += batch.events;
            if since_flush >= ALIGN_EVENTS {
                since_flush = 0;
                self.build(Some(flushed)).await?;
            }
        }
        Ok(())
    }

    /// Flushes the operators of a rebuild and stages their rows; with `only`, just those of these views. No record names the rows before
    /// the swap.
    ///
    /// # Errors
    /// An operator or the disk fails.
    pub(crate) async fn build(&mut self, only: Option<&BTreeSet<String>>) -> Result<(), Error> {
        let changes = self.flush(only).await?;
        let epoch = self.epoch() + 1;
        for (member, changes) in self.members_mut().iter_mut().zip(&changes) {
            if only.is_none_or(|only| only.contains(&member.view.name)) {
                let staged = member.writer.prepare(epoch, changes)?;
                member.stage(staged);
            }
        }
        self.forget_kept_letters()
    }

    /// Continues the epochs after the last recorded one of these views.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) fn continue_epochs(&mut self) -> Result<(), Error> {
        let mut last = self.epoch();
        for view in self.views() {
            if let Some(record) = self.shared().store().record(view)? {
                last = last.max(record.epoch);
            }
        }
        self.advance_to(last);
        Ok(())
    }
}

/// Fails if the version that serves has committed since the record was read, and has removed what it names: then the rebuild begins again.
fn is_current(shared: &Shared, record: &Record) -> Result<(), Error> {
    let view = &record.view;
    let Some(last) = shared.store().record(view)?.filter(|last| last.epoch > record.epoch) else { return Ok(()) };
    let named = files(shared, &last)?;
    match files(shared, record)?.difference(&named).find(|file| !file.exists()) {
        None => Ok(()),
        Some(gone) => Err(Error::unavailable(
            format!(
                "view {view} has committed epoch {} since its rebuild took epoch {}, and {} is gone",
                last.epoch,
                record.epoch,
                gone.display()
            ),
            "the rebuild begins again by itself",
        )),
    }
}

/// The files that a record names.
fn files(shared: &Shared, record: &Record) -> Result<BTreeSet<PathBuf>, Error> {
    let state = shared.layout().state(&record.view, &record.incarnation);
    let state = record.state.iter().flat_map(|table| &table.files).map(|file| state.join(file));
    Ok(state.chain(shared.sink(&record.view).files(&record.sink)?).collect())
}

/// Returns the farthest position of each source.
fn farthest(kept: &[(String, BTreeMap<String, Position>)]) -> Result<BTreeMap<String, Position>, Error> {
    let mut all: BTreeMap<String, Position> = BTreeMap::new();
    for (source, position) in kept.iter().flat_map(|(_, positions)| positions) {
        let farthest = all.entry(source.clone()).or_insert_with(|| position.clone());
        if !farthest.identity.same_source(&position.identity) {
            return Err(Error::config(
                format!("source {source} was recreated between the commits of views that are read together"),
                format!("rebuild the views that read {source} as well"),
            ));
        }
        if !farthest.reaches(position) {
            *farthest = position.clone();
        }
    }
    Ok(all)
}
