//! Finds the rows on which an expression fails, leaves them out and counts them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::delta::Delta;
use crate::error::Error;

/// Rows that were left out and cannot be traced to one row of a source: rows above a stateful operator, and rows of another view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The number of rows. The retraction of such a row is left out too, but not counted.
    pub rows: u64,
    /// The error of the first one.
    pub first_error: Option<String>,
}

/// Counts the rows that are left out.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<LeftOut>);

impl Failures {
    /// Returns what was left out since the last call.
    pub(crate) fn take(&self) -> LeftOut {
        std::mem::take(&mut *self.lock())
    }

    fn add(&self, more: LeftOut) {
        let mut all = self.lock();
        all.rows += more.rows;
        if all.first_error.is_none() {
            all.first_error = more.first_error;
        }
    }

    fn lock(&self) -> MutexGuard<'_, LeftOut> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to do with a row on which an expression fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OnFailure<'a> {
    /// Return the error.
    Refuse,
    /// Leave the row out, whatever its weight, and count it if it is inserted.
    LeaveOut(&'a Failures),
}

impl OnFailure<'_> {
    /// Counts rows that were left out already.
    pub(crate) fn count(self, rows: u64, error: Option<String>) {
        if let (OnFailure::LeaveOut(failures), 1..) = (self, rows) {
            failures.add(LeftOut { rows, first_error: error });
        }
    }

    /// Runs `run` over the rows and returns its results, in row order. If rows may be left out and `run` fails, it runs again over
    /// each half, down to the single rows that fail. A failed `run` must leave no trace.
    ///
    /// # Errors
    /// Those of `run`. [`Error::Row`] only with [`OnFailure::Refuse`].
    pub(crate) fn each<T>(self, delta: Delta, mut run: impl FnMut(Delta) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let OnFailure::LeaveOut(failures) = self else { return Ok(vec![run(delta)?]) };
        let mut given = Vec::with_capacity(1);
        // Rows still to try, the first ones on top.
        let mut untried = vec![delta];
        while let Some(delta) = untried.pop() {
            let rows = delta.rows.num_rows();
            match run(delta.clone()) {
                Ok(one) => given.push(one),
                Err(Error::Row(error)) if rows <= 1 => {
                    let inserted = delta.weights_iter().map(|weight| weight.max(0).unsigned_abs()).sum();
                    if inserted > 0 {
                        failures.add(LeftOut { rows: inserted, first_error: Some(error) });
                    }
                }
                Err(Error::Row(_)) => {
                    let middle = rows / 2;
                    untried.push(delta.slice(middle, rows - middle));
                    untried.push(delta.slice(0, middle));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(given)
    }
}
