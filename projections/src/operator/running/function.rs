//! The functions, and how their answers follow from those of the rows before.

use std::ops::Range;
use std::sync::Arc;

use alluvium_sql::session_state;
use arrow::array::{Array, ArrayRef, AsArray, UInt32Array, UInt64Array, new_empty_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, UInt64Type};
use arrow::record_batch::RecordBatch;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionDefinition};
use datafusion::logical_expr::{Accumulator, WindowFrameUnits};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use rayon::prelude::*;

use super::sequence::{Sequences, Stored};
use crate::error::Error;
use crate::operator::kit::columns::{evaluate, with_type};

/// A thread takes at least this many keys at once, if there are as many.
const KEYS_AT_ONCE: usize = 64;

/// A window function. Its first column is its answer.
#[derive(Debug)]
pub(super) struct Function {
    kind: Kind,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether the answer for a row depends on its peers behind it.
    peers: bool,
    answer: DataType,
}

#[derive(Debug)]
enum Kind {
    RowNumber,
    /// The second column is the number of the row.
    Rank,
    DenseRank,
    FirstValue,
    LastValue,
    Aggregate {
        aggregate: Box<AggregateFunctionExpr>,
        /// The types of the state, which are columns behind the answer. Empty if the answer is the state.
        state: Vec<DataType>,
    },
}

/// The answers and states of the rows of a key.
struct Answered {
    answers: Vec<ScalarValue>,
    /// For each part of the state.
    states: Vec<Vec<ScalarValue>>,
}

impl Function {
    /// Reads a call over the columns of `schema`, whose answers have the type `answer`.
    pub(super) fn of(call: &WindowFunction, schema: &DFSchema, answer: &DataType) -> Result<Self, Error> {
        let state = session_state()?;
        let arguments = call.params.args.iter().map(|argument| Ok(state.create_physical_expr(argument.clone(), schema)?));
        let arguments = arguments.collect::<Result<Vec<_>, Error>>()?;
        let mut peers = call.params.window_frame.units != WindowFrameUnits::Rows;
        let kind = match &call.fun {
            WindowFunctionDefinition::WindowUDF(function) => match function.name() {
                "row_number" => {
                    peers = false;
                    Kind::RowNumber
                }
                name @ ("rank" | "dense_rank" | "first_value") => {
                    peers = false;
                    match name {
                        "rank" => Kind::Rank,
                        "dense_rank" => Kind::DenseRank,
                        _ => Kind::FirstValue,
                    }
                }
                "last_value" => Kind::LastValue,
                other => return Err(Error::Bug(format!("{other} does not go on from the row before"))),
            },
            WindowFunctionDefinition::AggregateUDF(function) => {
                let aggregate = AggregateExprBuilder::new(Arc::clone(function), arguments.clone())
                    .schema(Arc::clone(schema.inner()))
                    .alias(function.name())
                    .build()?;
                let state: Vec<DataType> = aggregate.state_fields()?.iter().map(|field| field.data_type().clone()).collect();
                let is_answer = state.len() == 1 && state[0] == *answer;
                Kind::Aggregate { aggregate: Box::new(aggregate), state: if is_answer { Vec::new() } else { state } }
            }
        };
        Ok(Self { kind, arguments, peers, answer: answer.clone() })
    }

    /// Checks whether the answer for a row depends on its peers behind it.
    pub(super) fn counts_peers(&self) -> bool {
        self.peers
    }

    /// Returns the types of the function's columns.
    pub(super) fn types(&self) -> Result<Vec<DataType>, Error> {
        let more: &[DataType] = match &self.kind {
            Kind::Rank => &[DataType::UInt64],
            Kind::Aggregate { state, .. } => state,
            _ => &[],
        };
        Ok(std::iter::once(&self.answer).chain(more).cloned().collect())
    }

    /// Returns the number of the function's columns.
    pub(super) fn width(&self) -> usize {
        match &self.kind {
            Kind::Rank => 2,
            Kind::Aggregate { state, .. } => 1 + state.len(),
            _ => 1,
        }
    }

    /// Checks that the arguments can be evaluated on rows.
    ///
    /// # Errors
    /// [`Error::Row`] if one fails.
    pub(super) fn check(&self, rows: &RecordBatch) -> Result<(), Error> {
        evaluate(&self.arguments, rows).map(drop)
    }

    /// Returns the function's columns for the rows of all sequences. `first` is its first column among those that are carried.
    pub(super) fn run(
        &self,
        rows: &RecordBatch,
        sequences: &Sequences,
        stored: &Stored,
        first: usize,
    ) -> Result<Vec<ArrayRef>, Error> {
        let columns = match &self.kind {
            Kind::RowNumber => vec![numbers(|count, _| count + 1, sequences, stored, first)],
            Kind::DenseRank => vec![numbers(|count, starts| count + u64::from(starts), sequences, stored, first)],
            Kind::Rank => ranks(sequences, stored, first),
            Kind::FirstValue => vec![self.first_value(rows, sequences, stored, first)?],
            Kind::LastValue => {
                let values = evaluate(&self.arguments[..1], rows)?.swap_remove(0);
                let row_of = |row: usize| if self.peers { sequences.peers_end[row] - 1 } else { row };
                vec![taken(&values, (0..sequences.len()).map(row_of))?]
            }
            Kind::Aggregate { aggregate, state } => self.aggregate(aggregate, state, rows, sequences, stored, first)?,
        };
        columns.iter().zip(self.types()?).map(|(column, data_type)| with_type(column, &data_type)).collect()
    }

