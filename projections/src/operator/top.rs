//! Top n: the first rows of an order, over input that retracts rows.
//!
//! When one of the first rows is retracted, the next one takes its place. So every row is stored, as a multiset. Many more of the first
//! rows than the answer needs are held in memory, in order. When too few are left, they are collected again from all rows. That takes so
//! many changes that the cost for each of them is small.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::ready;
use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::Int64Array;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;

use super::kit::columns::evaluate;
use super::kit::rows::{batch, renamed_deltas};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::consolidate::net;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::physical::{self, Effort};
use crate::state::keys::{KeyEncoder, prefix};
use crate::state::multiset::Multiset;
use crate::state::{TableCheckpoint, Tables};

/// At least one in this many stored rows is held. Collecting them again then costs a few rows for each change before it.
const HELD_PART: u64 = 8;
/// At least this many rows are held, if there are as many.
const LEAST_HELD: u64 = 8;

/// Keeps the rows of an order from position `skip` to position `fetch` (exclusive).
#[derive(Debug)]
pub(crate) struct Top {
    skip: u64,
    fetch: u64,
    by: Vec<Arc<dyn PhysicalExpr>>,
    order: RowConverter,
    rows: RowConverter,
    stored: Multiset,
    held: BTreeMap<Standing, Held>,
    /// The sum of the weights of the held rows.
    held_rows: u64,
    /// The bytes of the encodings of the held rows.
    bytes: usize,
    /// The standing up to which rows are held (inclusive). None if all rows are held.
    last_held: Option<Standing>,
    /// The answer: encoded rows with their weights.
    answer: Vec<(Box<[u8]>, i64)>,
    answers: KeyEncoder,
    schema: SchemaRef,
}

/// Where a row stands in the order: the encoding of its sort keys, followed by that of the row itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// The first bytes of the encoding, so that most comparisons need not follow the pointer.
    prefix: u128,
    encoded: Box<[u8]>,
}

/// A held row, whose encoding is part of its [`Standing`].
#[derive(Debug)]
struct Held {
    /// Where in the encoding the row itself begins, after its sort keys.
    row: u32,
    weight: i64,
}

