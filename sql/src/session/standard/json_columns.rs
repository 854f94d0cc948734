//! `body -> 'user'` as a column is the text of the JSON value. The function behind it gives a union of all kinds of JSON values, which neither keys
//! nor files can hold; other JSON functions, casts and comparisons still take it as such.

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{ExprSchema, Result};
use datafusion::logical_expr::expr::{Alias, Sort as SortExpr};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion_functions_json::udfs::json_get_json_udf;

use crate::nested_types::holds;

/// Makes texts of the JSON values that a node selects, groups by, aggregates or orders by.
pub(super) fn as_texts(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let is_asked = matches!(
        plan,
        LogicalPlan::Projection(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Distinct(_)
    );
    if !is_asked {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    let schema = merge_schema(&plan.inputs());
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(as_text(expression, &schema).update_data(|expression| name.restore(expression)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}

fn as_text(expression: Expr, schema: &dyn ExprSchema) -> Transformed<Expr> {
    let mut changed = false;
    let mut text = |part: Expr| {
        let part = as_text(part, schema);
        changed |= part.transformed;
        part.data
    };
    let expression = match expression {
        Expr::Alias(alias) => Expr::Alias(Alias { expr: Box::new(text(*alias.expr)), ..alias }),
        Expr::AggregateFunction(mut call) => {
            call.params.args = call.params.args.into_iter().map(&mut text).collect();
            call.params.order_by = call.params.order_by.into_iter().map(|key| SortExpr { expr: text(key.expr), ..key }).collect();
            Expr::AggregateFunction(call)
        }
        Expr::WindowFunction(mut call) => {
            let params = &mut call.params;
            params.args = std::mem::take(&mut params.args).into_iter().map(&mut text).collect();
            params.partition_by = std::mem::take(&mut params.partition_by).into_iter().map(&mut text).collect();
            let order_by = std::mem::take(&mut params.order_by).into_iter();
            params.order_by = order_by.map(|key| SortExpr { expr: text(key.expr), ..key }).collect();
            Expr::WindowFunction(call)
        }
        other if !holds_json(&other, schema) => return Transformed::no(other),
        Expr::ScalarFunction(call) if call.name() == "json_get" => {
            return Transformed::yes(json_get_json_udf().call(call.args));
        }
        Expr::ScalarFunction(mut call) => {
            call.args = call.args.into_iter().map(&mut text).collect();
            Expr::ScalarFunction(call)
        }
        Expr::Case(mut case) => {
            for (_, then) in &mut case.when_then_expr {
                **then = text(std::mem::take(&mut **then));
            }
            case.else_expr = case.else_expr.map(|other| Box::new(text(*other)));
            Expr::Case(case)
        }
        other => other,
    };
    if changed { Transformed::yes(expression) } else { Transformed::no(expression) }
}

/// Checks whether a value is a JSON value, or a list or struct of some.
fn holds_json(expression: &Expr, schema: &dyn ExprSchema) -> bool {
    expression.get_type(schema).is_ok_and(|data_type| holds(&data_type, &|data_type| matches!(data_type, DataType::Union(_, _))))
}
