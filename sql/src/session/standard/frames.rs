//! Frames of RANGE from or to the peers of a row, over keys of which DataFusion 55.2 computes no differences: TIME, BYTEA, STRUCT, INTERVAL. Such a
//! frame is one of GROUPS.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::WindowFunctionParams;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Window, WindowFrame, WindowFrameBound, WindowFrameUnits};

/// The node with its frames written so.
pub(super) fn of_peers(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = plan else { return Ok(Transformed::no(plan)) };
    let schema = Arc::clone(window.input.schema());
    let mut changed = false;
    let window_expr = window.window_expr.iter().map(|expression| {
        let framed = expression.clone().transform_up(|expression| match expression {
            Expr::WindowFunction(mut call) => {
                let first = call.params.order_by.first().and_then(|key| key.expr.get_type(&schema).ok());
                if first.is_none_or(|first| has_differences(&first)) || !is_of_peers(&call.params) {
                    return Ok(Transformed::no(Expr::WindowFunction(call)));
                }
                let frame = &call.params.window_frame;
                call.params.window_frame =
                    WindowFrame::new_bounds(WindowFrameUnits::Groups, frame.start_bound.clone(), frame.end_bound.clone());
                Ok(Transformed::yes(Expr::WindowFunction(call)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        changed |= framed.transformed;
        // The operators above know the column by the name that it had.
        Ok(if framed.transformed { framed.data.unalias().alias(expression.schema_name().to_string()) } else { framed.data })
    });
    let window_expr = window_expr.collect::<Result<Vec<_>>>()?;
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let framed = Window::try_new_with_schema(window_expr, window.input, window.schema)?;
    Ok(Transformed::yes(LogicalPlan::Window(framed)))
}

fn is_of_peers(params: &WindowFunctionParams) -> bool {
    let frame = &params.window_frame;
    let unbounded = |bound: &WindowFrameBound| match bound {
        WindowFrameBound::Preceding(length) | WindowFrameBound::Following(length) => length.is_null(),
        WindowFrameBound::CurrentRow => true,
    };
    frame.units == WindowFrameUnits::Range && unbounded(&frame.start_bound) && unbounded(&frame.end_bound)
}

/// The types that DataFusion takes for keys of RANGE.
fn has_differences(data_type: &DataType) -> bool {
    !matches!(
        data_type,
        DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Binary
            | DataType::LargeBinary
            | DataType::BinaryView
            | DataType::FixedSizeBinary(_)
            | DataType::Struct(_)
            | DataType::Map(_, _)
            | DataType::Interval(_)
            | DataType::Duration(_)
    )
}
