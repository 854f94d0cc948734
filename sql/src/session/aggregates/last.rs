//! `last_value(x ORDER BY o)` that returns the latest of the tied rows. DataFusion 55.2 returns the first of them, or any.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, new_empty_array};
use arrow::compute::{LexicographicalComparator, SortColumn, SortOptions};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::utils::{compare_rows, get_row_at_idx};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator};

use super::forward::forward;

/// DataFusion's `last_value`, but with the latest of the tied rows.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Last(Arc<AggregateUDF>);

impl Last {
    pub(super) fn of(inner: Arc<AggregateUDF>) -> Last {
        Last(inner)
    }
}

impl AggregateUDFImpl for Last {
    forward!(name, signature, state_fields, ordering);

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [value] => Ok(value.clone()),
            _ => internal_err!("last_value takes one argument"),
        }
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        self.0.return_field(arguments)
    }

    fn supports_null_handling_clause(&self) -> bool {
        true
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.order_bys.is_empty() {
            return self.0.accumulator(args);
        }
        Ok(Box::new(LastOfOne(LastOfEach::new(&args)?)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.order_bys.is_empty()
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(LastOfEach::new(&args)?))
    }
}

/// A value and its sort keys.
type Row = (ScalarValue, Vec<ScalarValue>);

/// The last value of each group.
#[derive(Debug)]
struct LastOfEach {
    ignores_nulls: bool,
    options: Vec<SortOptions>,
    /// The types of the value and of its sort keys.
    types: Vec<DataType>,
    rows: Vec<Option<Row>>,
}

impl LastOfEach {
    fn new(args: &AccumulatorArgs) -> Result<LastOfEach> {
        let mut types = vec![args.return_field.data_type().clone()];
        for key in args.order_bys {
            types.push(key.expr.data_type(args.schema)?);
        }
        let options = args.order_bys.iter().map(|key| key.options).collect();
        Ok(LastOfEach { ignores_nulls: args.ignore_nulls, options, types, rows: Vec::new() })
    }

    /// Absorbs rows in order of arrival.
    fn take(&mut self, columns: &[ArrayRef], groups: &[usize], counts: impl Fn(usize) -> bool, total: usize) -> Result<()> {
        self.rows.resize(total.max(self.rows.len()), None);
        let (value, orders) = (&columns[0], &columns[1..1 + self.options.len()]);
        let by = orders.iter().zip(&self.options);
        let by: Vec<SortColumn> =
            by.map(|(values, options)| SortColumn { values: Arc::clone(values), options: Some(*options) }).collect();
        let order = LexicographicalComparator::try_new(&by)?;
        let mut last: HashMap<usize, usize> = HashMap::new();
        for (row, group) in groups.iter().enumerate() {
            if !counts(row) || (self.ignores_nulls && value.is_null(row)) {
                continue;
            }
            let last = last.entry(*group).or_insert(row);
            if order.compare(*last, row).is_le() {
                *last = row;
            }
        }
        for (group, row) in last {
            let key = get_row_at_idx(orders, row)?;
            let is_later = match &self.rows[group] {
                Some((_, known)) => compare_rows(known, &key, &self.options)?.is_le(),
                None => true,
            };
            if is_later {
                let key = key.into_iter().map(ScalarValue::compacted).collect();
                self.rows[group] = Some((ScalarValue::try_from_array(value, row)?.compacted(), key));
            }
        }
        Ok(())
    }

    fn column(&self, rows: &[Option<Row>], column: usize) -> Result<ArrayRef> {
        let data_type = &self.types[column];
        if rows.is_empty() {
            return Ok(new_empty_array(data_type));
        }
        let none = ScalarValue::try_from(data_type)?;
        ScalarValue::iter_to_array(rows.iter().map(|row| match row {
            Some((value, _)) if column == 0 => value.clone(),
            Some((_, key)) => key[column - 1].clone(),
            None => none.clone(),
        }))
    }
}

impl GroupsAccumulator for LastOfEach {
    fn update_batch(
        &mut self,
        columns: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.take(columns, groups, |row| filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row)), total)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let rows = emit_to.take_needed(&mut self.rows);
        self.column(&rows, 0)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let rows = emit_to.take_needed(&mut self.rows);
        let mut states = (0..self.types.len()).map(|column| self.column(&rows, column)).collect::<Result<Vec<_>>>()?;
        states.push(Arc::new(rows.iter().map(|row| Some(row.is_some())).collect::<BooleanArray>()));
        Ok(states)
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        let Some(there) = states.last().and_then(|there| there.as_boolean_opt().cloned()) else {
            return internal_err!("the state of last_value does not say which groups have a value");
        };
        self.take(states, groups, |row| there.is_valid(row) && there.value(row), total)
    }

    fn convert_to_state(&self, columns: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut states = columns.to_vec();
        states.push(Arc::new(filter.cloned().unwrap_or_else(|| BooleanArray::from(vec![true; columns[0].len()]))));
        Ok(states)
    }

    fn size(&self) -> usize {
        let of_row = |row: &Row| row.0.size() + ScalarValue::size_of_vec(&row.1);
        size_of_val(self) + self.rows.iter().flatten().map(of_row).sum::<usize>()
    }
}

/// The last value of all rows.
#[derive(Debug)]
struct LastOfOne(LastOfEach);

impl Accumulator for LastOfOne {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; columns[0].len()];
        self.0.update_batch(columns, &groups, None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.0.rows.first().and_then(Option::as_ref) {
            Some((value, _)) => Ok(value.clone()),
            None => ScalarValue::try_from(&self.0.types[0]),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.rows.resize(1, None);
        let columns = GroupsAccumulator::state(&mut self.0, EmitTo::All)?;
        columns.iter().map(|column| ScalarValue::try_from_array(column, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states[0].len()];
        GroupsAccumulator::merge_batch(&mut self.0, states, &groups, 1)
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }
}
