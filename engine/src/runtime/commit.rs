//! The commit of an epoch, in the order that makes it safe to be killed anywhere.
//!
//! 1. state batches and changed parts are written under names never used before, and synced: a crash leaves files that nothing
//!    names, and the next start removes them
//! 2. one sled write, synced: this is the commit
//! 3. the JSON twins, the dead letters and the snapshots are put in place: a crash before the end is repaired by doing it again
//! 4. what no kept snapshot names is removed

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use alluvium_connectors::dead_letters::{DeadLetter, DeadLetterFolder};
use alluvium_connectors::sink::{CommitFacts, Delta, Sink, Staged};

use super::failpoint;
use super::pipeline::{Member, Pipeline};
use super::shared::Shared;
use crate::checkpoint::{DeadLetterOffset, FORMAT, Record, Write, dead_letter_key, decoded_key};
use crate::error::Error;
use crate::metrics::{self, Written};
use crate::status::{Phase, SourceStatus};

impl Member {
    /// Writes the state and stages the rows of an epoch, side by side: both wait for the disk, and large ones keep a core busy each.
    /// Gives the bytes of state, and what is staged.
    fn write(&mut self, epoch: u64, changes: &[Delta]) -> Result<(u64, Staged), Error> {
        let checkpoint = self.projection.checkpoint();
        let (state, writer) = (&mut self.state, &mut self.writer);
        let mut write_state = || {
            let written = state.write(epoch, &checkpoint);
            failpoint::pass("after_state");
            written
        };
        if checkpoint.iter().all(|table| table.added.is_empty()) {
            return Ok((write_state()?, writer.prepare(epoch, changes)?));
        }
        let (state, staged) = thread::scope(|scope| {
            let state = scope.spawn(write_state);
            let staged = writer.prepare(epoch, changes);
            (state.join(), staged)
        });
        let state = state.map_err(|_| Error::bug("the thread that writes state broke off"))?;
        Ok((state?, staged?))
    }
}

/// What a commit has to know beside the pipeline.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CommitOptions {
    /// This commit ends the rebuild of the pipeline's views.
    pub(crate) ends_rebuild: bool,
    /// Another run of the same views writes beside this one: its files, which no record names yet, are left alone.
    pub(crate) keep_unnamed: bool,
}

impl Pipeline {
    /// Flushes the operators and commits what they gave. Gives how long it took.
    ///
    /// # Errors
    /// The operators', the disk's, sled's. The pipeline is to be dropped then; the last commit stays whole.
    pub(crate) async fn commit(&mut self, options: CommitOptions) -> Result<Duration, Error> {
        let mut steps = Steps::begin();
        let changes = self.flush(None).await?;
        steps.done("flush");
        let epoch = self.epoch + 1;

        failpoint::pass("before_state");
        let mut written = vec![Written::default(); self.members.len()];
        for ((member, changes), written) in self.members.iter_mut().zip(&changes).zip(&mut written) {
            let (state, staged) = member.write(epoch, changes)?;
            *written = Written { state, view: staged.written_bytes };
            member.stage(staged);
        }
        failpoint::pass("after_parts");
        steps.done("state and parts");

        let records = self.record(epoch, options)?;
        failpoint::pass("after_commit");
        steps.done("record");
        self.epoch = epoch;
        self.shared.store.write_twins(&records)?;
        failpoint::pass("after_twin");
        for (member, record) in self.members.iter().zip(&records) {
            member.sink.publish(&record.commit, &record.sink)?;
        }
        failpoint::pass("after_publish");
        steps.done("publish");
        self.sweep(options)?;
        steps.done("sweep");

        let took = steps.began.elapsed();
        tracing::debug!(pipeline = self.component.name(), epoch, %steps, "committed");
        self.report(&records, &written, took);
        Ok(took)
    }

