//! The rebuild of a component that is under way, as its supervisor and the pipelines beside it see it: from its start until it is swapped in or
//! given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::record::Record;

/// One for each component.
#[derive(Debug, Default)]
pub(super) struct Rebuilder(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: Option<UnderWay>,
    /// Records are being read with which a rebuild may begin.
    may_begin: bool,
}

#[derive(Debug)]
struct UnderWay {
    /// The number of the task that does it.
    task: u64,
    begins_with: BTreeMap<String, Arc<Record>>,
}

/// What of a view stays for a rebuild.
pub(super) enum Held {
    /// What the last commit names is enough.
    Nothing,
    /// What this record names, too.
    Record(Arc<Record>),
    /// All that is there.
    Everything,
}

impl Rebuilder {
    /// Records are about to be read with which a rebuild may begin. What they name stays, until [`Rebuilder::begin`] says which they are or
    /// [`Rebuilder::decided`] that there is none.
    pub(super) fn may_begin(&self) {
        self.lock().may_begin = true;
    }

    /// No rebuild begins, or it has begun.
    pub(super) fn decided(&self) {
        self.lock().may_begin = false;
    }

    /// A rebuild begins. `begins_with` are the records from which it continues views that it does not make anew: what they name stays until it
    /// has ended.
    pub(super) fn begin(&self, task: u64, begins_with: BTreeMap<String, Record>) {
        let begins_with = begins_with.into_iter().map(|(view, record)| (view, Arc::new(record))).collect();
        self.lock().under_way = Some(UnderWay { task, begins_with });
    }

    /// The rebuild of this task, if it is the one under way, has been swapped in or given up.
    pub(super) fn end(&self, task: u64) {
        self.lock().under_way.take_if(|under_way| under_way.task == task);
    }

    /// The rebuild that is under way has been swapped in.
    pub(super) fn swapped_in(&self) {
        self.lock().under_way = None;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.lock().under_way.is_some()
    }

    /// Whether this task does the rebuild that is under way.
    pub(super) fn is_done_by(&self, task: u64) -> bool {
        self.lock().under_way.as_ref().is_some_and(|under_way| under_way.task == task)
    }

    /// What of the view stays.
    pub(super) fn holds(&self, view: &str) -> Held {
        let state = self.lock();
        let record = state.under_way.as_ref().and_then(|under_way| under_way.begins_with.get(view));
        match record {
            _ if state.may_begin => Held::Everything,
            Some(record) => Held::Record(Arc::clone(record)),
            None => Held::Nothing,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
