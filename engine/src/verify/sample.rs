//! A sample of a view: its rows whose key has one of some hashes. The view and the answer of its SQL are cut in the same way, so that a
//! sample that is equal says nothing of the other rows, and one that differs is proof.

use std::fmt;
use std::sync::Arc;

use alluvium_connectors::durable;
use alluvium_sql::ViewPlan;
use datafusion::arrow::array::{ArrayRef, BooleanArray};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::spool::{Spool, SpoolFolder};
use crate::error::Error;

/// The share of the rows to verify, in percent, and which ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    percent: f64,
    /// Each time other keys, so that samples taken again and again meet all of them.
    seed: u64,
}

impl std::str::FromStr for Sample {
    type Err = String;

    /// Reads `1%`, `0.5%` or `100%`.
    fn from_str(text: &str) -> std::result::Result<Sample, String> {
        let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match percent {
            Some(percent) if percent > 0.0 && percent <= 100.0 => {
                Ok(Sample { percent, seed: xxh3_64(durable::unique().as_bytes()) })
            }
            _ => Err("write a share such as 1% or 0.1%".to_owned()),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent)
    }
}

impl Sample {
    /// The columns whose hash decides: those of the key, or all where none is known. Floating-point numbers are left out, since they may
    /// differ by a little.
    fn columns(plan: &ViewPlan) -> Vec<usize> {
        let is_exact = |column: &usize| {
            let data_type = plan.schema.field(*column).data_type();
            !matches!(data_type, DataType::Float16 | DataType::Float32 | DataType::Float64)
        };
        let all = || (0..plan.schema.fields().len()).collect();
        plan.root.key.clone().unwrap_or_else(all).into_iter().filter(is_exact).collect()
    }

    /// The largest hash that is taken.
    fn most(self) -> u64 {
        (self.percent / 100.0 * u64::MAX as f64) as u64
    }

    /// Returns the query of a view for the sample only. The session's rules push the filter down as far as the key reaches, so that
    /// the rest of the rows costs little.
    pub(super) fn of_query(self, plan: &ViewPlan, query: LogicalPlan) -> Result<LogicalPlan> {
        let columns = Sample::columns(plan);
        if columns.is_empty() {
            return Ok(query);
        }
        let column = |column: &usize| Expr::Column(Column::from(query.schema().qualified_field(*column)));
        let arguments = columns.iter().map(column).collect();
        let chosen = ScalarUDF::from(InSample {
            most: self.most(),
            seed: self.seed,
            signature: Signature::variadic_any(Volatility::Immutable),
        });
        LogicalPlanBuilder::from(query).filter(chosen.call(arguments))?.build()
    }

    /// Returns the rows of a view that are in the sample.
    pub(super) fn of_rows(self, plan: &ViewPlan, rows: &Spool, folder: &SpoolFolder) -> std::result::Result<Spool, Error> {
        let columns = Sample::columns(plan);
        let bug = |error: ArrowError| Error::bug(format!("rows cannot be sampled: {error}"));
        let mut sampled = folder.writer(rows.schema())?;
        for batch in rows.read().map_err(bug)? {
            let batch = batch.map_err(bug)?;
            let key: Vec<ArrayRef> = columns.iter().map(|column| Arc::clone(batch.column(*column))).collect();
            let chosen = if key.is_empty() {
                Ok(batch)
            } else {
                chosen(&key, self.most(), self.seed).and_then(|chosen| filter_record_batch(&batch, &chosen))
            };
            sampled.write(&chosen.map_err(bug)?)?;
        }
        sampled.finish()
    }
}

/// Which rows have a key whose hash is at most `most`.
fn chosen(key: &[ArrayRef], most: u64, seed: u64) -> std::result::Result<BooleanArray, ArrowError> {
    let fields = key.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(key)?;
    Ok(rows.iter().map(|row| Some(xxh3_64_with_seed(row.data(), seed) <= most)).collect())
}

/// Whether the hash of its arguments is in the sample.
#[derive(Debug, PartialEq, Eq, Hash)]
struct InSample {
    most: u64,
    seed: u64,
    signature: Signature,
}

impl ScalarUDFImpl for InSample {
    fn name(&self) -> &str {
        "in_sample"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let key = ColumnarValue::values_to_arrays(&arguments.args)?;
        let chosen = chosen(&key, self.most, self.seed)?;
        // Constants alone make one row.
        let chosen = match chosen.len() == arguments.number_rows {
            true => chosen,
            false => BooleanArray::from(vec![chosen.values().iter().next().unwrap_or(false); arguments.number_rows]),
        };
        Ok(ColumnarValue::Array(Arc::new(chosen)))
    }
}
