//! The first rows by key: ranks in one order over rows that only arrive, of which a bound says how far they are looked at.
//!
//! A row that falls behind the bound never returns, so that only those before it are stored. For a key that new rows touch, ranks
//! are counted among the stored rows and then among all; what differs goes on.
//!
//! Rows are ordered by the first bytes of the encoding of what they are ordered by; the rest is looked at where these tie.

use std::future::ready;
use std::ops::Range;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node, session_state};
use arrow::array::{ArrayRef, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::{Sort, WindowFunctionDefinition};
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use super::expiry::Expired;
use super::groups::{Arrivals, Changes, Groups};
use super::linear::over_columns;
use super::{Flush, Stateful};
use crate::delta::Delta;
use crate::error::Error;
use crate::state::arrangement::Leave;
use crate::state::keys::{PREFIX, prefix};
use crate::state::{TableCheckpoint, Tables};

/// Keeps the rows up to a rank.
#[derive(Debug)]
pub(crate) struct Ranks {
    rows: Arrivals,
    /// The first so many columns go on; others are keys only.
    columns: usize,
    /// What decides nearly always, and all that there is.
    first: Order,
    whole: Order,
    functions: Vec<Function>,
    /// Which of them is bounded.
    bounded: usize,
    bound: u64,
    schema: SchemaRef,
}

/// A function that counts the rows before one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    RowNumber,
    Rank,
    DenseRank,
}

/// Encodes what rows are ordered by.
#[derive(Debug)]
struct Order {
    by: Vec<PhysicalSortExpr>,
    /// Over these columns of the rows.
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Order {
    /// By expressions over the first columns of `rows`.
    fn new(by: &[Sort], schema: &DFSchema, rows: &SchemaRef) -> Result<Order, Error> {
        let state = session_state()?;
        let mut sorts = Vec::new();
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for sort in by {
            let expr = state.create_physical_expr(sort.expr.clone(), schema)?;
            let options = arrow::compute::SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
            columns.extend(collect_columns(&expr).iter().map(Column::index));
            fields.push(SortField::new_with_options(expr.data_type(rows)?, options));
            sorts.push(PhysicalSortExpr::new(expr, options));
        }
        columns.sort_unstable();
        columns.dedup();
        for sort in &mut sorts {
            sort.expr = over_columns(&sort.expr, &columns)?;
        }
        Ok(Order { by: sorts, columns, converter: RowConverter::new(fields)? })
    }

    /// Of rows that have the order's columns.
    fn encode(&self, rows: &RecordBatch) -> Result<datafusion::arrow::row::Rows, Error> {
        let values = self.by.iter().map(|key| Ok(key.expr.evaluate(rows)?.into_array(rows.num_rows())?));
        let values: Vec<ArrayRef> = values.collect::<Result<_, Error>>()?;
        Ok(self.converter.convert_columns(&values)?)
    }
}

/// As many of the sorts as are needed for the bytes that are compared first.
fn first_sorts<'a>(by: &'a [Sort], schema: &DFSchema) -> Result<&'a [Sort], Error> {
    let mut bytes = 0;
    for (index, sort) in by.iter().enumerate() {
        let data_type = datafusion::logical_expr::ExprSchemable::get_type(&sort.expr, schema)?;
        // One byte says whether there is a value.
        bytes += 1 + data_type.primitive_width().unwrap_or(PREFIX);
        if bytes >= PREFIX {
            return Ok(&by[..=index]);
        }
    }
    Ok(by)
}

/// Where each row stands in the order: rows of one key are peers where both are equal.
struct Standing {
    prefixes: Vec<u128>,
    /// Among those of the same prefix.
    ties: Vec<u32>,
}

impl Standing {
    fn of(&self, row: u32) -> (u128, u32) {
        (self.prefixes[row as usize], self.ties[row as usize])
    }
}

/// What each function gives for a row, in their order; there are at most three different ones.
type Given = [u64; 3];

