//! Handles the end of a pipeline: restarts it, fails it or lets a swap go ahead.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::policy::{Next, Patience};
use super::{Ended, Failed, Running, Supervisor, Swap, Waiting};
use crate::error::{Error, Kind};
use crate::metrics;
use crate::record::Write;
use crate::runtime::changes::needs::usable_records;
use crate::runtime::commit::{make_room, show_again};
use crate::runtime::drive::TakeOver;
use crate::runtime::drive::intake::seconds;
use crate::runtime::request::Accept;
use crate::settings::OnStreamChange;

impl Supervisor {
    /// Handles a pipeline that has ended. A swap may wait for it, or it may have failed.
    pub(super) fn take_end(&mut self, ended: Ended) {
        let Some(mut running) = self.running.remove(&ended.task) else { return };
        if let Some(thread) = running.thread.take() {
            // The result that it sent already includes a panic.
            let _ = thread.join();
        }
        running.rebuilds = self.rebuilds(ended.task, &running.whole);
        let replaced = self.swaps.get_mut(&running.whole).is_some_and(|swap| swap.waits_for.remove(&ended.task));
        match ended.result {
            Ok(()) => self.end_rebuild(ended.task, &running.whole),
            Err(error) if replaced => {
                tracing::warn!(pipeline = running.component.name(), %error, "failed, and is replaced by the rebuilt one");
            }
            Err(error) => self.take_error(ended.task, running, error),
        }
        self.answer_swaps();
    }

    /// Notes that this task no longer rebuilds the component.
    fn end_rebuild(&mut self, task: u64, whole: &str) {
        self.rebuilder(whole).end(task);
    }

    /// Tells each rebuilt pipeline whose predecessors have all ended to swap.
    fn answer_swaps(&mut self) {
        let ready: Vec<String> =
            self.swaps.iter().filter(|(_, swap)| swap.waits_for.is_empty()).map(|(whole, _)| whole.clone()).collect();
        for whole in ready {
            if let Some(swap) = self.swaps.remove(&whole) {
                let _ = swap.reply.send(());
            }
        }
    }

    fn take_error(&mut self, task: u64, running: Running, error: Error) {
        let anew = error
            .changed_source()
            .is_some_and(|source| running.shared.project().on_stream_change(source) == OnStreamChange::Rebuild);
        if anew && !self.shutdown.is_cancelled() {
            return self.follow_new_stream(task, running, error);
        }
        if running.rebuilds && self.shutdown.is_cancelled() && error.kind() == Kind::Unavailable {
            // The next start begins it again, since it was asked for and is not done.
            tracing::info!(pipeline = running.component.name(), %error, "the rebuild is given up, since the engine stops");
            return self.end_rebuild(task, &running.whole);
        }
        if self.is_searched(&running, &error) {
            return self.wait(task, running, &error, Duration::ZERO);
        }
        let key = (running.component.name().to_owned(), running.rebuilds);
        let surroundings = self.shared.surroundings();
        let patience = match self.until_caught_up {
            true => Patience::Until(self.shared.settings().source_timeout),
            false => Patience::Endless,
        };
        let ran = running.began.map_or(Duration::ZERO, |began| began.elapsed());
        let next = match self.shutdown.is_cancelled() {
            true => Next::Fail,
            false => {
                let troubles = self.troubles.entry(key).or_default();
                troubles.decide(&error, ran, patience, surroundings.as_ref())
            }
        };
        match next {
            Next::Wait(wait) => self.wait(task, running, &error, wait),
            Next::Fail => self.fail(task, running, error),
        }
    }

    /// Whether to restart the pipeline with smaller batches, to find the event on which it panics. Such a restart does not count against
    /// the limit, since the search ends by itself. Rebuilds are not searched, since they commit nothing, nor is standard input, which
    /// cannot be read again.
    fn is_searched(&mut self, running: &Running, error: &Error) -> bool {
        let Error::Panic { events, .. } = error else { return false };
        let read_once = self.shared.read_once();
        let again = !running.component.sources().iter().any(|source| read_once.contains(source));
        again
            && !running.rebuilds
            && !self.shutdown.is_cancelled()
            && self.suspects.entry(running.component.name().to_owned()).or_default().narrow(events)
    }

    /// Rebuilds after a stream has changed, as the settings say.
    fn follow_new_stream(&mut self, task: u64, running: Running, error: Error) {
        tracing::warn!(pipeline = running.component.name(), %error, "the stream changed: rebuilding, as the settings say");
        // Its sequences name other events in the new stream.
        self.suspects.remove(running.component.name());
        if running.rebuilds {
            self.end_rebuild(task, &running.whole);
        }
        for view in &running.component.views {
            self.shared.board().failed(&view.name, &error.to_string());
        }
        self.keep_failures();
        // A rebuild that is under way reads the same stream. When it fails too, it starts over.
        if self.is_rebuilding(&running.whole) {
            return;
        }
        let whole = self.components.iter().find(|component| component.name() == running.whole);
        self.accepted.insert(running.whole.clone(), Accept::AnotherStream);
        let names: BTreeSet<String> = whole.unwrap_or(&running.component).views.iter().map(|view| view.name.clone()).collect();
        if let Err(error) = self.rebuild(&running.whole, &names) {
            self.fail(task, running, error);
        }
    }

