//! The end of a round: everything works again, and within a bound each view is live with all events, or stopped by a fence with a reason
//! that the round explains. A view that a fence has stopped is rebuilt.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::actions::mates;
use crate::ledger::last_of;
use crate::proxy::Way;
use crate::torture::Torture;

/// How long a round may take until it is quiet.
const QUIET_WITHIN: Duration = Duration::from_secs(600);

/// What a view needs before it can be compared.
enum Needs {
    Nothing,
    Time(String),
    Rebuild(String),
}

impl Torture {
    /// Ends all faults that last, and waits until each view holds what the stream holds now.
    pub(crate) fn settle(&mut self) {
        self.proxy.set(Way::Open);
        self.disk.free(self.engine.as_ref().map(|engine| &engine.0));
        self.signal_engine(Signal::CONT);
        self.wait_out_failpoint();
        if self.expected.damaged.is_some() {
            self.mend();
        }
        if self.expected.edited || self.expected.failpoint {
            self.kill_engine();
            self.engine = None;
        }
        self.note("settle");
        let ends: BTreeMap<&str, u64> = [("orders", "orders.placed"), ("refunds", "orders.refunded")]
            .map(|(source, subject)| (source, last_of(&self.orders, subject)))
            .into();
        let began = Instant::now();
        let mut rebuilds: BTreeMap<String, u32> = BTreeMap::new();
        loop {
            if self.engine.is_some() && !self.is_running() && self.fenced() {
                // Every view has failed. One that works keeps the engine running, which rebuilds the others.
                self.engine = None;
                let name = self.declared()[0];
                self.may_begin_anew.insert(name.to_owned());
                self.ask(&["rebuild", name, "--accept-loss"]);
            }
            self.keep_running();
            let waits = match self.status() {
                None => vec!["the engine does not answer".to_owned()],
                Some(status) => self.wait_for_views(&status, &ends, &mut rebuilds),
            };
            if waits.is_empty() {
                return;
            }
            assert!(began.elapsed() < QUIET_WITHIN, "not quiet after {QUIET_WITHIN:?}:\n{}", waits.join("\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the engine if it does not run. It may have ended by itself only where the round explains that.
    pub(crate) fn keep_running(&mut self) {
        if !self.is_running() {
            self.engine = None;
            self.start_engine(None);
        }
    }

    /// Rebuilds what a fence has stopped. Returns what is not as it should be yet.
    fn wait_for_views(
        &mut self,
        status: &[Value],
        ends: &BTreeMap<&str, u64>,
        rebuilds: &mut BTreeMap<String, u32>,
    ) -> Vec<String> {
        let mut waits = Vec::new();
        for name in self.declared() {
            let none = Value::Null;
            let view = status.iter().find(|view| view["view"] == name).unwrap_or(&none);
            match self.needs(name, view, ends) {
                Needs::Nothing => {}
                Needs::Time(why) => waits.push(format!("{name}: {why}")),
                Needs::Rebuild(why) => {
                    waits.push(format!("{name}: rebuilt, since {why}"));
                    self.may_begin_anew.extend(mates(name).iter().chain([&name]).map(|name| (*name).to_owned()));
                    let (_, said) = self.ask(&["rebuild", name, "--accept-loss"]);
                    // One that is under way is waited for, however long it takes.
                    if !said.contains("is under way") {
                        let times = rebuilds.entry(name.to_owned()).or_default();
                        *times += 1;
                        assert!(*times <= 20, "{name} is stopped again and again: {why}");
                        self.count(&format!("fence: {}", summary(&why)));
                    }
                    // Views that it is committed with may be rebuilt with it: look at them again first.
                    break;
                }
            }
        }
        waits
    }

    fn needs(&self, name: &str, view: &Value, ends: &BTreeMap<&str, u64>) -> Needs {
        let text = |key: &str| view[key].as_str().map(str::to_owned);
        let phase = text("phase").unwrap_or_else(|| "unknown".to_owned());
        if phase == "rebuilding" {
            return Needs::Time(format!("rebuilding {}", view["rebuild_error"]));
        }
        if let Some(why) = text("held") {
            assert!(self.has_lost(name) || self.expected.lost_tail, "{name} is held back, and nothing is gone: {why}");
            return Needs::Rebuild(why);
        }
        if let Some(why) = text("rebuild_error") {
            assert!(!is_bug(&why) && self.explains(name, &why), "the rebuild of {name} has failed: {why}");
            return Needs::Rebuild(why);
        }
        if phase == "failed" {
            let why = text("error").unwrap_or_default();
            assert!(self.explains(name, &why), "{name} has failed for no reason of this round: {why}");
            return Needs::Rebuild(why);
        }
        // A run that has just begun may not have found yet that a view has to be rebuilt.
        if phase != "live" {
            return Needs::Time(format!("{phase} {}", view["error"]));
        }
        let sources = self.views.iter().find(|view| view.name == name).unwrap().sources;
        for source in sources {
            let (end, offset) = (ends[source], view["sources"][source]["offset"].as_u64().unwrap_or(0));
            if offset <= end {
                return Needs::Time(format!("{phase}, and has committed {source} up to {offset}, not {end}"));
            }
        }
        Needs::Nothing
    }

    /// Whether a fence may have stopped every view.
    fn fenced(&self) -> bool {
        self.expected.lost_tail || self.expected.purged_unread
    }

    /// Whether the round explains that a view stopped for this reason.
    fn explains(&self, name: &str, why: &str) -> bool {
        let concerned = |view: &str| view.is_empty() || view == name || mates(view).contains(&name);
        let lost_tail = ["lost its end", "lost events", "holds another event at sequence"];
        (self.expected.lost_tail && lost_tail.iter().any(|fence| why.contains(fence)))
            || (self.expected.purged_unread && why.contains("lost events that were not read"))
            || (self.expected.damaged.as_deref().is_some_and(concerned) && !is_bug(why))
    }

    /// Whether the stream no longer holds events from which a view, or one that is committed with it, was made.
    fn has_lost(&self, name: &str) -> bool {
        let first = self.ledger.firsts.last().copied().unwrap_or(1);
        let is_of = |view: &str| view == name || mates(name).contains(&view);
        self.began.iter().any(|((view, _), began)| is_of(view) && *began < first)
    }

    /// Waits until the failpoint has ended the engine, or every view works in spite of it.
    fn wait_out_failpoint(&mut self) {
        let began = Instant::now();
        while self.expected.failpoint && self.is_running() {
            let done = |view: &Value| ["live", "failed"].iter().any(|phase| view["phase"] == *phase);
            let status = self.status().unwrap_or_default();
            if !status.is_empty() && status.iter().filter(|view| view["phase"] != "orphaned").all(done) {
                return;
            }
            assert!(began.elapsed() < QUIET_WITHIN, "not live after a failpoint: {status:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Has `doctor` mend the data folder, with the engine stopped.
    fn mend(&mut self) {
        match self.orders.rng.bool() {
            true => self.kill_engine(),
            false => self.end_engine(),
        }
        let (code, said) = self.ask(&["doctor"]);
        assert!(matches!(code, Some(0 | 1)), "doctor: {said}");
        if code == Some(1) {
            self.count("doctor has found damage");
            // It has views rebuilt from what is left of the stream.
            self.may_begin_anew.extend(self.declared().into_iter().map(str::to_owned));
            let (code, said) = self.ask(&["doctor", "--repair"]);
            assert_eq!(code, Some(0), "doctor --repair: {said}");
        }
    }
}

fn is_bug(why: &str) -> bool {
    why.contains("internal error") || why.contains("panic")
}

/// The reason of a fence without numbers and paths.
fn summary(why: &str) -> String {
    let words = why.split_whitespace().filter(|word| !word.contains('/') && !word.contains(|c: char| c.is_ascii_digit()));
    words.take(14).collect::<Vec<_>>().join(" ")
}
