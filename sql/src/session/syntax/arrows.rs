//! `->` and `->>` bind more tightly than comparison, IN, LIKE, BETWEEN, IS and `||`, as in PostgreSQL. The parser reads `a->>'k' =
//! 'v'` as `a->>('k' = 'v')`, and `x = a->>'k'` as `(x = a)->>'k'`. Expressions in parentheses stay as they are.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

/// Moves a JSON operator below an operator that binds less tightly.
pub(super) fn bind(expression: &mut Expr) {
    while let Some(bound) = rotated(expression) {
        *expression = bound;
    }
}

fn is_arrow(operator: &BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Arrow | BinaryOperator::LongArrow | BinaryOperator::HashArrow | BinaryOperator::HashLongArrow
    )
}

fn rotated(expression: &Expr) -> Option<Expr> {
    let Expr::BinaryOp { left, op, right } = expression else { return None };
    if !is_arrow(op) {
        return None;
    }
    let mut outer = right.as_ref().clone();
    if let Some(first) = first_operand(&mut outer) {
        // The operand may again be an expression that binds less tightly, so it is bound in turn.
        let mut path = Expr::BinaryOp { left: left.clone(), op: op.clone(), right: Box::new(first.clone()) };
        bind(&mut path);
        *first = path;
        return Some(outer);
    }
    let mut outer = left.as_ref().clone();
    let last = last_operand(&mut outer)?;
    let mut path = Expr::BinaryOp { left: Box::new(last.clone()), op: op.clone(), right: right.clone() };
    bind(&mut path);
    *last = path;
    Some(outer)
}

fn binds_less(operator: &BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
            | BinaryOperator::StringConcat
    )
}

/// Returns the operand that an expression begins with, if the expression binds less tightly than an arrow.
fn first_operand(expression: &mut Expr) -> Option<&mut Expr> {
    let operand = match expression {
        Expr::BinaryOp { left, op, .. } if binds_less(op) => left,
        Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsNotTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::IsNotFalse(inner)
        | Expr::IsUnknown(inner)
        | Expr::IsNotUnknown(inner)
        | Expr::IsDistinctFrom(inner, _)
        | Expr::IsNotDistinctFrom(inner, _) => inner,
        Expr::InList { expr, .. }
        | Expr::InSubquery { expr, .. }
        | Expr::Between { expr, .. }
        | Expr::Like { expr, .. }
        | Expr::ILike { expr, .. }
        | Expr::SimilarTo { expr, .. }
        | Expr::RLike { expr, .. } => expr,
        Expr::AnyOp { left, .. } | Expr::AllOp { left, .. } => left,
        _ => return None,
    };
    Some(operand)
}

/// Returns the operand that an expression ends with, if the expression binds less tightly than an arrow.
fn last_operand(expression: &mut Expr) -> Option<&mut Expr> {
    match expression {
        Expr::BinaryOp { right, op, .. } if binds_less(op) => Some(right),
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => Some(right),
        Expr::Like { pattern, escape_char: None, .. } | Expr::ILike { pattern, escape_char: None, .. } => Some(pattern),
        _ => None,
    }
}
