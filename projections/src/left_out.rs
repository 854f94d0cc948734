//! Rows that are left out because an expression fails on them, and what is told of them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::delta::Delta;
use crate::error::Error;

/// What was left out where no row of a source can be named: above an operator that remembers, and of the rows of another view.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many rows. The retraction of such a row is left out too, and not counted.
    pub rows: u64,
    /// Why the first of them was left out.
    pub first_error: Option<String>,
}

/// Counts what is left out.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<LeftOut>);

impl Failures {
    /// What was left out since this was last asked.
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

/// What becomes of a row on which an expression fails.
#[derive(Debug, Clone, Copy)]
pub(crate) enum OnFailure<'a> {
    /// The error is given back.
    Refuse,
    /// The row is left out and counted, whatever its weight.
    LeaveOut(&'a Failures),
}

impl OnFailure<'_> {
    /// Runs `run` over the rows: once, where it fails on none of them, else over halves, until only rows that fail are left. After a
    /// failure `run` must leave no trace. Gives what the runs gave, in the order of the rows.
    ///
    /// # Errors
    /// Those of `run`; [`Error::Row`] only where rows are refused.
    pub(crate) fn each<T>(self, delta: Delta, mut run: impl FnMut(Delta) -> Result<T, Error>) -> Result<Vec<T>, Error> {
        let OnFailure::LeaveOut(failures) = self else { return Ok(vec![run(delta)?]) };
        let mut given = Vec::with_capacity(1);
        // Rows still to be tried, the first on top.
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
