//! The number of values of each group, and their sum.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Decimal256Array, Float64Array, Int64Array, UInt64Array,
    new_null_array,
};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Float64Type, Int64Type, Schema, UInt64Type, i256};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use crate::error::Error;
use crate::operator::kit::columns::with_type;

/// What an aggregate measures.
#[derive(Debug, Clone)]
pub(super) enum Measure {
    /// `count`: values that are not NULL.
    Count,
    /// `sum` or `avg` over values of a type.
    Sum { of: DataType, average: bool },
}

impl Measure {
    /// Finds what an aggregate measures.
    ///
    /// # Errors
    /// [`Error::Bug`] if the planner took another aggregate for a count or a sum.
    pub(super) fn of(aggregate: &AggregateFunctionExpr, input: &Schema) -> Result<Self, Error> {
        let name = aggregate.fun().name();
        let of = match aggregate.expressions().first() {
            Some(argument) => argument.data_type(input)?,
            None => DataType::Null,
        };
        match (name, &of) {
            ("count", _) => Ok(Measure::Count),
            (
                "sum" | "avg",
                DataType::Int64 | DataType::UInt64 | DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..),
            ) => Ok(Measure::Sum { of, average: name == "avg" }),
            _ => Err(Error::Bug(format!("{name} of {of} cannot be computed by weight"))),
        }
    }

    /// Returns the type in which the sum is stored, if there is one. Floats are whole numbers here and are stored as such.
    pub(super) fn stored(&self) -> Option<DataType> {
        match self {
            Measure::Count => None,
            Measure::Sum { of: DataType::Float64, .. } => Some(DataType::Decimal128(38, 0)),
            Measure::Sum { of: DataType::Decimal128(_, scale), .. } => Some(DataType::Decimal128(38, *scale)),
            Measure::Sum { of: DataType::Decimal256(_, scale), .. } => Some(DataType::Decimal256(76, *scale)),
            Measure::Sum { of, .. } => Some(of.clone()),
        }
    }

    /// Converts stored counts and sums to the states of DataFusion's accumulator.
    pub(super) fn states(&self, stored: &[ArrayRef], aggregate: &AggregateFunctionExpr) -> Result<Vec<ArrayRef>, Error> {
        let values = counts(&stored[0]);
        let Measure::Sum { of, average } = self else { return Ok(vec![Arc::clone(&stored[0])]) };
        let sum: ArrayRef = if *of == DataType::Float64 {
            let whole = stored[1].as_primitive::<Decimal128Type>();
            Arc::new(Float64Array::from_iter_values(whole.values().iter().map(|sum| *sum as f64)))
        } else {
            Arc::clone(&stored[1])
        };
        // A sum of no values is NULL.
        let none: BooleanArray = values.iter().map(|values| Some(*values == 0)).collect();
        let sum = nullif(&sum, &none)?;
        let fields = aggregate.state_fields()?;
        let wanted = |state: usize| {
            fields
                .get(state)
                .map(|field| field.data_type())
                .ok_or_else(|| Error::Bug("the accumulator of a sum has too few states".to_owned()))
        };
        if !*average {
            return Ok(vec![precise(&sum, wanted(0)?)?]);
        }
        let count: ArrayRef = Arc::new(UInt64Array::from_iter_values(values.iter().map(|values| *values as u64)));
        let count = nullif(&count, &none)?;
        Ok(vec![with_type(&count, wanted(0)?)?, precise(&sum, wanted(1)?)?])
    }
}

