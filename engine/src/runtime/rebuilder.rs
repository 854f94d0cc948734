//! The rebuild of a component that is under way, as its supervisor and the pipelines beside it see it: from its start until it is swapped in or
//! given up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::record::Record;

/// One for each component.
#[derive(Debug, Default)]
pub(super) struct Rebuilder(Mutex<Option<UnderWay>>);

#[derive(Debug)]
struct UnderWay {
    /// The number of the task that does it.
    task: u64,
    begins_with: BTreeMap<String, Arc<Record>>,
}

impl Rebuilder {
    /// A rebuild begins. `begins_with` are the records from which it continues views that it does not make anew: what they name stays until it
    /// has ended.
    pub(super) fn begin(&self, task: u64, begins_with: BTreeMap<String, Record>) {
        let begins_with = begins_with.into_iter().map(|(view, record)| (view, Arc::new(record))).collect();
        *self.lock() = Some(UnderWay { task, begins_with });
    }

    /// The rebuild of this task, if it is the one under way, has been swapped in or given up.
    pub(super) fn end(&self, task: u64) {
        self.lock().take_if(|under_way| under_way.task == task);
    }

    /// The rebuild that is under way has been swapped in.
    pub(super) fn swapped_in(&self) {
        *self.lock() = None;
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.lock().is_some()
    }

    /// Whether this task does the rebuild that is under way.
    pub(super) fn is_done_by(&self, task: u64) -> bool {
        self.lock().as_ref().is_some_and(|under_way| under_way.task == task)
    }

    /// The record from which the rebuild under way continues the view.
    pub(super) fn holds(&self, view: &str) -> Option<Arc<Record>> {
        self.lock().as_ref()?.begins_with.get(view).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Option<UnderWay>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
