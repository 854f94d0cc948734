//! Window functions over frames that leave out the row itself or its peers: `EXCLUDE CURRENT ROW`, `GROUP` and `TIES`. DataFusion 55.2 has none.
//!
//! Such a function reads whole partitions. For each row, it computes the function again over what remains of the frame, so that its cost is that of
//! the rows times the length of their frames.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{filter, partition};
use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Accumulator, LimitEffect, PartitionEvaluator, Signature, Volatility, WindowFunctionDefinition, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion::physical_expr::expressions::{Column, Literal};

/// What stands between the name of a function and the rows that its frame leaves out.
const EXCLUDE: &str = " EXCLUDE ";

/// The rows that a frame leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Without {
    CurrentRow,
    Group,
    Ties,
}

impl Without {
    fn words(self) -> &'static str {
        match self {
            Without::CurrentRow => "CURRENT ROW",
            Without::Group => "GROUP",
            Without::Ties => "TIES",
        }
    }
}

/// Returns the name of a function without what its frame leaves out.
pub(crate) fn plain_name(name: &str) -> &str {
    name.split_once(EXCLUDE).map_or(name, |(plain, _)| plain)
}

/// Checks whether the answer of a function depends on its frame.
pub(super) fn reads_frame(function: &WindowFunctionDefinition) -> bool {
    match function {
        WindowFunctionDefinition::AggregateUDF(_) => true,
        WindowFunctionDefinition::WindowUDF(function) => matches!(function.name(), "first_value" | "last_value" | "nth_value"),
    }
}

/// A function over such frames. Its arguments are those of the function, then the condition of FILTER if there is one, then the keys of the order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Excluding {
    name: String,
    signature: Signature,
    function: WindowFunctionDefinition,
    without: Without,
    arguments: usize,
    is_filtered: bool,
    keys: usize,
    is_distinct: bool,
    returns: FieldRef,
}

impl Excluding {
    /// `returns` is what the function returns over the same arguments.
    pub(super) fn new(
        function: WindowFunctionDefinition,
        without: Without,
        returns: FieldRef,
        arguments: usize,
        keys: usize,
    ) -> Self {
        Self {
            name: format!("{}{EXCLUDE}{}", function.name(), without.words()),
            signature: Signature::variadic_any(Volatility::Immutable),
            function,
            without,
            arguments,
            is_filtered: false,
            keys,
            is_distinct: false,
            returns,
        }
    }

    pub(super) fn filtered(self, is_filtered: bool) -> Self {
        Self { is_filtered, ..self }
    }

    pub(super) fn distinct(self, is_distinct: bool) -> Self {
        Self { is_distinct, ..self }
    }
}

impl WindowUDFImpl for Excluding {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let of = match &self.function {
            WindowFunctionDefinition::AggregateUDF(function) => {
                let fields = &args.input_fields()[..self.arguments];
                let expressions = args.input_exprs()[..self.arguments].iter().enumerate().map(|(index, expression)| {
                    // An aggregate may read constant arguments when it is made.
                    if expression.is::<Literal>() {
                        Arc::clone(expression)
                    } else {
                        Arc::new(Column::new(fields[index].name(), index)) as _
                    }
                });
                let aggregate = AggregateExprBuilder::new(Arc::clone(function), expressions.collect())
                    .schema(Arc::new(Schema::new(fields.to_vec())))
                    .alias(self.name.clone())
                    .with_ignore_nulls(args.ignore_nulls())
                    .with_distinct(self.is_distinct)
                    .build()?;
                Of::Aggregate(Arc::new(aggregate))
            }
            WindowFunctionDefinition::WindowUDF(function) => Of::Row {
                from_end: function.name() == "last_value",
                counted: function.name() == "nth_value",
                skips_nulls: args.ignore_nulls(),
            },
        };
        let filter = self.is_filtered.then_some(self.arguments);
        let first_key = self.arguments + usize::from(self.is_filtered);
        let keys = first_key..first_key + self.keys;
        Ok(Box::new(Remaining {
            of,
            without: self.without,
            arguments: self.arguments,
            filter,
            keys,
            row: 0,
            peers: None,
            last: None,
        }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), self.returns.data_type().clone(), self.returns.is_nullable())))
    }

    fn limit_effect(&self, _: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        LimitEffect::Unknown
    }
}

/// What is computed over the rows that remain.
#[derive(Debug)]
enum Of {
    Aggregate(Arc<AggregateFunctionExpr>),
    /// The value of one row: the first, the last, or the one whose number the second argument holds.
    Row {
        from_end: bool,
        counted: bool,
        skips_nulls: bool,
    },
}

/// Evaluates one partition, row by row.
#[derive(Debug)]
struct Remaining {
    of: Of,
    without: Without,
    arguments: usize,
    filter: Option<usize>,
    keys: Range<usize>,
    /// The next row.
    row: usize,
    /// The groups of peers, the last first. `None` before the first row.
    peers: Option<Vec<Range<usize>>>,
    /// The rows that remained for the row before, and the answer over them.
    last: Option<(Vec<Range<usize>>, ScalarValue)>,
}

