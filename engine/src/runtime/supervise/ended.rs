//! A pipeline's end: what becomes of it, and of those that waited for it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::launch::usable_records;
use super::policy::Next;
use super::{Ended, Failed, Running, Supervisor, Swap, Waiting};
use crate::error::{Error, Kind};
use crate::metrics;
use crate::runtime::commit::show_again;
use crate::runtime::drive::TakeOver;
use crate::runtime::drive::intake::seconds;
use crate::settings::OnStreamChange;

impl Supervisor {
    /// A pipeline has ended: a swap may have waited for it, or it failed.
    pub(super) fn take_end(&mut self, ended: Ended) {
        let Some(mut running) = self.running.remove(&ended.task) else { return };
        if let Some(thread) = running.thread.take() {
            // It has sent its result, and a panic is in it.
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

    /// No task with this number rebuilds any more.
    fn end_rebuild(&mut self, task: u64, whole: &str) {
        // Another value means that it was swapped in long ago; nothing is to be done then.
        let _ = self.rebuilder(whole).compare_exchange(task, 0, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Tells each rebuilt pipeline that waits for nobody any more to swap.
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
        let anew = error.is_stream_change() && self.shared.settings().on_stream_change == OnStreamChange::Rebuild;
        if anew && !self.shutdown.is_cancelled() {
            return self.follow_new_stream(task, running, error);
        }
        if self.is_searched(&running, &error) {
            return self.wait(task, running, &error, Duration::ZERO);
        }
        let key = (running.component.name().to_owned(), running.rebuilds);
        let surroundings = self.shared.surroundings();
        let patient = !self.until_caught_up;
        let next = match self.shutdown.is_cancelled() {
            true => Next::Fail,
            false => {
                let troubles = self.troubles.entry(key).or_default();
                troubles.decide(&error, running.began.elapsed(), patient, surroundings.as_ref())
            }
        };
        match next {
            Next::Wait(wait) => self.wait(task, running, &error, wait),
            Next::Fail => self.fail(task, running, error),
        }
    }

    /// Whether the pipeline is started again in another way, to find the event on which it panics. Such a start is not counted: the
    /// search ends. A rebuild commits nothing, and standard input is not read again.
    fn is_searched(&mut self, running: &Running, error: &Error) -> bool {
        let Error::Panic { events, .. } = error else { return false };
        let read_once = self.shared.read_once();
        let again = !running.component.sources().iter().any(|source| read_once.contains(source));
        again
            && !running.rebuilds
            && !self.shutdown.is_cancelled()
            && self.suspects.entry(running.component.name().to_owned()).or_default().narrow(events)
    }

    /// The stream is another one, and the settings say to rebuild.
    fn follow_new_stream(&mut self, task: u64, running: Running, error: Error) {
        tracing::warn!(pipeline = running.component.name(), %error, "the stream changed: rebuilding, as the settings say");
        // Their sequences are those of other events now.
        self.suspects.remove(running.component.name());
        if running.rebuilds {
            self.end_rebuild(task, &running.whole);
        }
        for view in &running.component.views {
            self.shared.board().failed(&view.name, &error.to_string());
        }
        self.keep_failures();
        // A rebuild that is under way reads the same stream: when it fails too, it is begun again.
        if self.is_rebuilding(&running.whole) {
            return;
        }
        let whole = self.components.iter().find(|component| component.name() == running.whole);
        let names: BTreeSet<String> = whole.unwrap_or(&running.component).views.iter().map(|view| view.name.clone()).collect();
        if let Err(error) = self.rebuild(&running.whole, &names) {
            self.fail(task, running, error);
        }
    }

    /// The pipeline is started again after a while.
    fn wait(&mut self, task: u64, pipeline: Running, error: &Error, wait: Duration) {
        let kind = if error.kind() == Kind::Bug { "bug" } else { "unavailable" };
        tracing::warn!(
            pipeline = pipeline.component.name(), kind, %error, again_in = %seconds(wait), "failed: it is started again from its last commit"
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
        self.waiting.push(Waiting { at: Instant::now() + wait, task, pipeline });
    }

    /// The pipeline is given up until somebody starts it again.
    pub(super) fn fail(&mut self, task: u64, pipeline: Running, error: Error) {
        tracing::error!(pipeline = pipeline.component.name(), %error, help = error.help(), "stopped");
        let reason = error.to_string();
        let rebuilt = pipeline.rebuilds;
        if rebuilt {
            self.end_rebuild(task, &pipeline.whole);
        }
        for view in &pipeline.component.views {
            let followed = self.is_followed(&view.name);
            if rebuilt {
                self.shared.board().rebuild_failed(&view.name, &reason);
            }
            if !followed {
                self.shared.board().failed(&view.name, &reason);
            }
        }
        self.keep_failures();
        self.failed.push(Failed { pipeline, error });
    }

    /// Starts those pipelines again whose wait is over.
    pub(super) fn start_waiting(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.at <= now);
        self.waiting = later;
        for Waiting { task, pipeline, .. } in due {
            if let Err(error) = self.start_again(&pipeline) {
                self.take_error(task, pipeline, error);
            }
        }
    }

    /// Starts a pipeline again as its last commit left it.
    ///
    /// # Errors
    /// The store's, and those of putting the last commit in place.
    pub(super) fn start_again(&mut self, pipeline: &Running) -> Result<(), Error> {
        let records = self.records()?;
        self.recover_letters(&records)?;
        for record in pipeline.component.views.iter().filter_map(|view| records.get(&view.name)) {
            show_again(&self.shared, record)?;
        }
        let requested = self.shared.store().rebuilds_requested()?.into_iter().collect();
        let component = pipeline.component.clone();
        let usable = usable_records(&component, &records);
        let alone = !self.running.values().any(|running| running.whole == pipeline.whole);
        let recorded = component.views.iter().filter(|view| records.contains_key(&view.name)).count();
        if pipeline.rebuilds {
            // When the old pipelines have ended for a swap that did not come about, they go on as well.
            self.start_component(&component, &records, &requested, alone);
        } else if usable.len() == component.views.len() {
            self.spawn_main(component, &pipeline.whole, Some(usable));
        } else if recorded == 0 {
            self.spawn_main(component, &pipeline.whole, None);
        } else {
            self.start_component(&component, &records, &requested, alone);
        }
        Ok(())
    }

    /// A rebuilt pipeline has caught up: the ones that it replaces are stopped, and it is told when they have ended.
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
