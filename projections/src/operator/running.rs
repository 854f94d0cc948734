//! Window functions whose frame begins with the partition: `row_number`, ranks, and aggregates from the first row to the current one.
//!
//! The answer for a row does not depend on the rows behind it. So a row is stored with its answers, and with what the answers of the
//! next row follow from. A change goes on from the row before the first changed one, and costs what stands behind that.
//!
//! The rows of each key are stored in their order. The arrangement keeps the rows of a bucket in the order in which they arrive, so all
//! rows behind a change are stored anew. They are read in pieces of a bounded size.

mod function;
mod sequence;
mod tails;

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, LogicalPlan};

use self::function::Function;
use self::sequence::{Sequences, Stored};
use self::tails::{Changed, Part, Tail};
use super::kit::expiry::Expired;
use super::kit::rows::{arrivals, batch, renamed_deltas};
use super::kit::sort_keys::SortKeys;
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::consolidate::net;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::arrangement::{Arrangement, Removal};
use crate::state::buckets::Buckets;
use crate::state::keys::KeyEncoder;
use crate::state::{Place, TableCheckpoint, Tables};

/// Runs window functions from the beginning of their partition.
#[derive(Debug)]
pub(crate) struct Running {
    /// The columns of the input, followed by those of each function: its answer, and what else the next row needs.
    rows: Arrangement,
    /// The schema of the input, without metadata.
    input: SchemaRef,
    /// How many leading columns are emitted. The others are only keys.
    columns: usize,
    order: SortKeys,
    functions: Vec<Function>,
    /// Whether the answer for a row depends on its peers behind it.
    peers: bool,
    /// Encodes rows of an input that retracts rows. None if rows only arrive.
    content: Option<KeyEncoder>,
    /// Compares answers.
    answers: KeyEncoder,
    schema: SchemaRef,
}

