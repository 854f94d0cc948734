//! `(a, b) IN (SELECT x, y ...)`: whether a row is equal in all columns, which DataFusion 55.2 does not read. It is unknown, and NOT IN with it,
//! where no row is equal and one is neither equal nor different.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, Expr, Ident, Query, Select, SetExpr, TableFactor, UnaryOperator, Value,
    helpers::attached_token::AttachedToken,
};

use super::pieces::{self, all, operation, refused};

/// The name of the subquery's rows.
const ROWS: &str = "$rows";
/// The longest subquery, as a text, that an expression may hold twice.
const LONGEST: usize = 20_000;

/// Writes the conditions of a SELECT, of which only counts whether they are true, so that they become semi and anti joins.
///
/// # Errors
/// Those of the parser: a bug.
pub(super) fn in_conditions(select: &mut Select) -> Result<()> {
    for condition in [&mut select.selection, &mut select.having, &mut select.qualify].into_iter().flatten() {
        in_condition(condition)?;
    }
    Ok(())
}

fn in_condition(condition: &mut Expr) -> Result<()> {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            in_condition(left)?;
            in_condition(right)
        }
        Expr::Nested(inner) => in_condition(inner),
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => match expr.as_ref() {
            Expr::InSubquery { expr: value, subquery, negated } => {
                if let Some(is_in) = decided(value, subquery, !negated)? {
                    *condition = is_in;
                }
                Ok(())
            }
            _ => Ok(()),
        },
        Expr::InSubquery { expr, subquery, negated } => {
            if let Some(is_in) = decided(expr, subquery, *negated)? {
                *condition = is_in;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether it is true that a row is among those of a subquery, or is not; none for a single value.
fn decided(value: &Expr, subquery: &Query, negated: bool) -> Result<Option<Expr>> {
    let Expr::Tuple(values) = value else { return Ok(None) };
    Ok(Some(if negated { exists(subquery, values, may_be_equal, true)? } else { exists(subquery, values, is_equal, false)? }))
}

/// The same anywhere else, where unknown is another answer than false.
///
/// # Errors
/// Those of the parser: a bug.
pub(super) fn anywhere(expression: &mut Expr) -> Result<()> {
    let Expr::InSubquery { expr, subquery, negated } = expression else { return Ok(()) };
    let Expr::Tuple(values) = expr.as_ref() else { return Ok(()) };
    // It is written twice below, and so is one within it.
    if subquery.to_string().len() > LONGEST {
        let help = "write it in WHERE, or join its rows";
        return Err(refused("this subquery is too long for IN over several columns here", help, subquery.as_ref()));
    }
    let boolean = |value: bool| Expr::value(Value::Boolean(value));
    *expression = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![
            CaseWhen { condition: exists(subquery, values, is_equal, false)?, result: boolean(!*negated) },
            CaseWhen { condition: exists(subquery, values, may_be_equal, false)?, result: Expr::value(Value::Null) },
        ],
        else_result: Some(Box::new(boolean(*negated))),
    };
    Ok(())
}

fn is_equal(item: Expr, value: Expr) -> Expr {
    operation(item, BinaryOperator::Eq, value)
}

/// Neither equal nor different, or equal.
fn may_be_equal(item: Expr, value: Expr) -> Expr {
    let or = |left, right| operation(left, BinaryOperator::Or, right);
    let null = |side: &Expr| Expr::IsNull(Box::new(Expr::Nested(Box::new(side.clone()))));
    or(or(is_equal(item.clone(), value.clone()), null(&item)), null(&value))
}

/// Whether there is a row of a subquery of which a condition is true in each column.
fn exists(subquery: &Query, values: &[Expr], condition: fn(Expr, Expr) -> Expr, negated: bool) -> Result<Expr> {
    let columns: Vec<String> = (0..values.len()).map(|index| format!("$column{index}")).collect();
    let quoted: Vec<String> = columns.iter().map(|column| format!("\"{column}\"")).collect();
    let mut around = pieces::query(&format!("SELECT 1 FROM (SELECT 1) AS \"{ROWS}\" ({})", quoted.join(", ")))?;
    if let SetExpr::Select(select) = around.body.as_mut() {
        if let Some(TableFactor::Derived { subquery: rows, .. }) = select.from.first_mut().map(|from| &mut from.relation) {
            **rows = subquery.clone();
        }
        let item =
            |column: &String| Expr::CompoundIdentifier([ROWS, column.as_str()].map(|part| Ident::with_quote('"', part)).to_vec());
        select.selection = Some(all(columns.iter().zip(values).map(|(column, value)| condition(item(column), value.clone()))));
    }
    Ok(Expr::Exists { subquery: around, negated })
}
