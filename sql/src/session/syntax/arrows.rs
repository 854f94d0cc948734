//! `->` and `->>` bind more tightly than comparison, IN, LIKE, BETWEEN, IS and `||`, as in PostgreSQL. The parser takes `a->>'k' = 'v'` for
//! `a->>('k' = 'v')` and `x = a->>'k'` for `(x = a)->>'k'`. What stands in parentheses stays.

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr};

/// Takes a JSON operator out of an expression that binds less tightly.
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
        // The operand may again be an expression that binds less tightly: it is bound in its turn.
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

/// The operand that an expression begins with, where it binds less tightly than an arrow.
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

/// The operand that an expression ends with, where it binds less tightly than an arrow.
fn last_operand(expression: &mut Expr) -> Option<&mut Expr> {
    match expression {
        Expr::BinaryOp { right, op, .. } if binds_less(op) => Some(right),
        Expr::IsDistinctFrom(_, right) | Expr::IsNotDistinctFrom(_, right) => Some(right),
        Expr::Like { pattern, escape_char: None, .. } | Expr::ILike { pattern, escape_char: None, .. } => Some(pattern),
        _ => None,
    }
}