    /// Schedules a restart of the pipeline after a wait.
    pub(super) fn wait(&mut self, task: u64, mut pipeline: Running, error: &Error, wait: Duration) {
        let kind = if error.kind() == Kind::Bug { "bug" } else { "unavailable" };
        tracing::warn!(
            pipeline = pipeline.component.name(), kind, %error, again_in = %seconds(wait), "failed: it restarts from its last commit"
        );
        metrics::restarted(pipeline.component.name(), kind);
        let reason = error.to_string();
        for view in &pipeline.component.views {
            if pipeline.rebuilds {
                self.shared.board().rebuild_retrying(&view.name, &reason);
            } else {
                self.shared.board().retrying(&view.name, &reason);
                self.shared.board().restarted(&view.name);
            }
        }
        // If it cannot even be started after the wait, it has not run at all.
        pipeline.began = None;
        self.waiting.push(Waiting { at: Instant::now() + wait, task, pipeline });
    }

    /// Marks the pipeline as failed: only a command starts it again.
    pub(super) fn fail(&mut self, task: u64, pipeline: Running, error: Error) {
        let held = matches!(error, Error::Held { .. });
        let said = if held { "not rebuilt" } else { "stopped" };
        tracing::error!(pipeline = pipeline.component.name(), %error, help = error.help(), "{said}");
        let reason = error.to_string();
        let rebuilt = pipeline.rebuilds;
        if rebuilt {
            self.end_rebuild(task, &pipeline.whole);
            self.accepted.remove(&pipeline.whole);
        }
        for view in &pipeline.component.views {
            let followed = self.is_followed(&view.name);
            if held {
                self.hold(&view.name, &reason);
            } else if rebuilt {
                self.shared.board().rebuild_failed(&view.name, &reason);
            }
            if !followed && held {
                let reason = format!("{reason}; no version of it follows new events until the engine is started again");
                self.shared.board().failed(&view.name, &reason);
            } else if !followed {
                self.shared.board().failed(&view.name, &reason);
            }
        }
        self.keep_failures();
        let views = pipeline.component.views.iter().map(|view| view.name.clone()).collect();
        self.failed.push(Failed { pipeline, views, error });
    }

    /// The version of a view that serves goes on. Whoever asked for the new one has been told.
    fn hold(&self, view: &str, reason: &str) {
        self.shared.board().held(view, reason);
        let rebuilds_done = vec![view.to_owned()];
        if let Err(error) = self.shared.store().write(&Write { rebuilds_done, ..Write::default() }) {
            tracing::warn!(view, %error, "that its rebuild is held back cannot be recorded: the next start tries it again");
        }
    }

    /// Restarts the pipelines whose wait is over. Those that are still to be restarted stay among the waiting ones meanwhile, so that none
    /// is started for another.
    pub(super) fn start_waiting(&mut self) {
        let now = Instant::now();
        let mut due: Vec<u64> = self.waiting.iter().filter(|waiting| waiting.at <= now).map(|waiting| waiting.task).collect();
        due.sort_unstable();
        for task in due {
            let Some(index) = self.waiting.iter().position(|waiting| waiting.task == task) else { continue };
            let Waiting { task, pipeline, .. } = self.waiting.remove(index);
            let rebuilder = self.rebuilder(&pipeline.whole);
            if pipeline.rebuilds {
                rebuilder.may_begin();
            }
            match self.start_again(&pipeline) {
                // If it had been swapped in before it failed, nothing is left to rebuild.
                Ok(()) => rebuilder.end(task),
                Err(error) => self.take_error(task, pipeline, error),
            }
            rebuilder.decided();
        }
    }

    /// Restarts a pipeline from its last commit.
    ///
    /// # Errors
    /// The store fails, or the last commit cannot be published again.
    pub(super) fn start_again(&mut self, pipeline: &Running) -> Result<(), Error> {
        // What runs makes room by itself.
        let idle = |view: &str| pipeline.component.holds(view) && !self.is_followed(view) && !self.is_rebuilding(&pipeline.whole);
        make_room(self.shared.layout(), self.shared.project(), idle);
        let records = self.recover_letters()?;
        // What runs has published a later commit, or is about to.
        let views = pipeline.component.views.iter().filter(|view| !self.is_followed(&view.name));
        for record in views.filter_map(|view| records.get(&view.name)) {
            show_again(&self.shared, record)?;
        }
        let requested = self.shared.store().rebuilds_requested()?.into_iter().collect();
        let component = pipeline.component.clone();
        let usable = usable_records(&component, &records);
        let waiting = self.waiting.iter().any(|waiting| waiting.pipeline.whole == pipeline.whole);
        let alone = !waiting && !self.running.values().any(|running| running.whole == pipeline.whole);
        let recorded = component.views.iter().filter(|view| records.contains_key(&view.name)).count();
        if pipeline.rebuilds {
            // If the old pipelines ended for a swap that did not happen, restart them as well.
            self.start_component(&component, &records, &requested, alone);
        } else if usable.len() == component.views.len() {
            self.spawn_main(&pipeline.shared, component, &pipeline.whole, Some(usable));
        } else if !Arc::ptr_eq(&pipeline.shared, &self.shared_of(&pipeline.whole)) {
            // Its views have been swapped since.
        } else if recorded == 0 {
            self.spawn_main(&pipeline.shared, component, &pipeline.whole, None);
        } else {
            self.start_component(&component, &records, &requested, alone);
        }
        Ok(())
    }

    /// Begins the swap for a rebuilt pipeline that has caught up: stops the pipelines that it replaces, and answers when they have ended.
    pub(super) fn begin_swap(&mut self, take_over: TakeOver) {
        let replaced: BTreeSet<u64> = self
            .running
            .iter()
            .filter(|(task, running)| running.whole == take_over.component && !self.rebuilds(**task, &running.whole))
            .map(|(task, running)| {
                running.stop.cancel();
                *task
            })
            .collect();
        self.waiting.retain(|waiting| waiting.pipeline.whole != take_over.component || waiting.pipeline.rebuilds);
        self.swaps.insert(take_over.component, Swap { waits_for: replaced, reply: take_over.reply });
        self.answer_swaps();
    }
}