    /// Stages the dead letters, writes the records and puts the dead letters in place.
    fn record(&mut self, epoch: u64, options: CommitOptions) -> Result<Vec<Record>, Error> {
        let letters = std::mem::take(&mut self.letters);
        // One lock over staging and commit: two pipelines that read one source must not both keep a letter.
        let writer = if letters.is_empty() { None } else { Some(self.shared.dead_letters()) };
        let mut offsets = BTreeMap::new();
        let mut staged = Vec::new();
        let mut kept = Vec::new();
        if let Some(writer) = &writer {
            kept = self.not_yet_kept(writer, letters, &mut offsets)?;
            if !kept.is_empty() {
                staged = writer.stage(&kept)?;
            }
        }
        failpoint::pass("after_dead_letters");
        let committed_ms = now_ms();
        let names: Vec<String> = self.members.iter().map(|member| member.view.name.clone()).collect();
        let mut records = Vec::with_capacity(self.members.len());
        for (index, member) in self.members.iter().enumerate() {
            let view = &member.view.name;
            let offset = |source: String| self.positions.get(&source).map(|position| (source, position.offset));
            let commit = CommitFacts {
                view: view.clone(),
                epoch,
                offsets: self.component.sources_behind(view).into_iter().filter_map(offset).collect(),
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
                positions: self.positions.clone(),
                state: member.state.records(),
                commit,
                sink: member.token.clone().ok_or_else(|| Error::bug(format!("view {view} is committed without a token")))?,
                size: member.size,
                dead_letters: if index == 0 { staged.clone() } else { Vec::new() },
            });
        }
        let rebuilds_done = if options.ends_rebuild { names } else { Vec::new() };
        self.shared.store.write(&Write { records: records.clone(), dead_letter_offsets: offsets, rebuilds_done })?;
        if let Some(writer) = &writer {
            writer.publish(&staged)?;
        }
        drop(writer);
        for letter in &kept {
            metrics::dead_letter(&letter.source, letter.kind);
        }
        for member in &self.members {
            let count = kept.iter().filter(|letter| letter.view.as_ref().is_none_or(|view| *view == member.view.name)).count();
            self.shared.board.update(&member.view.name, |status| status.dead_letters += count as u64);
        }
        Ok(records)
    }

    /// The letters that no commit has kept yet, and up to where they are kept with this one.
    fn not_yet_kept(
        &self,
        folder: &DeadLetterFolder,
        letters: Vec<DeadLetter>,
        offsets: &mut BTreeMap<String, DeadLetterOffset>,
    ) -> Result<Vec<DeadLetter>, Error> {
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        let mut new = Vec::new();
        // Of sources, with sequences up to which letters have been kept while other columns were decoded, by source.
        let mut uncertain: BTreeMap<String, Vec<DeadLetter>> = BTreeMap::new();
        for letter in letters {
            let stream = self.positions.get(&letter.source).map(|position| position.identity.lineage()).unwrap_or_default();
            let key = self.letter_key(&letter);
            let decoded =
                letter.view.is_none().then(|| self.shared.project.sources.get(&letter.source).map(decoded_key)).flatten();
            let from = self.kept_up_to(&key, &stream, &mut known)?;
            let from_decoded = decoded.as_ref().map(|key| self.kept_up_to(key, &stream, &mut known)).transpose()?;
            if letter.sequence < from_decoded.unwrap_or(from) {
                continue;
            }
            for (key, least) in decoded.map(|key| (key, 0)).into_iter().chain([(key, from)]) {
                let offset = offsets.entry(key).or_insert_with(|| DeadLetterOffset { offset: least, stream: stream.clone() });
                offset.offset = offset.offset.max(letter.sequence + 1);
            }
            if letter.sequence < from {
                uncertain.entry(letter.source.clone()).or_default().push(letter);
            } else {
                new.push(letter);
            }
        }
        for letters in uncertain.into_values() {
            let kept = folder.kept(&letters.iter().collect::<Vec<_>>())?;
            new.extend(letters.into_iter().filter(|letter| !kept.contains(&letter.sequence)));
        }
        Ok(new)
    }

    /// Up to where the letters of a key have been kept; `known` holds what was asked before.
    fn kept_up_to(&self, key: &str, stream: &str, known: &mut BTreeMap<String, u64>) -> Result<u64, Error> {
        if let Some(from) = known.get(key) {
            return Ok(*from);
        }
        let recorded = self.shared.store.dead_letter_offset(key)?;
        let from = recorded.filter(|recorded| recorded.stream == stream).map_or(0, |recorded| recorded.offset);
        known.insert(key.to_owned(), from);
        Ok(from)
    }

    /// What a letter is counted under: its source, or its view in its present version.
    fn letter_key(&self, letter: &DeadLetter) -> String {
        let version = letter.view.as_ref().and_then(|view| self.members.iter().find(|member| member.view.name == *view));
        dead_letter_key(&letter.source, version.map(|member| (member.view.name.as_str(), member.view.plan.fingerprint.as_str())))
    }

    /// Forgets the letters that some commit has kept already: a rebuild reads them all again and must not hold them.
    ///
    /// # Errors
    /// sled's.
    pub(super) fn forget_kept_letters(&mut self) -> Result<(), Error> {
        let letters = std::mem::take(&mut self.letters);
        if !letters.is_empty() {
            self.letters = self.not_yet_kept(&self.shared.dead_letters(), letters, &mut BTreeMap::new())?;
        }
        Ok(())
    }

    fn sweep(&mut self, options: CommitOptions) -> Result<(), Error> {
        for member in &self.members {
            member.state.sweep()?;
            // While the view is rebuilt beside this run, parts of both lie in one folder: old snapshots wait until the swap.
            if let Some(token) = member.token.as_ref().filter(|_| !options.keep_unnamed) {
                member.sink.sweep(token, SystemTime::now())?;
            }
        }
        Ok(())
    }

    fn report(&self, records: &[Record], written: &[Written], took: Duration) {
        for ((member, record), written) in self.members.iter().zip(records).zip(written) {
            let (rows, bytes) = member.projection.state_size();
            self.shared.board.update(&record.view, |status| {
                status.epoch = Some(record.epoch);
                status.rows = record.size.rows;
                status.parts = record.size.parts;
                status.bytes = record.size.bytes;
                status.state_rows = rows;
                status.state_bytes = bytes;
                status.committed_ms = Some(record.commit.committed_ms);
                status.rebuild.clear();
                if status.phase == Phase::Rebuilding {
                    status.phase = Phase::Live;
                }
                for (source, position) in &self.positions {
                    let entry = status.sources.entry(source.clone()).or_insert_with(SourceStatus::default);
                    entry.offset = position.offset;
                    entry.applied = entry.applied.max(position.offset);
                    entry.end = entry.end.max(position.offset);
                    entry.newest_ns = self.newest_ns.get(source).copied().or(entry.newest_ns);
                }
                metrics::committed(status, took, *written);
            });
        }
    }
}

/// How long each step of a commit took, for the log.
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

    /// Ends a step, which began when the one before it ended.
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

/// Puts what a commit recorded in place again: the part of it that a crash may have left undone.
///
/// # Errors
/// The disk's.
pub(super) fn repair(shared: &Shared, record: &Record) -> Result<(), Error> {
    shared.sink(&record.view).recover(&record.commit, &record.sink)?;
    sweep_incarnations(&shared.layout.states(&record.view), &record.incarnation)?;
    Ok(())
}

/// Removes the state of every run of a view but the recorded one.
///
/// # Errors
/// The disk's.
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

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