    fn first_value(&self, rows: &RecordBatch, sequences: &Sequences, stored: &Stored, first: usize) -> Result<ArrayRef, Error> {
        let values = evaluate(&self.arguments[..1], rows)?.swap_remove(0);
        let carried = with_type(&stored.carried[first], values.data_type())?;
        let both: [&dyn Array; 2] = [&carried, &values];
        let keys = sequences.keys.iter().zip(&stored.carried_at);
        let sources = keys.flat_map(|(key, carried_at)| {
            let source = carried_at.map_or((1, key.start), |carried| (0, carried));
            std::iter::repeat_n(source, key.len())
        });
        Ok(interleave(&both, &sources.collect::<Vec<_>>())?)
    }

    fn aggregate(
        &self,
        aggregate: &AggregateFunctionExpr,
        state: &[DataType],
        rows: &RecordBatch,
        sequences: &Sequences,
        stored: &Stored,
        first: usize,
    ) -> Result<Vec<ArrayRef>, Error> {
        let arguments = evaluate(&self.arguments, rows)?;
        let carried = if state.is_empty() { first..first + 1 } else { first + 1..first + 1 + state.len() };
        let carried = &stored.carried[carried];
        let keys = sequences.keys.par_iter().zip(&stored.carried_at).with_min_len(KEYS_AT_ONCE);
        let answered = keys.map(|(key, carried_at)| {
            let mut accumulator = aggregate.create_accumulator()?;
            if let Some(row) = carried_at {
                accumulator.merge_batch(&carried.iter().map(|part| part.slice(*row, 1)).collect::<Vec<_>>())?;
            }
            self.accumulate(accumulator.as_mut(), state.len(), &arguments, key.clone(), sequences)
        });
        let answered: Vec<Answered> = answered.collect::<Result<_, Error>>()?;
        let answers = answered.iter().flat_map(|of_key| &of_key.answers);
        let mut columns = vec![array_of(answers.cloned(), &self.answer)?];
        for (part, data_type) in state.iter().enumerate() {
            let of_part = answered.iter().flat_map(|of_key| &of_key.states[part]);
            columns.push(array_of(of_part.cloned(), data_type)?);
        }
        Ok(columns)
    }

    /// Adds the rows of a key one by one, or with their peers.
    fn accumulate(
        &self,
        accumulator: &mut dyn Accumulator,
        parts: usize,
        arguments: &[ArrayRef],
        key: Range<usize>,
        sequences: &Sequences,
    ) -> Result<Answered, Error> {
        let mut answered = Answered { answers: Vec::with_capacity(key.len()), states: vec![Vec::new(); parts] };
        let mut row = key.start;
        while row < key.end {
            let end = if self.peers { sequences.peers_end[row] } else { row + 1 };
            let of_rows: Vec<ArrayRef> = arguments.iter().map(|argument| argument.slice(row, end - row)).collect();
            accumulator.update_batch(&of_rows)?;
            answered.answers.extend(std::iter::repeat_n(accumulator.evaluate()?, end - row));
            if parts > 0 {
                for (states, state) in answered.states.iter_mut().zip(accumulator.state()?) {
                    states.extend(std::iter::repeat_n(state, end - row));
                }
            }
            row = end;
        }
        Ok(answered)
    }
}

/// Counts on from row to row. `next` returns the number of a row from that of the row before, and whether the row is the first of its peers.
fn numbers(next: impl Fn(u64, bool) -> u64, sequences: &Sequences, stored: &Stored, first: usize) -> ArrayRef {
    let carried = stored.carried[first].as_primitive::<UInt64Type>();
    let mut counted = Vec::with_capacity(sequences.len());
    for (number, key) in sequences.keys.iter().enumerate() {
        let mut count = stored.carried_at[number].map_or(0, |row| carried.value(row));
        for row in key.clone() {
            count = next(count, starts_peers(sequences, stored, number, row));
            counted.push(count);
        }
    }
    Arc::new(UInt64Array::from(counted))
}

/// Returns the rank of each row, and its number.
fn ranks(sequences: &Sequences, stored: &Stored, first: usize) -> Vec<ArrayRef> {
    let numbers = numbers(|count, _| count + 1, sequences, stored, first + 1);
    let of_rows = numbers.as_primitive::<UInt64Type>().values();
    let carried = stored.carried[first].as_primitive::<UInt64Type>();
    let mut ranks: Vec<u64> = Vec::with_capacity(sequences.len());
    for (number, key) in sequences.keys.iter().enumerate() {
        let mut rank = stored.carried_at[number].map_or(0, |row| carried.value(row));
        for row in key.clone() {
            if starts_peers(sequences, stored, number, row) {
                rank = of_rows[row];
            }
            ranks.push(rank);
        }
    }
    vec![Arc::new(UInt64Array::from(ranks)), numbers]
}

/// Checks whether a row of the key `number` is the first of its peers.
fn starts_peers(sequences: &Sequences, stored: &Stored, number: usize, row: usize) -> bool {
    if row == sequences.keys[number].start { !stored.ties[number] } else { sequences.peers_end[row - 1] == row }
}

fn array_of(values: impl Iterator<Item = ScalarValue>, data_type: &DataType) -> Result<ArrayRef, Error> {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Ok(new_empty_array(data_type));
    }
    Ok(ScalarValue::iter_to_array(values)?)
}

/// Takes the rows of an array at some indices.
fn taken(array: &ArrayRef, rows: impl Iterator<Item = usize>) -> Result<ArrayRef, Error> {
    Ok(take(array, &UInt32Array::from_iter_values(rows.map(|row| row as u32)), None)?)
}
