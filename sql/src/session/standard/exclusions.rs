//! Frames with EXCLUDE, which [`dialect`](crate::dialect) has marked: the functions over them become functions of ours. Runs after the rules that
//! change the types of functions and the keys of orders.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::type_coercion::functions::fields_with_udf;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Window, WindowFunctionDefinition, WindowUDF};

use crate::dialect::EXCLUDED;
use crate::session::excluding::{Excluding, Without, reads_frame};

/// Rewrites the functions of a window operator.
pub(super) fn evaluated(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Window(window) = plan else { return Ok(Transformed::no(plan)) };
    let input = Arc::clone(window.input.schema());
    let mut changed = false;
    let window_expr = window.window_expr.iter().map(|expression| {
        let mended = expression.clone().transform_up(|expression| match expression {
            Expr::WindowFunction(call) => excluding(*call, &input),
            other => Ok(Transformed::no(other)),
        })?;
        changed |= mended.transformed;
        // The operators above know the column by the name that it had.
        Ok(if mended.transformed { mended.data.unalias().alias(expression.schema_name().to_string()) } else { mended.data })
    });
    let window_expr = window_expr.collect::<Result<Vec<_>>>()?;
    if !changed {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    Ok(Transformed::yes(LogicalPlan::Window(Window::try_new_with_schema(window_expr, window.input, window.schema)?)))
}

fn excluding(mut call: WindowFunction, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Some(without) = call.params.partition_by.iter().find_map(marked) else {
        return Ok(Transformed::no(Expr::WindowFunction(Box::new(call))));
    };
    call.params.partition_by.retain(|key| marked(key).is_none());
    if !reads_frame(&call.fun) {
        return Ok(Transformed::yes(Expr::WindowFunction(Box::new(call))));
    }
    let counts = |number: &Expr| matches!(number, Expr::Literal(ScalarValue::Int64(Some(1..)), _));
    if call.fun.name() == "nth_value" && !call.params.args.get(1).is_some_and(counts) {
        return plan_err!("nth_value in a frame with EXCLUDE takes the number of a row, from 1, as its second argument");
    }
    let returns = Expr::WindowFunction(Box::new(call.clone())).to_field(schema)?.1;
    let params = &mut call.params;
    if let WindowFunctionDefinition::AggregateUDF(function) = &call.fun {
        let fields = params.args.iter().map(|argument| Ok(argument.to_field(schema)?.1)).collect::<Result<Vec<_>>>()?;
        let coerced = fields_with_udf(&fields, function.as_ref())?;
        let arguments = std::mem::take(&mut params.args).into_iter().zip(coerced);
        params.args = arguments.map(|(argument, field)| argument.cast_to(field.data_type(), schema)).collect::<Result<_>>()?;
    }
    let arguments = params.args.len();
    let filter = params.filter.take();
    let is_filtered = filter.is_some();
    params.args.extend(filter.map(|filter| *filter));
    params.args.extend(params.order_by.iter().map(|key| key.expr.clone()));
    let keys = params.order_by.len();
    let is_distinct = std::mem::take(&mut params.distinct);
    let function = Excluding::new(call.fun, without, returns, arguments, keys).filtered(is_filtered).distinct(is_distinct);
    call.fun = WindowFunctionDefinition::WindowUDF(Arc::new(WindowUDF::new_from_impl(function)));
    Ok(Transformed::yes(Expr::WindowFunction(Box::new(call))))
}

/// Returns what the mark of a frame leaves out.
fn marked(key: &Expr) -> Option<Without> {
    let Expr::Literal(value, _) = key else { return None };
    let text = value.try_as_str().flatten()?;
    let mark = EXCLUDED.iter().position(|mark| *mark == text)?;
    Some([Without::CurrentRow, Without::Group, Without::Ties][mark])
}
