//! How many rows are wanted, in the words of the standard and of others: `FETCH FIRST 3 ROWS ONLY` and `SELECT TOP 3` as LIMIT. Whether an order decides which rows these are is the planner's question.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, LimitClause, Query, SetExpr, TopQuantity, Value};

use super::pieces::refused;

/// Writes a query with LIMIT only.
///
/// # Errors
/// WITH TIES, PERCENT and locks.
pub(super) fn read(query: &mut Query) -> Result<()> {
    if !query.locks.is_empty() {
        let help = "leave it out: a view only reads";
        return Err(refused("FOR UPDATE and FOR SHARE lock rows, and a view has none to lock", help, &*query));
    }
    if let Some(fetch) = query.fetch.take() {
        if fetch.with_ties || fetch.percent {
            return Err(refused_ties(query, fetch.percent));
        }
        limit(query, fetch.quantity.unwrap_or_else(one))?;
    }
    let top = match query.body.as_mut() {
        SetExpr::Select(select) => select.top.take(),
        _ => None,
    };
    if let Some(top) = top {
        if top.with_ties || top.percent {
            return Err(refused_ties(query, top.percent));
        }
        let quantity = match top.quantity {
            Some(TopQuantity::Expr(quantity)) => quantity,
            Some(TopQuantity::Constant(quantity)) => Expr::value(Value::Number(quantity.to_string(), false)),
            None => one(),
        };
        limit(query, quantity)?;
    }
    Ok(())
}

fn one() -> Expr {
    Expr::value(Value::Number("1".to_owned(), false))
}

/// Adds LIMIT to what there is of OFFSET.
fn limit(query: &mut Query, quantity: Expr) -> Result<()> {
    let (offset, limit_by) = match query.limit_clause.take() {
        None => (None, Vec::new()),
        Some(LimitClause::LimitOffset { limit: None, offset, limit_by }) => (offset, limit_by),
        Some(_) => return Err(refused("how many rows are wanted is said twice", "keep one of LIMIT, FETCH and TOP", &quantity)),
    };
    query.limit_clause = Some(LimitClause::LimitOffset { limit: Some(quantity), offset, limit_by });
    Ok(())
}

fn refused_ties(query: &Query, percent: bool) -> datafusion::common::DataFusionError {
    let (message, help) = if percent {
        ("a share of all rows cannot be asked for", "number the rows with row_number() and compare with a count of them in WHERE")
    } else {
        (
            "WITH TIES is not there",
            "rank the rows in a subquery, and filter around it: SELECT ... FROM (SELECT ..., rank() OVER (ORDER BY x) AS n FROM ...) \
             WHERE n <= 3",
        )
    };
    refused(message, help, query)
}
