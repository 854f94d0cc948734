//! Inner joins: the changes of each side are joined with the rows of the other, and both sides are stored by key.
//!
//! Left changes are joined with the right rows before this epoch, right changes with the left rows after it, so that a pair of changes
//! is counted once.

use std::future::ready;

use alluvium_sql::{KeyedInput, Node};
use datafusion::logical_expr::LogicalPlan;

use super::kit::bucketed::BucketedDelta;
use super::kit::expiry::Expired;
use super::kit::pairing::Pairing;
use super::kit::rows::without_nulls;
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::{TableCheckpoint, Tables};

/// Runs an inner join.
#[derive(Debug)]
pub(crate) struct Join(Pairing);

impl Join {
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, keys: &[KeyedInput]) -> Result<Self, Error> {
        let LogicalPlan::Join(join) = plan else {
            return Err(Error::Bug("the plan of a join is not a join".to_owned()));
        };
        Ok(Self(Pairing::new(node, join, keys)?))
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, pending: Pending<Delta>, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let mut deltas = Vec::new();
        for (index, pending) in pending.into_iter().enumerate() {
            if pending.is_empty() {
                continue;
            }
            let change = BucketedDelta::new(&self.0.sides[index].rows, pending)?;
            deltas.extend(self.0.pairs(index, &change, false, failing)?.deltas);
            self.0.apply(index, &change)?;
            self.0.sides[index].rows.end_epoch()?;
        }
        Ok(deltas)
    }
}

impl Stateful for Join {
    type Prepared = Option<Delta>;

    fn prepare(&self, input: usize, delta: Delta) -> Result<Option<Delta>, Error> {
        without_nulls(delta, &self.0.sides[input].needed)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Option<Delta>>, failing: OnFailure<'a>) -> Flush<'a> {
        let pending = pending.into_iter().map(|deltas| deltas.into_iter().flatten().collect());
        Box::pin(ready(self.changes(pending.collect(), failing)))
    }

    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        self.0.sides[input].rows.evict(|rows| expired.of(rows))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.0.checkpoint(tables);
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.0.restore(tables)
    }

    fn size(&self) -> (u64, u64) {
        self.0.size()
    }
}
