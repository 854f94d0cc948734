//! An aggregate without GROUP BY has one row, whatever its input. So EXISTS over it is true, and IN compares with its one value.
//! DataFusion 55.2 rewrites a correlated one as a join with the groups that exist (its issue 24960), and takes a missing row for no
//! match.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Operator, Subquery, binary_expr, lit, when};

/// Rewrites EXISTS and IN over such an aggregate, if it is correlated, as a test of its row.
pub(super) fn asked_of_its_value(expression: Expr) -> Result<Transformed<Expr>> {
    Ok(match expression {
        Expr::Exists(Exists { subquery, negated }) if is_correlated(&subquery) => match row_of(&subquery.subquery) {
            Some(Row::Always) => Transformed::yes(lit(!negated)),
            Some(Row::Where { predicate, input }) => {
                let kept = kept(&subquery, predicate, input)?;
                Transformed::yes(if negated { kept.is_not_true() } else { kept.is_true() })
            }
            None => Transformed::no(Expr::Exists(Exists { subquery, negated })),
        },
        Expr::InSubquery(InSubquery { expr, subquery, negated }) if is_correlated(&subquery) => {
            let row = row_of(&subquery.subquery);
            let operator = if negated { Operator::NotEq } else { Operator::Eq };
            match row {
                None => Transformed::no(Expr::InSubquery(InSubquery { expr, subquery, negated })),
                Some(Row::Always) => Transformed::yes(binary_expr(*expr, operator, Expr::ScalarSubquery(subquery))),
                Some(Row::Where { predicate, input }) => {
                    let kept = kept(&subquery, predicate, input)?;
                    let equal = binary_expr(*expr, operator, Expr::ScalarSubquery(subquery));
                    Transformed::yes(when(kept.is_true(), equal).otherwise(lit(negated))?)
                }
            }
        }
        other => Transformed::no(other),
    })
}

pub(super) fn is_correlated(subquery: &Subquery) -> bool {
    !subquery.outer_ref_columns.is_empty()
}

/// The row of an aggregate without GROUP BY.
enum Row<'a> {
    Always,
    /// Only if HAVING is true.
    Where {
        predicate: &'a Expr,
        input: &'a LogicalPlan,
    },
}

fn row_of(plan: &LogicalPlan) -> Option<Row<'_>> {
    match plan {
        LogicalPlan::Projection(projection) => row_of(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => row_of(&alias.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => row_of(&sort.input),
        LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => Some(Row::Always),
        LogicalPlan::Filter(filter) => match row_of(&filter.input) {
            Some(Row::Always) if reads_outside(&filter.input) => {
                Some(Row::Where { predicate: &filter.predicate, input: &filter.input })
            }
            _ => None,
        },
        _ => None,
    }
}

/// Checks whether an aggregate reads outer columns. One that does not has its row before anything is joined, and DataFusion tests that
/// row.
fn reads_outside(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(_) => !plan.all_out_ref_exprs().is_empty(),
        _ => plan.inputs().into_iter().any(reads_outside),
    }
}

/// Returns whether the row exists, as a scalar subquery.
fn kept(subquery: &Subquery, predicate: &Expr, input: &LogicalPlan) -> Result<Expr> {
    let plan = LogicalPlanBuilder::from(input.clone()).project(vec![predicate.clone().alias("$kept")])?.build()?;
    Ok(Expr::ScalarSubquery(Subquery { subquery: Arc::new(plan), ..subquery.clone() }))
}
