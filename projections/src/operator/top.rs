//! The first rows of an order over rows that can be taken back.
//!
//! A row that leaves the front lets the next one in, so that every row is stored, as a multiset. The first rows of all, many more than
//! are asked for, are held in their order, by the encoding of what they are ordered by and then of the row itself. When too many of
//! these have left, they are found anew among all: as many changes went before as make that cheap.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::future::ready;
use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::sorts::sort::SortExec;

use super::linear::{batch, renamed};
use super::{Flush, Stateful};
use crate::consolidate::net;
use crate::delta::Delta;
use crate::error::Error;
use crate::physical::{self, Effort};
use crate::state::keys::{KeyEncoder, prefix};
use crate::state::multiset::Multiset;
use crate::state::{TableCheckpoint, Tables};

/// One of so many rows is held, at least: finding them anew then costs a change that made it needed as much as a few rows.
const HELD_PART: u64 = 8;
/// So many rows are held, where there are as many.
const LEAST_HELD: u64 = 8;

/// Keeps the rows from `skip` to `fetch` of an order.
#[derive(Debug)]
pub(crate) struct Top {
    skip: u64,
    fetch: u64,
    by: Vec<PhysicalSortExpr>,
    order: RowConverter,
    rows: RowConverter,
    stored: Multiset,
    held: BTreeMap<Standing, Held>,
    /// How many rows these are, each as many times as it is there, and the bytes of their encodings.
    held_rows: u64,
    bytes: usize,
    /// The last place up to which rows are held; none where all are.
    last_held: Option<Standing>,
    /// The answer: encoded rows, each with how many times it is there.
    answer: Vec<(Box<[u8]>, i64)>,
    answers: KeyEncoder,
    schema: SchemaRef,
    staged: Vec<Delta>,
    pending: Vec<Delta>,
}

/// Where a row stands: the encoding of what it is ordered by, and then of the row itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Standing {
    /// Of the encoding, which lies elsewhere: comparing seldom has to go there.
    prefix: u128,
    encoded: Box<[u8]>,
}

/// A row, by its encoding.
#[derive(Debug)]
struct Held {
    /// Where the row itself begins, after what it is ordered by.
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
            return Err(Error::Bug("a sort is planned as something else".to_owned()));
        };
        let by: Vec<PhysicalSortExpr> = sort.expr().iter().cloned().collect();
        let below = sort.input().schema();
        let order = by
            .iter()
            .map(|key| Ok(SortField::new_with_options(key.expr.data_type(&below)?, key.options)))
            .collect::<Result<Vec<_>, Error>>()?;
        let name = format!("n{}-rows", node.id);
        let stored = match &input.key {
            // Where a change of a row is a new version of it, that is one write and not two.
            Some(key) if !key.is_empty() && key.iter().all(|column| is_exact(input.schema.field(*column).data_type())) => {
                Multiset::identified(name, &input.schema, key)?
            }
            _ => Multiset::new(name, &input.schema)?,
        };
        let rows = stored.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        Ok(Self {
            skip: skip as u64,
            fetch: fetch as u64,
            by,
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
            staged: Vec::new(),
            pending: Vec::new(),
        })
    }

    /// What the epoch changes in the answer.
    fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        if self.pending.is_empty() {
            return Ok(Vec::new());
        }
        let schema = self.stored.schema();
        let changes = std::mem::take(&mut self.pending).into_iter();
        let changes = changes.map(|delta| Ok(Delta { rows: renamed(&delta.rows, &schema)?, weights: delta.weights }));
        let net_changes = self.stored.net(&changes.collect::<Result<Vec<_>, Error>>()?)?;
        self.hold(&net_changes.rows, &net_changes.weights)?;
        self.stored.apply_net(&net_changes)?;
        self.stored.end_epoch()?;
        if self.last_held.is_some() && self.held_rows < self.fetch {
            self.find_first()?;
        }
        self.let_go();
        let now = self.first();
        let before = std::mem::replace(&mut self.answer, now);
        let deltas = [self.delta(&before, -1)?, self.delta(&self.answer, 1)?];
        let change = net(&self.schema, &self.answers, &deltas)?;
        Ok(if change.weights.is_empty() { Vec::new() } else { vec![change.into_delta()] })
    }

    /// Adds weights to the rows in their order, as far as these are held.
    fn hold(&mut self, rows: &RecordBatch, weights: &[i64]) -> Result<(), Error> {
        let by = self.by.iter().map(|key| Ok(key.expr.evaluate(rows)?.into_array(rows.num_rows())?));
        let by: Vec<ArrayRef> = by.collect::<Result<_, Error>>()?;
        let order = self.order.convert_columns(&by)?;
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

    /// Holds the first rows of all that are stored.
    fn find_first(&mut self) -> Result<(), Error> {
        self.held.clear();
        (self.held_rows, self.bytes, self.last_held) = (0, 0, None);
        for (rows, weights) in self.stored.weighted()? {
            self.hold(&rows, &weights)?;
            self.let_go();
        }
        Ok(())
    }

    /// Lets go of the last rows where more than twice as many are held as are wanted.
    fn let_go(&mut self) {
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

    /// The first rows after those that are passed over.
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
    fn stage(&mut self, _input: usize, delta: Delta) -> Result<(), Error> {
        self.staged.push(delta);
        Ok(())
    }

    fn unstage(&mut self) {
        self.staged.clear();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        self.pending.append(&mut self.staged);
        Ok(())
    }

    fn flush(&mut self) -> Flush<'_> {
        Box::pin(ready(self.changes()))
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        tables.push(self.stored.checkpoint());
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        let batches = tables.take(self.stored.name())?;
        self.stored.restore(batches)?;
        self.find_first()?;
        self.answer = self.first();
        Ok(())
    }

    fn size(&self) -> (u64, u64) {
        let (rows, bytes) = self.stored.size();
        (rows, bytes + (self.bytes + self.held.len() * size_of::<(Standing, Held)>()) as u64)
    }
}

/// Whether values of a type that are equal are alike bit for bit, as far as that is plain.
fn is_exact(data_type: &DataType) -> bool {
    !data_type.is_floating() && !data_type.is_nested()
}

fn first_sort(plan: &Arc<dyn ExecutionPlan>) -> Option<&SortExec> {
    match plan.downcast_ref::<SortExec>() {
        Some(sort) => Some(sort),
        None => plan.children().first().and_then(|child| first_sort(child)),
    }
}
