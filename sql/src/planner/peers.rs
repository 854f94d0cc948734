//! Refuses window functions that return the value of one row of a frame of peers, unless the order decides. If tied rows differ in
//! the value, the answer depends on the order in which they arrived.

use std::collections::BTreeMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFrameUnits};

use crate::plan::{RelationKind, plain_column};
use crate::planner::ordering::{by_arrival, counts_positions};
use crate::planner::{Refusal, Relation, Spot};
use crate::session::plain_name;

/// Functions whose answer shows the order of the rows in a frame.
const SHOW_ORDER: [&str; 5] = ["first_value", "last_value", "nth_value", "array_agg", "string_agg"];

/// Checks a plan as it was written, including its subqueries.
pub(crate) fn check(plan: &LogicalPlan, relations: &BTreeMap<String, Relation>) -> Result<(), Refusal> {
    let mut open = None;
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::Window(window) = plan {
            for expression in &window.window_expr {
                expression.apply(|expression| {
                    if let Expr::WindowFunction(call) = expression
                        && leaves_open(call, &window.input, relations)
                    {
                        open = Some(plain_name(call.fun.name()).to_owned());
                        return Ok(TreeNodeRecursion::Stop);
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
        }
        Ok(if open.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    open.map_or(Ok(()), |name| {
        Err(Refusal::Refused {
            message: format!("{name} over rows that tie in ORDER BY does not say which of them"),
            help: "add to ORDER BY what decides, such as _sequence, or count rows in place of peers: ROWS BETWEEN UNBOUNDED PRECEDING \
                   AND CURRENT ROW"
                .to_owned(),
            spot: Spot::Call(name),
        })
    })
}

fn leaves_open(call: &WindowFunction, input: &LogicalPlan, relations: &BTreeMap<String, Relation>) -> bool {
    let params = &call.params;
    if !SHOW_ORDER.contains(&plain_name(call.fun.name()))
        || params.window_frame.units == WindowFrameUnits::Rows
        || counts_positions(call)
        || params.order_by.is_empty() && by_arrival(input, relations)
    {
        return false;
    }
    let keys: Vec<&Expr> = params.order_by.iter().map(|sort| &sort.expr).chain(&params.partition_by).collect();
    // Rows that tie in the value too give the same answer.
    if params.args.first().is_some_and(|value| keys.contains(&value) || matches!(value, Expr::Literal(_, _))) {
        return false;
    }
    let named: Vec<&Column> = keys.into_iter().filter_map(plain_column).collect();
    let all = input.schema().columns();
    let decides = |columns: &[Column]| columns.iter().all(|column| named.contains(&column));
    !decides(&all) && !identifier(input, relations).is_some_and(|columns| decides(&columns))
}

/// Returns columns that no two rows of a plan share, if known: the sequence of a source, the key of a view, the groups of an
/// aggregate.
fn identifier(plan: &LogicalPlan, relations: &BTreeMap<String, Relation>) -> Option<Vec<Column>> {
    let through = |below: &LogicalPlan, index_of: &dyn Fn(&Column) -> Option<usize>| -> Option<Vec<Column>> {
        let columns = plan.schema().columns();
        identifier(below, relations)?.iter().map(|column| columns.get(index_of(column)?).cloned()).collect()
    };
    match plan {
        LogicalPlan::TableScan(scan) => {
            let relation = relations.get(scan.table_name.table())?;
            let names: Vec<&str> = match relation.kind {
                RelationKind::Source => relation.order_of_events().to_vec(),
                RelationKind::View => {
                    relation.key.as_ref()?.iter().map(|index| relation.schema.field(*index).name().as_str()).collect()
                }
            };
            let column = |name: &str| scan.projected_schema.columns_with_unqualified_name(name).into_iter().next();
            names.into_iter().map(column).collect()
        }
        LogicalPlan::Filter(filter) => identifier(&filter.input, relations),
        LogicalPlan::Window(window) => identifier(&window.input, relations),
        LogicalPlan::SubqueryAlias(alias) => through(&alias.input, &|column| alias.input.schema().maybe_index_of_column(column)),
        LogicalPlan::Projection(projection) => through(&projection.input, &|column| {
            projection.expr.iter().position(|expression| plain_column(expression) == Some(column))
        }),
        LogicalPlan::Aggregate(aggregate) => {
            let sets = aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
            (!sets).then(|| plan.schema().columns().into_iter().take(aggregate.group_expr.len()).collect())
        }
        _ => None,
    }
}
