//! A tree of operators within an operator.

use super::stateful::Flush;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::{TableCheckpoint, Tables};

/// A tree of operators that an operator runs as a part of its own.
///
/// # Contract
/// - What pushes and flushes return sums up to the changes of the tree's answer (checked by the sqllogictest files and the searches).
/// - The state of its operators has names of its own (unchecked: the planner numbers the nodes).
pub(crate) trait Tree: std::fmt::Debug + Send {
    /// Applies changes of a relation that the tree reads. They have all columns of it. Returns the changes of the answer that pass no stateful
    /// operator.
    fn push(&mut self, relation: &str, delta: &Delta, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error>;

    /// Returns the other changes of the answer since the last flush.
    fn flush<'a>(&'a mut self, failing: OnFailure<'a>) -> Flush<'a>;

    /// As in [`Stateful`](super::stateful::Stateful).
    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>);

    /// As in [`Stateful`](super::stateful::Stateful).
    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error>;

    /// As in [`Stateful`](super::stateful::Stateful).
    fn size(&self) -> (u64, u64);
}