/// Gives decimals another precision. The digits stay as they are, even if they exceed it, as in DataFusion's own states.
fn precise(sum: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Error> {
    match (sum.data_type(), wanted) {
        (DataType::Decimal128(_, scale), DataType::Decimal128(precision, other)) if scale == other => {
            let sum: Decimal128Array = sum.as_primitive::<Decimal128Type>().clone();
            Ok(Arc::new(sum.with_precision_and_scale(*precision, *scale)?))
        }
        (DataType::Decimal256(_, scale), DataType::Decimal256(precision, other)) if scale == other => {
            let sum: Decimal256Array = sum.as_primitive::<Decimal256Type>().clone();
            Ok(Arc::new(sum.with_precision_and_scale(*precision, *scale)?))
        }
        _ => with_type(sum, wanted),
    }
}

/// Returns an array with one zero.
pub(super) fn zero(data_type: &DataType) -> Result<ArrayRef, Error> {
    Ok(match data_type {
        DataType::Int64 => Arc::new(Int64Array::from(vec![0])),
        DataType::UInt64 => Arc::new(UInt64Array::from(vec![0])),
        DataType::Decimal128(precision, scale) => {
            Arc::new(Decimal128Array::from(vec![0]).with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Decimal256(precision, scale) => {
            Arc::new(Decimal256Array::from(vec![i256::ZERO]).with_precision_and_scale(*precision, *scale)?)
        }
        other => new_null_array(other, 1),
    })
}

/// What an epoch adds to each group. Sums wrap around.
#[derive(Debug, Default)]
pub(super) struct Sums {
    values: Vec<i64>,
    sums: Vec<i128>,
    /// The sums of decimals of 256 bits; empty for any others.
    wide: Vec<i256>,
}

impl Sums {
    pub(super) fn grow(&mut self, groups: usize) {
        self.values.resize(groups, 0);
        self.sums.resize(groups, 0);
    }

    /// Adds the values of rows, times their weights.
    pub(super) fn add(
        &mut self,
        measure: &Measure,
        arguments: &[ArrayRef],
        filter: Option<&BooleanArray>,
        groups: &[u32],
        weight: impl Fn(usize) -> i64,
    ) -> Result<(), Error> {
        let counted = |row: usize| {
            arguments.iter().all(|argument| argument.is_valid(row))
                && filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
        };
        if let (Measure::Sum { of: DataType::Decimal256(..), .. }, Some(argument)) = (measure, arguments.first()) {
            let values = argument.as_primitive::<Decimal256Type>();
            self.wide.resize(self.sums.len(), i256::ZERO);
            for (row, group) in groups.iter().enumerate().filter(|(row, _)| counted(*row)) {
                let weight = weight(row);
                self.values[*group as usize] += weight;
                let sum = &mut self.wide[*group as usize];
                *sum = sum.wrapping_add(values.value(row).wrapping_mul(i256::from_i128(i128::from(weight))));
            }
            return Ok(());
        }
        let value: Box<dyn Fn(usize) -> i128 + '_> = match (measure, arguments.first()) {
            (Measure::Sum { of, .. }, Some(argument)) => match of {
                DataType::Int64 => {
                    let values = argument.as_primitive::<Int64Type>();
                    Box::new(|row| i128::from(values.value(row)))
                }
                DataType::UInt64 => {
                    let values = argument.as_primitive::<UInt64Type>();
                    Box::new(|row| i128::from(values.value(row)))
                }
                DataType::Float64 => {
                    let values = argument.as_primitive::<Float64Type>();
                    Box::new(|row| values.value(row) as i128)
                }
                DataType::Decimal128(_, _) => {
                    let values = argument.as_primitive::<Decimal128Type>();
                    Box::new(|row| values.value(row))
                }
                other => return Err(Error::Bug(format!("a sum of {other} cannot be computed by weight"))),
            },
            _ => Box::new(|_| 0),
        };
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| counted(*row)) {
            let weight = weight(row);
            self.values[*group as usize] += weight;
            let sum = &mut self.sums[*group as usize];
            *sum = sum.wrapping_add(value(row).wrapping_mul(i128::from(weight)));
        }
        Ok(())
    }

    /// Returns the stored columns with these sums added.
    pub(super) fn plus(self, measure: &Measure, stored: &[ArrayRef]) -> Result<Vec<ArrayRef>, Error> {
        let values = Int64Array::from_iter_values(counts(&stored[0]).iter().zip(&self.values).map(|(old, new)| old + new));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(values)];
        let Some(data_type) = measure.stored() else { return Ok(columns) };
        let more = self.sums.iter();
        columns.push(match &data_type {
            DataType::Int64 => {
                let old = stored[1].as_primitive::<Int64Type>().values();
                Arc::new(Int64Array::from_iter_values(old.iter().zip(more).map(|(old, new)| old.wrapping_add(*new as i64))))
            }
            DataType::UInt64 => {
                let old = stored[1].as_primitive::<UInt64Type>().values();
                Arc::new(UInt64Array::from_iter_values(old.iter().zip(more).map(|(old, new)| old.wrapping_add(*new as u64))))
            }
            DataType::Decimal128(precision, scale) => {
                let old = stored[1].as_primitive::<Decimal128Type>().values();
                let sums = Decimal128Array::from_iter_values(old.iter().zip(more).map(|(old, new)| old.wrapping_add(*new)));
                Arc::new(sums.with_precision_and_scale(*precision, *scale)?)
            }
            DataType::Decimal256(precision, scale) => {
                let old = stored[1].as_primitive::<Decimal256Type>().values();
                let more = self.wide.iter().copied().chain(std::iter::repeat(i256::ZERO));
                let sums = Decimal256Array::from_iter_values(old.iter().zip(more).map(|(old, new)| old.wrapping_add(new)));
                Arc::new(sums.with_precision_and_scale(*precision, *scale)?)
            }
            other => return Err(Error::Bug(format!("a sum cannot be stored as {other}"))),
        });
        Ok(columns)
    }
}

/// Returns the values of a column of counts.
fn counts(array: &ArrayRef) -> &[i64] {
    array.as_primitive::<Int64Type>().values()
}
