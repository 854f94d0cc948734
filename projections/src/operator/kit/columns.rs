//! Evaluates expressions on rows, and gives columns another type.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{cast, prep_null_mask_filter};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use crate::error::Error;
use crate::state::compact;

/// Evaluates each expression on the rows.
pub(crate) fn evaluate(expressions: &[Arc<dyn PhysicalExpr>], rows: &RecordBatch) -> Result<Vec<ArrayRef>, Error> {
    expressions.iter().map(|expression| Ok(expression.evaluate(rows)?.into_array(rows.num_rows())?)).collect()
}

/// Returns a mask of the rows for which the predicate is true, neither false nor NULL. The mask has no nulls.
pub(crate) fn holds(predicate: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<BooleanArray, Error> {
    let mask = predicate.evaluate(rows)?.into_array(rows.num_rows())?;
    let mask = mask.as_boolean_opt().ok_or_else(|| Error::Bug("a predicate is not boolean".to_owned()))?;
    Ok(if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() })
}

/// Rewrites an expression for rows that have only `columns`, in this order.
///
/// # Errors
/// [`Error::Bug`] if the expression reads another column.
pub(crate) fn over_columns(expression: &Arc<dyn PhysicalExpr>, columns: &[usize]) -> Result<Arc<dyn PhysicalExpr>, Error> {
    let moved = Arc::clone(expression).transform_up(|expression| match expression.downcast_ref::<Column>() {
        Some(column) => {
            let index = columns.iter().position(|other| *other == column.index());
            let index = index.ok_or_else(|| DataFusionError::Internal(format!("column {} is not there", column.name())))?;
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), index)) as Arc<dyn PhysicalExpr>))
        }
        None => Ok(Transformed::no(expression)),
    });
    Ok(moved?.data)
}

/// Gives a column another type: without a cast if the types differ only in names, with a cast otherwise.
pub(crate) fn with_type(array: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, Error> {
    if array.data_type() == wanted {
        Ok(Arc::clone(array))
    } else if array.data_type().equals_datatype(wanted) {
        compact::with_type(array, wanted)
    } else {
        Ok(cast(array, wanted)?)
    }
}