impl Running {
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, key: &KeyedInput) -> Result<Self, Error> {
        let (LogicalPlan::Window(window), Some(input)) = (plan, node.inputs.first()) else {
            return Err(Error::Bug("the plan of window functions is not a window".to_owned()));
        };
        let below = window.input.schema();
        let columns = below.fields().len();
        let mut functions = Vec::with_capacity(window.window_expr.len());
        let mut by = Vec::new();
        for (number, expression) in window.window_expr.iter().enumerate() {
            let Expr::WindowFunction(call) = expression.clone().unalias() else {
                return Err(Error::Bug("a window has an expression that is not a window function".to_owned()));
            };
            functions.push(Function::of(&call, below, node.schema.field(columns + number).data_type())?);
            by = call.params.order_by;
        }
        let bare: SchemaRef = Arc::new(Schema::new(input.schema.fields().clone()));
        let mut fields: Vec<Arc<Field>> = bare.fields().to_vec();
        for (number, function) in functions.iter().enumerate() {
            let types = function.types()?.into_iter().enumerate();
            fields.extend(types.map(|(part, data_type)| Arc::new(Field::new(format!("${number}:{part}"), data_type, true))));
        }
        let buckets = Buckets::new(&input.schema, &key.columns, true)?;
        Ok(Self {
            rows: Arrangement::new(format!("n{}-rows", node.id), &Arc::new(Schema::new(fields)), buckets, Removal::ByPlace)?,
            columns,
            order: SortKeys::new(&by, below, &input.schema)?,
            peers: functions.iter().any(Function::counts_peers),
            functions,
            content: input.retracts.then(|| KeyEncoder::new(bare.fields())).transpose()?,
            input: bare,
            answers: KeyEncoder::new(node.schema.fields())?,
            schema: Arc::clone(&node.schema),
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, arrived: Vec<Delta>) -> Result<Vec<Delta>, Error> {
        let Some(changed) = self.changed(arrived)? else { return Ok(Vec::new()) };
        let may_split = !self.peers && self.content.is_none();
        let tails = changed.tails(&self.rows, &self.order, may_split)?;
        let mut deltas = Vec::new();
        let mut last: Option<Vec<ArrayRef>> = None;
        for piece in changed.pieces(&tails, &self.rows, &self.order, may_split)? {
            let stored = self.stored(&changed, &tails, &piece, last.take())?;
            let sequences = Sequences::merge(&self.rows, &changed, &piece, &stored)?;
            let added = self.answered(&changed, &stored, &sequences)?;
            deltas.extend(self.difference(&stored.rows, &added)?);
            last = self.last(&added, stored);
            self.rows.append(&added, &sequences.buckets(&changed, &piece))?;
        }
        // Until here, the old rows were read where they are.
        let places: Vec<Place> = tails.into_iter().flat_map(|tail| tail.places).collect();
        self.rows.remove(&places)?;
        self.rows.end_epoch()?;
        Ok(deltas)
    }

    /// Returns the functions' columns of the last row, from which the next piece of the same key goes on.
    fn last(&self, added: &RecordBatch, stored: Stored) -> Option<Vec<ArrayRef>> {
        match added.num_rows().checked_sub(1) {
            Some(row) => {
                let columns = &added.columns()[self.input.fields().len()..];
                Some(columns.iter().map(|column| column.slice(row, 1)).collect())
            }
            None => stored.carried_at.last()?.map(|_| stored.carried),
        }
    }

    /// Consolidates the changes and sorts those of each key. None if nothing changes.
    fn changed(&self, arrived: Vec<Delta>) -> Result<Option<Changed>, Error> {
        if arrived.is_empty() {
            return Ok(None);
        }
        let (rows, weights, content) = match &self.content {
            Some(encoder) => {
                let net = net(&self.input, encoder, &renamed_deltas(arrived, &self.input)?)?;
                (net.rows, net.weights, Some(net.keys))
            }
            None => {
                let rows = arrivals(arrived, &self.input)?;
                let weights = vec![1; rows.num_rows()];
                (rows, weights, None)
            }
        };
        if rows.num_rows() == 0 {
            return Ok(None);
        }
        let order = self.order.encode(&rows.project(self.order.columns())?)?;
        Ok(Some(Changed::new(&self.rows, rows, weights, order, content)?))
    }

    /// Reads the stored rows of a piece, and what goes on from the rows before them. `last` is that of a key that the piece before began.
    fn stored(&self, changed: &Changed, tails: &[Tail], piece: &[Part], last: Option<Vec<ArrayRef>>) -> Result<Stored, Error> {
        let places = piece.iter().flat_map(|part| tails[part.key].places[part.places.clone()].iter().copied());
        let rows = self.rows.gather(&places.collect::<Vec<_>>())?;
        let inputs = self.input.fields().len();
        let content = self.content.as_ref().map(|encoder| encoder.encode(&rows.columns()[..inputs], rows.num_rows()));
        let goes_on = piece.first().is_some_and(Part::goes_on);
        let before: Vec<Place> = piece.iter().filter(|part| !part.goes_on()).filter_map(|part| tails[part.key].before).collect();
        let mut next = 0;
        let has_before = |part: &Part| if goes_on { last.is_some() } else { tails[part.key].before.is_some() };
        let carried_at: Vec<Option<usize>> = piece
            .iter()
            .map(|part| {
                has_before(part).then(|| {
                    next += 1;
                    next - 1
                })
            })
            .collect();
        let ties = piece.iter().zip(&carried_at).map(|(part, at)| at.is_some() && changed.ties_before(&tails[part.key], part));
        Ok(Stored {
            order: self.order.encode(&rows.project(self.order.columns())?)?,
            content: content.transpose()?,
            ties: ties.collect(),
            carried: match last {
                Some(last) if goes_on => last,
                _ => self.rows.columns(inputs..self.rows.schema().fields().len(), &before)?,
            },
            carried_at,
            rows,
        })
    }

    /// Returns the rows of the new sequences with their answers, as they are stored.
    fn answered(&self, changed: &Changed, stored: &Stored, sequences: &Sequences) -> Result<RecordBatch, Error> {
        let inputs = self.input.fields().len();
        let mut columns = sequences.columns(&stored.rows, &changed.rows, inputs)?;
        let rows = batch(&self.input, columns.clone(), sequences.len())?;
        let mut first = 0;
        for function in &self.functions {
            let width = function.width();
            columns.extend(function.run(&rows, sequences, stored, first)?);
            first += width;
        }
        batch(self.rows.schema(), columns, sequences.len())
    }

    /// Retracts the answers of stored rows and emits those of the rows that replace them, if they differ.
    fn difference(&self, old: &RecordBatch, new: &RecordBatch) -> Result<Vec<Delta>, Error> {
        let emitted = Delta::insertions(self.emitted(new)?);
        if old.num_rows() == 0 {
            return Ok(if new.num_rows() == 0 { Vec::new() } else { vec![emitted] });
        }
        let retracted = Delta::retractions(self.emitted(old)?);
        Ok(net(&self.schema, &self.answers, &[retracted, emitted])?.into_deltas())
    }

    fn emitted(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let mut columns: Vec<ArrayRef> = rows.columns()[..self.columns].to_vec();
        let mut first = self.input.fields().len();
        for function in &self.functions {
            columns.push(Arc::clone(rows.column(first)));
            first += function.width();
        }
        batch(&self.schema, columns, rows.num_rows())
    }
}

impl Stateful for Running {
    type Prepared = Delta;

    fn prepare(&self, _input: usize, delta: Delta) -> Result<Delta, Error> {
        self.order.check(&delta.rows)?;
        self.functions.iter().try_for_each(|function| function.check(&delta.rows))?;
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