impl Top {
    pub(crate) async fn new(node: &Node, plan: &LogicalPlan, skip: usize, fetch: usize) -> Result<Self, Error> {
        let Some(input) = node.inputs.first() else {
            return Err(Error::Bug("a sort has no input".to_owned()));
        };
        let planned = physical::plan(plan, &[Arc::clone(&input.schema)], Effort::AsWritten).await?;
        let Some(sort) = first_sort(&planned.plan) else {
            return Err(Error::Bug("the plan of a sort has no sort".to_owned()));
        };
        let below = sort.input().schema();
        let order = sort
            .expr()
            .iter()
            .map(|key| Ok(SortField::new_with_options(key.expr.data_type(&below)?, key.options)))
            .collect::<Result<Vec<_>, Error>>()?;
        let name = format!("n{}-rows", node.id);
        let stored = match &input.key {
            // A changed row is then written once, as a new version, and not twice.
            Some(key) if !key.is_empty() && key.iter().all(|column| is_exact(input.schema.field(*column).data_type())) => {
                Multiset::identified(name, &input.schema, key)?
            }
            _ => Multiset::new(name, &input.schema)?,
        };
        let rows = stored.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self {
            skip: skip as u64,
            fetch: fetch as u64,
            by: sort.expr().iter().map(|key| Arc::clone(&key.expr)).collect(),
            order: RowConverter::new(order)?,
            rows: RowConverter::new(rows)?,
            stored,
            held: BTreeMap::new(),
            held_rows: 0,
            bytes: 0,
            last_held: None,
            answer: Vec::new(),
            answers: KeyEncoder::new(node.schema.fields())?,
            schema: Arc::clone(&node.schema),
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, pending: Vec<Delta>) -> Result<Vec<Delta>, Error> {
        if pending.is_empty() {
            return Ok(Vec::new());
        }
        let net_changes = self.stored.net(&renamed_deltas(pending, &self.stored.schema())?)?;
        self.hold(&net_changes.rows, &net_changes.weights)?;
        self.stored.apply_net(&net_changes)?;
        self.stored.end_epoch()?;
        if self.last_held.is_some() && self.held_rows < self.fetch {
            self.collect_first()?;
        }
        self.trim();
        let now = self.first();
        let before = std::mem::replace(&mut self.answer, now);
        let deltas = [self.delta(&before, -1)?, self.delta(&self.answer, 1)?];
        Ok(net(&self.schema, &self.answers, &deltas)?.into_deltas())
    }

    /// Adds the weights of rows to the held rows. Ignores rows that stand behind the last held one.
    fn hold(&mut self, rows: &RecordBatch, weights: &[i64]) -> Result<(), Error> {
        let order = self.order.convert_columns(&evaluate(&self.by, rows)?)?;
        let content = self.rows.convert_columns(rows.columns())?;
        let mut encoded = Vec::new();
        for (row, weight) in weights.iter().enumerate() {
            let (order, content) = (order.row(row), content.row(row));
            encoded.clear();
            encoded.extend_from_slice(order.data());
            encoded.extend_from_slice(content.data());
            let prefix = prefix(&encoded);
            if let Some(last) = &self.last_held
                && (prefix, encoded.as_slice()) > (last.prefix, &last.encoded)
            {
                continue;
            }
            self.held_rows = self.held_rows.wrapping_add_signed(*weight);
            match self.held.entry(Standing { prefix, encoded: encoded.as_slice().into() }) {
                Entry::Vacant(entry) => {
                    self.bytes += encoded.len();
                    entry.insert(Held { row: order.data().len() as u32, weight: *weight });
                }
                Entry::Occupied(mut entry) => {
                    entry.get_mut().weight += weight;
                    if entry.get().weight == 0 {
                        self.bytes -= encoded.len();
                        entry.remove();
                    }
                }
            }
        }
        Ok(())
    }

    /// Collects the first rows again from all stored rows.
    fn collect_first(&mut self) -> Result<(), Error> {
        self.held.clear();
        (self.held_rows, self.bytes, self.last_held) = (0, 0, None);
        for (rows, weights) in self.stored.weighted()? {
            self.hold(&rows, &weights)?;
            self.trim();
        }
        Ok(())
    }

    /// Drops the last held rows if there are more than twice as many as wanted.
    fn trim(&mut self) {
        let (stored, _) = self.stored.size();
        let wanted = self.fetch.saturating_mul(2).max(stored / HELD_PART).max(LEAST_HELD) as usize;
        if self.held.len() / 2 <= wanted {
            return;
        }
        while self.held.len() > wanted
            && let Some((standing, held)) = self.held.pop_last()
        {
            self.held_rows = self.held_rows.wrapping_add_signed(-held.weight);
            self.bytes -= standing.encoded.len();
        }
        self.last_held = self.held.last_key_value().map(|(standing, _)| standing.clone());
    }

    /// Returns the answer: the first rows without the skipped ones.
    fn first(&self) -> Vec<(Box<[u8]>, i64)> {
        let mut first = Vec::new();
        let mut position = 0;
        for (standing, held) in &self.held {
            if position >= self.fetch {
                break;
            }
            let next = position + held.weight.unsigned_abs();
            let shown = next.min(self.fetch).saturating_sub(position.max(self.skip));
            if shown > 0 {
                first.push((standing.encoded[held.row as usize..].into(), shown as i64));
            }
            position = next;
        }
        first
    }

    fn delta(&self, rows: &[(Box<[u8]>, i64)], sign: i64) -> Result<Delta, Error> {
        let parser = self.rows.parser();
        let columns = self.rows.convert_rows(rows.iter().map(|(row, _)| parser.parse(row)))?;
        let weights = Int64Array::from_iter_values(rows.iter().map(|(_, weight)| sign * weight));
        Ok(Delta { rows: batch(&self.schema, columns, rows.len())?, weights: Some(weights) })
    }
}

impl Stateful for Top {
    type Prepared = Delta;

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Delta, Error> {
        if self.by.iter().any(|by| !by.is::<Column>()) {
            evaluate(&self.by, &delta.rows)?;
        }
        Ok(delta)
    }

    fn flush<'a>(&'a mut self, pending: Pending<Delta>, _failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes(pending.into_iter().flatten().collect())))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.push(self.stored.checkpoint());
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        let batches = tables.take(self.stored.name())?;
        self.stored.restore(batches)?;
        self.collect_first()?;
        self.answer = self.first();
        Ok(())
    }

    fn size(&self) -> (u64, u64) {
        let (rows, bytes) = self.stored.size();
        (rows, bytes + (self.bytes + self.held.len() * size_of::<(Standing, Held)>()) as u64)
    }
}

/// Checks whether equal values of a type always have the same bits.
fn is_exact(data_type: &DataType) -> bool {
    !data_type.is_floating() && !data_type.is_nested()
}

fn first_sort(plan: &Arc<dyn ExecutionPlan>) -> Option<&SortExec> {
    match plan.downcast_ref::<SortExec>() {
        Some(sort) => Some(sort),
        None => plan.children().first().and_then(|child| first_sort(child)),
    }
}
