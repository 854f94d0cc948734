//! The node around a stateful operator. It holds staged input, and pending input, which waits for the flush.
//!
//! Staged input is prepared, but its push can still be undone. Pending input is part of the epoch.

use std::fmt;

use super::expiry::Expired;
use super::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::{TableCheckpoint, Tables};

/// A [`Stateful`] operator with its input, whatever the type of its prepared input.
///
/// # Contract
/// - Staged input changes no answer before [`StatefulNode::absorb`], and none at all after [`StatefulNode::unstage`] (checked by
///   `tests/it/rejected.rs`).
/// - The rest as in [`Stateful`].
pub(crate) trait StatefulNode: fmt::Debug + Send {
    /// Prepares a delta of an input and holds it. A delta that fails leaves no trace.
    fn stage(&mut self, input: usize, delta: Delta) -> Result<(), Error>;

    /// Drops the staged input.
    fn unstage(&mut self);

    /// Absorbs the staged input.
    fn absorb(&mut self) -> Result<(), Error>;

    /// As [`Stateful::flush`], over all pending input.
    fn flush<'a>(&'a mut self, failing: OnFailure<'a>) -> Flush<'a>;

    /// As [`Stateful::evict`].
    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error>;

    /// As [`Stateful::expires`].
    fn expires(&self) -> Option<i64>;

    /// As [`Stateful::decides_expiry`].
    fn decides_expiry(&self) -> bool;

    /// As [`Stateful::checkpoint`].
    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>);

    /// As [`Stateful::restore`].
    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error>;

    /// As [`Stateful::size`].
    fn size(&self) -> (u64, u64);
}

/// An operator with its staged and its pending input.
pub(crate) struct Staging<O: Stateful> {
    operator: O,
    /// Prepared deltas, each with the number of its input.
    staged: Vec<(usize, O::Prepared)>,
    pending: Pending<O::Prepared>,
}

impl<O: Stateful> Staging<O> {
    /// Wraps an operator that has `inputs` inputs.
    pub(crate) fn new(operator: O, inputs: usize) -> Self {
        Self { operator, staged: Vec::new(), pending: nothing(inputs) }
    }
}

fn nothing<P>(inputs: usize) -> Pending<P> {
    std::iter::repeat_with(Vec::new).take(inputs).collect()
}

impl<O: Stateful> fmt::Debug for Staging<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operator.fmt(f)
    }
}

impl<O: Stateful> StatefulNode for Staging<O> {
    fn stage(&mut self, input: usize, delta: Delta) -> Result<(), Error> {
        self.staged.push((input, self.operator.prepare(input, delta)?));
        Ok(())
    }

    fn unstage(&mut self) {
        self.staged.clear();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        for (input, prepared) in self.staged.drain(..) {
            self.pending[input].push(prepared);
        }
        self.operator.absorb(&mut self.pending)
    }

    fn flush<'a>(&'a mut self, failing: OnFailure<'a>) -> Flush<'a> {
        let inputs = self.pending.len();
        let pending = std::mem::replace(&mut self.pending, nothing(inputs));
        self.operator.flush(pending, failing)
    }

    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        self.operator.evict(input, expired)
    }

    fn expires(&self) -> Option<i64> {
        self.operator.expires()
    }

    fn decides_expiry(&self) -> bool {
        self.operator.decides_expiry()
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.operator.checkpoint(tables);
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.operator.restore(tables)
    }

    fn size(&self) -> (u64, u64) {
        self.operator.size()
    }
}
