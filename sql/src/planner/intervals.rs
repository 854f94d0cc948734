//! Columns of a view that are an INTERVAL are stored as their lengths: Parquet has no intervals of months, days and nanoseconds.

use arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

use crate::session::interval_length;

/// Replaces each column that is an INTERVAL by its length.
pub(super) fn as_lengths(plan: LogicalPlan) -> Result<LogicalPlan> {
    let is_interval = |data_type: &DataType| *data_type == DataType::Interval(IntervalUnit::MonthDayNano);
    if !plan.schema().fields().iter().any(|field| is_interval(field.data_type())) {
        return Ok(plan);
    }
    let columns = plan.schema().columns().into_iter().zip(plan.schema().fields()).map(|(column, field)| {
        let value = Expr::Column(column.clone());
        match is_interval(field.data_type()) {
            true => interval_length().call(vec![value]).alias_qualified(column.relation, column.name),
            false => value,
        }
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}