impl Ranks {
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, key: &KeyedInput, bounded: usize, bound: u64) -> Result<Self, Error> {
        let (LogicalPlan::Window(window), Some(input)) = (plan, node.inputs.first()) else {
            return Err(Error::Bug("ranks are planned as something else".to_owned()));
        };
        let below = window.input.schema();
        let mut functions = Vec::new();
        let mut by = Vec::new();
        for expression in &window.window_expr {
            let Expr::WindowFunction(call) = expression.clone().unalias() else {
                return Err(Error::Bug("a window has another expression".to_owned()));
            };
            functions.push(Function::of(&call.fun)?);
            by = call.params.order_by;
        }
        Ok(Self {
            rows: Arrivals::new(format!("n{}-first", node.id), &input.schema, key, Leave::ByPlace)?,
            columns: below.fields().len(),
            first: Order::new(first_sorts(&by, below)?, below, &input.schema)?,
            whole: Order::new(&by, below, &input.schema)?,
            functions,
            bounded,
            bound,
            schema: Arc::clone(&node.schema),
        })
    }

    /// What the epoch changes in the answer.
    fn changes(&mut self) -> Result<Vec<Delta>, Error> {
        let Some(mut groups) = self.rows.take()? else { return Ok(Vec::new()) };
        let standing = self.order(&mut groups)?;
        let changes = groups.changes(|keys| self.compare(&groups, &standing, keys));
        let deltas = self.give(&groups, &changes)?;
        let stored = &mut self.rows.rows;
        let dropped: Vec<_> = changes.dropped.iter().map(|row| groups.place(*row)).collect();
        stored.remove(&dropped)?;
        let kept = changes.come.iter().filter(|(row, _)| !groups.is_stored(*row));
        let kept: Vec<u32> = kept.map(|(row, _)| groups.index(*row) as u32).collect();
        let buckets: Vec<u32> = kept.iter().map(|row| groups.buckets[*row as usize]).collect();
        if !kept.is_empty() {
            stored.append(&take_record_batch(&groups.new, &UInt32Array::from(kept))?, &buckets)?;
        }
        stored.end_epoch()?;
        Ok(deltas)
    }

    /// Brings the rows of each key in their order.
    fn order(&self, groups: &mut Groups) -> Result<Standing, Error> {
        let prefixes = groups.map_columns(&self.rows.rows, &self.first.columns, |rows| {
            let encoded = self.first.encode(&rows)?;
            let longest = encoded.iter().map(|row| row.data().len()).max().unwrap_or_default();
            Ok((encoded.iter().map(|row| prefix(row.data())).collect::<Vec<u128>>(), longest))
        })?;
        // Whether the first bytes are all.
        let complete = self.first.by.len() == self.whole.by.len() && prefixes.iter().all(|(_, longest)| *longest <= PREFIX);
        let prefixes: Vec<u128> = prefixes.into_iter().flat_map(|(prefixes, _)| prefixes).collect();
        groups.sort_keys(|row| (prefixes[row as usize], row));
        let mut rows = std::mem::take(&mut groups.rows);
        let mut tied: Vec<Range<usize>> = Vec::new();
        for key in groups.keys.iter().filter(|_| !complete) {
            let mut start = key.start as usize;
            for alike in rows[start..key.end as usize].chunk_by(|one, next| prefixes[*one as usize] == prefixes[*next as usize]) {
                if alike.len() > 1 {
                    tied.push(start..start + alike.len());
                }
                start += alike.len();
            }
        }
        let mut ties = vec![0; prefixes.len()];
        // As many at a time as are gathered at little cost.
        let mut rest = tied.as_slice();
        while !rest.is_empty() {
            let mut count = 0;
            let fits = rest.iter().take_while(|run| {
                let fits = count < crate::state::MAX_BATCH_ROWS;
                count += run.len();
                fits
            });
            let (now, later) = rest.split_at(fits.count());
            rest = later;
            let members: Vec<u32> = now.iter().flat_map(|run| rows[run.clone()].iter().copied()).collect();
            let encoded = self.whole.encode(&groups.columns_of(&self.rows.rows, &self.whole.columns, &members)?)?;
            let mut first = 0;
            for run in now {
                let mut by_whole: Vec<usize> = (first..first + run.len()).collect();
                by_whole.sort_by(|one, other| encoded.row(*one).cmp(&encoded.row(*other)));
                let mut place = 0;
                for (position, member) in by_whole.iter().enumerate() {
                    if position > 0 && encoded.row(by_whole[position - 1]) != encoded.row(*member) {
                        place = position as u32;
                    }
                    rows[run.start + position] = members[*member];
                    ties[members[*member] as usize] = place;
                }
                first += run.len();
            }
        }
        groups.rows = rows;
        Ok(Standing { prefixes, ties })
    }

    /// What new rows change of some keys: rows behind the bound are dropped.
    fn compare(&self, groups: &Groups, standing: &Standing, keys: &[Range<u32>]) -> Changes<Given> {
        let mut changes = Changes::default();
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
                    changes.out.push((*row, old));
                    if !stays {
                        changes.dropped.push(*row);
                    }
                }
                if stays {
                    changes.come.push((*row, ranks));
                }
            }
        }
        changes
    }

    /// Rows with their ranks as deltas.
    fn give(&self, groups: &Groups, changes: &Changes<Given>) -> Result<Vec<Delta>, Error> {
        groups.deltas(&self.rows.rows, &self.schema, changes, |gathered, ranked| {
            let rank = |function: usize| -> ArrayRef {
                Arc::new(UInt64Array::from_iter_values(ranked.iter().map(|(_, ranks)| ranks[function])))
            };
            gathered.columns()[..self.columns].iter().cloned().chain((0..self.functions.len()).map(rank)).collect()
        })
    }
}

