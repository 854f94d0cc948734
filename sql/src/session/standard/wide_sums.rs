//! `sum` and `avg` of DECIMALs with many digits. DataFusion 55.2 adds them up in 128 bits: a sum of more than 38 digits wraps around, and
//! shows digits that are wrong. These are added up in 256 bits. The answer is cast back above the aggregate, where a sum that does not fit
//! fails for its own group.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan, Projection, Window, WindowFunctionDefinition, cast};

/// The fewest digits of a value for which the sum is added up in 256 bits. With fewer digits it takes ten million of the largest values
/// to reach 38 digits.
const DIGITS: u8 = 32;

/// The digits of the values that are added up: a sum has ten more, and 256 bits hold 76.
pub(crate) const SUMMED_DIGITS: u8 = 66;

/// Rewrites an aggregate or a window with such calls.
pub(super) fn exact(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let (schema, input, expressions) = match &plan {
        LogicalPlan::Aggregate(aggregate) => (&aggregate.schema, &aggregate.input, &aggregate.aggr_expr),
        LogicalPlan::Window(window) => (&window.schema, &window.input, &window.window_expr),
        _ => return Ok(Transformed::no(plan)),
    };
    let names = NamePreserver::new(&plan);
    let mut changed = Vec::with_capacity(expressions.len());
    let mut wide = Vec::new();
    for expression in expressions {
        let name = names.save(expression);
        let widened = widened(expression.clone(), input)?;
        wide.push(widened.transformed);
        changed.push(name.restore(widened.data));
    }
    if !wide.contains(&true) {
        return Ok(Transformed::no(plan));
    }
    let first = schema.fields().len() - changed.len();
    let columns = schema.columns();
    let types: Vec<DataType> = schema.fields().iter().map(|field| field.data_type().clone()).collect();
    let rows = match &plan {
        LogicalPlan::Aggregate(aggregate) => {
            LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(&aggregate.input), aggregate.group_expr.clone(), changed)?)
        }
        LogicalPlan::Window(window) => LogicalPlan::Window(Window::try_new(changed, Arc::clone(&window.input))?),
        _ => return Ok(Transformed::no(plan)),
    };
    let narrowed = columns.into_iter().enumerate().map(|(index, column)| {
        let value = Expr::Column(column.clone());
        match index.checked_sub(first).is_some_and(|call| wide[call]) {
            true => cast(value, types[index].clone()).alias_qualified(column.relation, column.name),
            false => value,
        }
    });
    let narrowed = narrowed.collect();
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(narrowed, Arc::new(rows))?)))
}

/// Casts the argument of a call under its aliases.
fn widened(expression: Expr, input: &LogicalPlan) -> Result<Transformed<Expr>> {
    let widen = |arguments: &mut [Expr]| -> Result<bool> {
        let [argument] = arguments else { return Ok(false) };
        let DataType::Decimal128(digits, scale) = argument.get_type(input.schema())? else { return Ok(false) };
        if digits < DIGITS {
            return Ok(false);
        }
        *argument = cast(argument.clone(), DataType::Decimal256(SUMMED_DIGITS, scale));
        Ok(true)
    };
    match expression {
        Expr::Alias(alias) => {
            let below = widened(alias.expr.as_ref().clone(), input)?;
            Ok(below.update_data(|below| below.alias_qualified(alias.relation, alias.name)))
        }
        Expr::AggregateFunction(mut call) if matches!(call.func.name(), "sum" | "avg") => {
            let changed = widen(&mut call.params.args)?;
            Ok(Transformed::new_transformed(Expr::AggregateFunction(call), changed))
        }
        Expr::WindowFunction(mut call) if matches!(&call.fun, WindowFunctionDefinition::AggregateUDF(function) if matches!(function.name(), "sum" | "avg")) =>
        {
            let changed = widen(&mut call.params.args)?;
            Ok(Transformed::new_transformed(Expr::WindowFunction(call), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}
