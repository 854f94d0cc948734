//! Group commit: one caller at a time writes to the database, for all that wait. So pipelines that commit at the same moment share one sync.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A key, and its new value; none removes the key.
pub(super) type Operation = (Vec<u8>, Option<Vec<u8>>);

/// Those that wait to write, and the turn to do it. `E` says why a write failed: each caller of the group gets it.
#[derive(Debug)]
pub(super) struct Group<E> {
    waiting: Mutex<Vec<Arc<Request<E>>>>,
    turn: Mutex<()>,
}

/// What one caller writes, and how that ended.
#[derive(Debug)]
struct Request<E> {
    operations: Vec<Operation>,
    outcome: OnceLock<Result<(), E>>,
}

impl<E: Clone> Group<E> {
    pub(super) fn new() -> Group<E> {
        Group { waiting: Mutex::default(), turn: Mutex::default() }
    }

    /// Writes `operations` by `write`, with those of the callers that wait meanwhile, in the order in which they came. Returns when they are
    /// written.
    ///
    /// # Errors
    /// Those of `write`, for each caller whose operations were in it.
    pub(super) fn write(&self, operations: Vec<Operation>, write: impl FnOnce(&[&Operation]) -> Result<(), E>) -> Result<(), E> {
        let own = Arc::new(Request { operations, outcome: OnceLock::new() });
        held(&self.waiting).push(Arc::clone(&own));
        let turn = held(&self.turn);
        if let Some(outcome) = own.outcome.get() {
            return outcome.clone();
        }
        let mut group = mem::take(&mut *held(&self.waiting));
        // Another caller has taken it, and panicked.
        if !group.iter().any(|request| Arc::ptr_eq(request, &own)) {
            group.push(Arc::clone(&own));
        }
        let all: Vec<&Operation> = group.iter().flat_map(|request| &request.operations).collect();
        let outcome = write(&all);
        for request in &group {
            // Only the holder of the turn sets an outcome, once.
            let _ = request.outcome.set(outcome.clone());
        }
        drop(turn);
        outcome
    }
}

/// A panic of another caller leaves nothing half done here.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use std::sync::mpsc::channel;

    use super::*;

    fn put(key: u8) -> Vec<Operation> {
        vec![(vec![key], Some(vec![key]))]
    }

    #[test]
    fn those_who_wait_are_written_together_in_their_order_and_share_the_outcome() {
        let group: Group<String> = Group::new();
        let (began, begins) = channel();
        let (go, goes) = channel::<()>();
        let written = Mutex::new(Vec::new());
        let note = |operations: &[&Operation]| {
            written.lock().unwrap().push(operations.iter().map(|(key, _)| key[0]).collect::<Vec<_>>())
        };
        std::thread::scope(|scope| {
            let (group, note) = (&group, &note);
            let first = scope.spawn(move || {
                group.write(put(1), |operations| {
                    began.send(()).unwrap();
                    goes.recv().unwrap();
                    note(operations);
                    Ok(())
                })
            });
            begins.recv().unwrap();
            let mut others = Vec::new();
            for key in 2..=4 {
                others.push(scope.spawn(move || {
                    group.write(put(key), |operations| {
                        note(operations);
                        Err("no room".to_owned())
                    })
                }));
                // It waits before the next one comes.
                while held(&group.waiting).len() < usize::from(key) - 1 {
                    std::thread::yield_now();
                }
            }
            go.send(()).unwrap();
            assert_eq!(first.join().unwrap(), Ok(()));
            for other in others {
                assert_eq!(other.join().unwrap(), Err("no room".to_owned()));
            }
        });
        assert_eq!(*written.lock().unwrap(), [vec![1], vec![2, 3, 4]]);
    }

    #[test]
    fn a_panic_of_one_writer_does_not_keep_the_others_from_writing() {
        let group: Group<String> = Group::new();
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| group.write(put(1), |_| panic!("as sled does")));
            assert!(panics.join().is_err());
        });
        let mut keys = Vec::new();
        group
            .write(put(2), |operations| {
                keys.extend(operations.iter().map(|(key, _)| key[0]));
                Ok(())
            })
            .unwrap();
        assert_eq!(keys, [2]);
    }
}
