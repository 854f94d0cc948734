//! Top n by key: ranks in one order, up to a bound, over insert-only input.
//!
//! A row that falls behind the bound never returns, so only the rows up to the bound are stored. For each touched key, ranks are counted
//! among the stored rows and then among all rows. The difference is emitted.

mod count;
mod order;

use std::future::ready;
use std::ops::Range;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::{ArrayRef, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan};

use self::count::{Count, Function, RowRanks};
use self::order::{Order, Standing};
use super::kit::expiry::Expired;
use super::kit::groups::{AnswerDiff, Groups};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::arrangement::{Arrangement, Removal};
use crate::state::buckets::Buckets;
use crate::state::{TableCheckpoint, Tables};

/// Keeps the first rows of each key.
#[derive(Debug)]
pub(crate) struct Ranks {
    rows: Arrangement,
    /// How many leading columns are emitted. The others are only keys.
    columns: usize,
    order: Order,
    functions: Vec<Function>,
    /// The index of the bounded function.
    bounded: usize,
    bound: u64,
    schema: SchemaRef,
}

impl Ranks {
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, key: &KeyedInput, bounded: usize, bound: u64) -> Result<Self, Error> {
        let (LogicalPlan::Window(window), Some(input)) = (plan, node.inputs.first()) else {
            return Err(Error::Bug("the plan of ranks is not a window".to_owned()));
        };
        let below = window.input.schema();
        let mut functions = Vec::new();
        let mut by = Vec::new();
        for expression in &window.window_expr {
            let Expr::WindowFunction(call) = expression.clone().unalias() else {
                return Err(Error::Bug("a window has an expression that is not a window function".to_owned()));
            };
            functions.push(Function::of(&call.fun)?);
            by = call.params.order_by;
        }
        let buckets = Buckets::new(&input.schema, &key.columns, key.nulls_match)?;
        Ok(Self {
            rows: Arrangement::new(format!("n{}-first", node.id), &input.schema, buckets, Removal::ByPlace)?,
            columns: below.fields().len(),
            order: Order::new(&by, below, &input.schema)?,
            functions,
            bounded,
            bound,
            schema: Arc::clone(&node.schema),
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, arrived: Vec<Delta>) -> Result<Vec<Delta>, Error> {
        let Some(mut groups) = Groups::touched(&self.rows, arrived)? else { return Ok(Vec::new()) };
        let standing = self.order.sort(&mut groups, &self.rows)?;
        let diff = groups.diff(|keys| self.compare(&groups, &standing, keys));
        let deltas = self.deltas(&groups, &diff)?;
        let stored = &mut self.rows;
        let removed: Vec<_> = diff.removed.iter().map(|row| groups.place(*row)).collect();
        stored.remove(&removed)?;
        let kept = diff.emitted.iter().filter(|(row, _)| !groups.is_stored(*row));
        let kept: Vec<u32> = kept.map(|(row, _)| groups.index(*row) as u32).collect();
        let buckets: Vec<u32> = kept.iter().map(|row| groups.buckets[*row as usize]).collect();
        if !kept.is_empty() {
            stored.append(&take_record_batch(&groups.new, &UInt32Array::from(kept))?, &buckets)?;
        }
        stored.end_epoch()?;
        Ok(deltas)
    }

    /// Compares the answer for some keys without and with the new rows. Rows behind the bound are removed.
    fn compare(&self, groups: &Groups, standing: &Standing, keys: &[Range<u32>]) -> AnswerDiff<RowRanks> {
        let mut diff = AnswerDiff::default();
        for key in keys {
            let (mut before, mut now) = (Count::default(), Count::default());
            for row in &groups.rows[key.start as usize..key.end as usize] {
                let is_stored = groups.is_stored(*row);
                let ranks = now.next(standing.of(*row), &self.functions);
                let stays = ranks[self.bounded] <= self.bound;
                if is_stored {
                    let old = before.next(standing.of(*row), &self.functions);
                    if stays && old == ranks {
                        continue;
                    }
                    diff.retracted.push((*row, old));
                    if !stays {
                        diff.removed.push(*row);
                    }
                }
                if stays {
                    diff.emitted.push((*row, ranks));
                }
            }
        }
        diff
    }

    /// Turns the difference into deltas of rows with their ranks.
    fn deltas(&self, groups: &Groups, diff: &AnswerDiff<RowRanks>) -> Result<Vec<Delta>, Error> {
        groups.deltas(&self.rows, &self.schema, diff, |gathered, ranked| {
            let rank = |function: usize| -> ArrayRef {
                Arc::new(UInt64Array::from_iter_values(ranked.iter().map(|(_, ranks)| ranks[function])))
            };
            gathered.columns()[..self.columns].iter().cloned().chain((0..self.functions.len()).map(rank)).collect()
        })
    }
}

impl Stateful for Ranks {
    type Prepared = Delta;

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Delta, Error> {
        self.order.check(&delta.rows)?;
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes(pending.into_iter().flatten().collect())))
    }

    fn evict(&mut self, _input: usize, expired: &Expired) -> Result<(), Error> {
        self.rows.evict(|rows| expired.of(rows))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.rows.checkpoint(tables);
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.rows.restore(tables)
    }

    fn size(&self) -> (u64, u64) {
        self.rows.size()
    }
}
