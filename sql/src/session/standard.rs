//! Rewrites plans to what a query means by the standard, as PostgreSQL reads it, where DataFusion would answer something else.
//! Works on plans as they were written, before the optimizer.
//!
//! | module | what it corrects |
//! | --- | --- |
//! | [`copies`] | INTERSECT ALL and EXCEPT ALL count copies |
//! | [`one_row`] | EXISTS and IN over an aggregate that always has one row |
//! | [`existence`] | EXISTS in SELECT |
//! | [`unknown`] | NOT IN beside NULLs |
//! | [`lists`] | IN and NOT IN of two lists beside NULLs |
//! | [`floats`] | equality, peers, partitions and orders of floats |
//! | [`widened`] | sums of BIGINT, quotients of DECIMALs |
//! | [`wide_sums`] | sums of DECIMALs with many digits |
//! | [`rounded`] | numbers that are cast to whole ones, and `round` |
//! | [`filters`] | FILTER before the argument |
//! | [`by_comparison`] | scalar subqueries that are correlated by more than equality |
//! | [`unions`] | casts the inputs of a UNION to common types |
//! | [`recursions`] | the types of recursive queries |
//! | [`outer_columns`] | columns of outer queries whose types the other rules changed |
//! | [`laterals`] | UNNEST of a column of the relation beside it |
//! | [`first_rows`] | LATERAL of the first row of an order |
//! | [`far_columns`] | subqueries that read a column two queries further out |
//! | [`hoisted`] | subqueries inside aggregates and window functions |
//! | [`one_value`] | subqueries of one value without an aggregate |
//! | [`json_columns`] | `body -> 'user'` as a column |
//! | [`frames`] | window orders over TIME, BYTEA, STRUCT |
//! | [`exclusions`] | EXCLUDE in frames |

mod by_comparison;
mod copies;
mod exclusions;
mod existence;
mod far_columns;
mod filters;
mod first_rows;
mod floats;
mod frames;
mod hoisted;
mod json_columns;
mod laterals;
mod lists;
mod one_row;
mod one_value;
mod outer_columns;
mod recursions;
mod rounded;
mod unions;
mod unknown;
mod wide_sums;
mod widened;

pub(crate) use self::wide_sums::SUMMED_DIGITS;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Rewrites a plan and its subqueries where the standard asks for it. A plan that has been rewritten stays as it is.
///
/// # Errors
/// Those of DataFusion's builders: a bug.
pub(crate) fn standard(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut number = 0;
    let plan = plan.transform_up_with_subqueries(|plan| hoisted::below(plan, &mut number))?.data;
    let plan = far_columns::brought_near(plan, &mut number)?;
    let mut mended = once(plan, &mut number)?;
    // A column of a query may take its type from an outer query, so each round settles one more level.
    loop {
        let retyped = outer_columns::retyped(mended.clone())?;
        // A name that two outer queries have is first matched with that of the outermost, then with the other. So a plan that
        // counts as transformed can still be equal.
        if !retyped.transformed || retyped.data == mended {
            return Ok(retyped.data.transform_up_with_subqueries(exclusions::evaluated)?.data);
        }
        mended = once(retyped.data, &mut number)?;
    }
}

fn once(plan: LogicalPlan, number: &mut usize) -> Result<LogicalPlan> {
    let mended = plan.transform_up_with_subqueries(|plan| {
        // The inputs may have other types now.
        let plan = plan.recompute_schema()?;
        let plan = recursions::of_first_part(plan)?.data;
        let plan = unions::of_common_types(plan)?.data;
        let plan = copies::counted(plan)?.data;
        let plan = laterals::unnested(plan)?.data;
        let plan = first_rows::as_values(plan, number)?.data;
        let plan = frames::of_peers(plan)?.data;
        let plan = each(plan, |expression, _| one_row::asked_of_its_value(expression))?.data;
        let plan = unknown::three_valued(plan)?.data;
        let plan = match plan {
            LogicalPlan::Projection(_) => each(plan, |expression, _| existence::counted(expression))?.data,
            other => other,
        };
        let plan = each(plan, |expression, _| one_value::of_rows(expression))?.data;
        let plan = expressions(plan)?.data;
        let plan = json_columns::as_texts(plan)?.data;
        let plan = by_comparison::joined(plan, number)?.data;
        Ok(Transformed::yes(floats::compared_by_key(plan)?.data))
    })?;
    // The rules above also add operators below the one that they change.
    let keyed = mended.data.transform_up_with_subqueries(floats::compared_by_key)?;
    Ok(keyed.data.transform_up_with_subqueries(wide_sums::exact)?.data)
}

/// Applies the rules for expressions.
fn expressions(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    each(plan, |expression, schema| {
        let apart = lists::kept_apart(expression)?;
        let guarded = apart.transform_data(filters::first)?;
        let widened = guarded.transform_data(|expression| widened::sums(expression, schema))?;
        let divided = widened.transform_data(|expression| widened::quotients(expression, schema))?;
        let divided = divided.transform_data(|expression| widened::medians(expression, schema))?;
        let rounded = divided.transform_data(|expression| rounded::to_whole(expression, schema))?;
        rounded.transform_data(|expression| floats::equal_by_key(expression, schema))
    })
}

/// Applies a rule to every expression of a node, from the inside out. Names of columns stay.
fn each(plan: LogicalPlan, rule: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    let schema = merge_schema(&plan.inputs());
    plan.map_expressions(|expression| {
        let name = names.save(&expression);
        let mended = expression.transform_up(|expression| rule(expression, &schema))?;
        Ok(mended.update_data(|expression| name.restore(expression)))
    })?
    .map_data(LogicalPlan::recompute_schema)
}
