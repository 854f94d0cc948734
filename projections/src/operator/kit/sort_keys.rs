//! Sort keys of rows, encoded so that they compare as bytes.

use alluvium_sql::session_state;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::DFSchema;
use datafusion::logical_expr::expr::Sort;
use datafusion::physical_expr::PhysicalSortExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::utils::collect_columns;

use super::columns::over_columns;
use crate::error::Error;

/// Encodes the sort keys of rows.
#[derive(Debug)]
pub(crate) struct SortKeys {
    by: Vec<PhysicalSortExpr>,
    /// The columns of the rows that the expressions read.
    columns: Vec<usize>,
    converter: RowConverter,
}

impl SortKeys {
    /// Encodes by expressions over the leading columns of `rows`.
    pub(crate) fn new(by: &[Sort], schema: &DFSchema, rows: &SchemaRef) -> Result<SortKeys, Error> {
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
        Ok(SortKeys { by: sorts, columns, converter: RowConverter::new(fields)? })
    }

    /// Returns the columns that the expressions read.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// Returns the number of sort keys.
    pub(crate) fn len(&self) -> usize {
        self.by.len()
    }

    /// Checks that the sort keys of whole rows can be evaluated.
    pub(crate) fn check(&self, rows: &RecordBatch) -> Result<(), Error> {
        if !self.by.iter().all(|key| key.expr.is::<Column>()) {
            self.encode(&rows.project(&self.columns)?)?;
        }
        Ok(())
    }

    /// Encodes the sort keys of rows that have only the [`columns`](SortKeys::columns) that the expressions read.
    pub(crate) fn encode(&self, rows: &RecordBatch) -> Result<Rows, Error> {
        let values = self.by.iter().map(|key| Ok(key.expr.evaluate(rows)?.into_array(rows.num_rows())?));
        let values: Vec<ArrayRef> = values.collect::<Result<_, Error>>()?;
        Ok(self.converter.convert_columns(&values)?)
    }
}