impl PartitionEvaluator for Remaining {
    fn evaluate(&mut self, values: &[ArrayRef], frame: &Range<usize>) -> Result<ScalarValue> {
        let row = self.row;
        self.row += 1;
        let group = self.group(values, row)?;
        let remaining = match self.without {
            Without::CurrentRow => without(frame, std::slice::from_ref(&(row..row + 1))),
            Without::Group => without(frame, std::slice::from_ref(&group)),
            Without::Ties => without(frame, &[group.start..row, row + 1..group.end]),
        };
        if let Some((rows, answer)) = &self.last
            && *rows == remaining
            && matches!(self.of, Of::Aggregate(_) | Of::Row { counted: false, .. })
        {
            return Ok(answer.clone());
        }
        let answer = match &self.of {
            Of::Aggregate(aggregate) => self.aggregated(aggregate, values, &remaining)?,
            Of::Row { from_end, counted, skips_nulls } => {
                let value = &values[0];
                let number = if *counted { number_at(&values[1], row)? } else { Some(1) };
                let holds = |row: &usize| !*skips_nulls || value.is_valid(*row);
                let mut rows = remaining.iter().cloned().flatten().filter(holds);
                let found = number.and_then(|number| if *from_end { rows.next_back() } else { rows.nth(number - 1) });
                match found {
                    Some(found) => ScalarValue::try_from_array(value, found)?,
                    None => ScalarValue::try_from(value.data_type())?,
                }
            }
        };
        self.last = Some((remaining, answer.clone()));
        Ok(answer)
    }

    fn uses_window_frame(&self) -> bool {
        true
    }
}

impl Remaining {
    /// Returns the peers of a row, itself included.
    fn group(&mut self, values: &[ArrayRef], row: usize) -> Result<Range<usize>> {
        let peers = match &mut self.peers {
            Some(peers) => peers,
            None => {
                let keys = &values[self.keys.clone()];
                let rows = values.first().map_or(0, |value| value.len());
                let mut peers = if keys.is_empty() { std::iter::once(0..rows).collect() } else { partition(keys)?.ranges() };
                peers.reverse();
                self.peers.insert(peers)
            }
        };
        while peers.last().is_some_and(|group| group.end <= row) {
            peers.pop();
        }
        peers.last().cloned().ok_or_else(|| DataFusionError::Internal("a row is in no group of peers".to_owned()))
    }

    fn aggregated(&self, aggregate: &AggregateFunctionExpr, values: &[ArrayRef], rows: &[Range<usize>]) -> Result<ScalarValue> {
        let mut accumulator: Box<dyn Accumulator> = aggregate.create_accumulator()?;
        for rows in rows {
            let piece = |value: &ArrayRef| value.slice(rows.start, rows.len());
            let arguments = values[..self.arguments].iter();
            let arguments = match self.filter {
                Some(condition) => {
                    let condition = piece(&values[condition]);
                    arguments.map(|value| Ok(filter(&piece(value), condition.as_boolean())?)).collect::<Result<Vec<_>>>()?
                }
                None => arguments.map(piece).collect(),
            };
            accumulator.update_batch(&arguments)?;
        }
        accumulator.evaluate()
    }
}

/// Returns what remains of some rows. The holes do not overlap, and come in order.
fn without(rows: &Range<usize>, holes: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut remaining = Vec::with_capacity(holes.len() + 1);
    let mut start = rows.start;
    for hole in holes.iter().filter(|hole| hole.start < hole.end) {
        if start < hole.start.min(rows.end) {
            remaining.push(start..hole.start.min(rows.end));
        }
        start = start.max(hole.end);
    }
    if start < rows.end {
        remaining.push(start..rows.end);
    }
    remaining
}

/// Returns the number of a row within its frame, as a row asks for it.
fn number_at(numbers: &ArrayRef, row: usize) -> Result<Option<usize>> {
    let number = ScalarValue::try_from_array(numbers, row)?.cast_to(&arrow::datatypes::DataType::Int64)?;
    match number {
        ScalarValue::Int64(Some(number)) => match usize::try_from(number) {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(DataFusionError::Execution(format!("nth_value counts rows from 1, and is asked for row {number}"))),
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_cut_out_of_a_frame() {
        assert_eq!(without(&(2..7), &[3..4]), [2..3, 4..7]);
        assert_eq!(without(&(2..7), &[0..2, 3..9]), [2..3]);
        assert_eq!(without(&(2..7), &[0..3, 4..5]), [3..4, 5..7]);
        assert_eq!(without(&(2..7), &[7..9]), [2..7]);
        assert_eq!(without(&(2..7), &[5..5, 6..8]), [2..6]);
        assert!(without(&(2..7), &[0..9]).is_empty());
        assert!(without(&(4..4), &[1..2]).is_empty());
    }
}