impl Stateful for Ranks {
    fn stage(&mut self, _input: usize, delta: Delta) -> Result<(), Error> {
        if !self.whole.by.iter().all(|key| key.expr.is::<Column>()) {
            self.whole.encode(&delta.rows.project(&self.whole.columns)?)?;
        }
        self.rows.stage(delta);
        Ok(())
    }

    fn unstage(&mut self) {
        self.rows.unstage();
    }

    fn absorb(&mut self) -> Result<(), Error> {
        self.rows.absorb();
        Ok(())
    }

    fn flush(&mut self) -> Flush<'_> {
        Box::pin(ready(self.changes()))
    }

    fn evict(&mut self, _input: usize, expired: &Expired) -> Result<(), Error> {
        self.rows.rows.evict(|rows| expired.of(rows))
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

impl Function {
    fn of(function: &WindowFunctionDefinition) -> Result<Function, Error> {
        match function.name() {
            "row_number" => Ok(Function::RowNumber),
            "rank" => Ok(Function::Rank),
            "dense_rank" => Ok(Function::DenseRank),
            other => Err(Error::Bug(format!("{other} is no rank"))),
        }
    }
}

/// Counts through the rows of a key in their order.
#[derive(Default)]
struct Count {
    rows: u64,
    rank: u64,
    dense: u64,
    last: Option<(u128, u32)>,
}

impl Count {
    /// What the functions give for the next row.
    fn next(&mut self, standing: (u128, u32), functions: &[Function]) -> Given {
        self.rows += 1;
        if self.last != Some(standing) {
            self.last = Some(standing);
            self.rank = self.rows;
            self.dense += 1;
        }
        let mut ranks = [0; 3];
        for (rank, function) in ranks.iter_mut().zip(functions) {
            *rank = match function {
                Function::RowNumber => self.rows,
                Function::Rank => self.rank,
                Function::DenseRank => self.dense,
            };
        }
        ranks
    }
}
