//! `a ASOF JOIN b MATCH_CONDITION (a.at >= b.at) ON a.k = b.k`: for each row on the left the nearest one on the right, as
//! `LEFT JOIN LATERAL (SELECT * FROM b WHERE ... ORDER BY b.at DESC LIMIT 1)`. With MATCH_CONDITION, as in Snowflake, rows without one stay; as DuckDB
//! writes it, only with ASOF LEFT JOIN.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, Join, JoinConstraint, JoinOperator, OrderBy, OrderByExpr, OrderByKind, OrderByOptions, Select,
    SetExpr, TableFactor, Value,
};

use super::name::normalized;
use super::pieces::{self, all, refused};
use crate::dialect::{NEAREST_INNER, NEAREST_LEFT};
use crate::walk::{Rewrite, Step, walk};

/// Writes the nearest joins of a SELECT as lateral ones.
///
/// # Errors
/// A join whose nearest row is not said by one comparison of a column of each side.
pub(super) fn write_out(select: &mut Select) -> Result<()> {
    for join in select.from.iter_mut().flat_map(|from| &mut from.joins) {
        if let JoinOperator::AsOf { match_condition, constraint } = &join.join_operator {
            let (match_condition, constraint) = (match_condition.clone(), constraint.clone());
            one(join, match_condition, constraint)?;
        }
    }
    Ok(())
}

fn one(join: &mut Join, match_condition: Expr, constraint: JoinConstraint) -> Result<()> {
    const EXAMPLE: &str = "write a ASOF JOIN b ON a.key = b.key AND a.at >= b.at, each column with the name of its relation";
    let duckdb = match &match_condition {
        Expr::Identifier(name) if name.value == NEAREST_INNER => Some(false),
        Expr::Identifier(name) if name.value == NEAREST_LEFT => Some(true),
        _ => None,
    };
    let mut conditions = Vec::new();
    match constraint {
        JoinConstraint::On(condition) => conjuncts(condition, &mut conditions),
        JoinConstraint::None => {}
        _ => return Err(refused("ASOF JOIN takes no USING and is not NATURAL", EXAMPLE, &match_condition)),
    }
    if duckdb.is_none() {
        conditions.insert(0, match_condition.clone());
    }
    let mut plain = PlainName(None);
    for condition in &conditions {
        let _ = walk(&mut condition.clone(), &mut plain);
    }
    if let Some(name) = plain.0 {
        return Err(refused(format!("{name} in ASOF JOIN does not say of which side it is"), EXAMPLE, &Expr::Identifier(name)));
    }
    let Some(right) = name_of(&join.relation) else {
        return Err(refused("the right side of ASOF JOIN has no name", "give it one with AS", &match_condition));
    };
    let mut orders = conditions.iter().filter_map(|condition| order_of(condition, &right));
    let (Some((column, ascending)), None) = (orders.next(), orders.next()) else {
        return Err(refused("ASOF JOIN compares one column of each side with <, <=, > or >=", EXAMPLE, &Expr::Identifier(right)));
    };
    let order =
        OrderByExpr { expr: column, options: OrderByOptions { asc: Some(ascending), nulls_first: Some(false) }, with_fill: None };
    let mut nearest = pieces::query("SELECT * FROM t LIMIT 1")?;
    nearest.order_by = Some(OrderBy { kind: OrderByKind::Expressions(vec![order]), interpolate: None });
    if let SetExpr::Select(select) = nearest.body.as_mut() {
        select.selection = Some(all(conditions));
        if let Some(from) = select.from.first_mut() {
            from.relation = join.relation.clone();
        }
    }
    let alias = datafusion::sql::sqlparser::ast::TableAlias { explicit: true, name: right, columns: Vec::new(), at: None };
    join.relation = TableFactor::Derived { lateral: true, subquery: nearest, alias: Some(alias), sample: None };
    let on = JoinConstraint::On(Expr::value(Value::Boolean(true)));
    join.join_operator = if duckdb == Some(false) { JoinOperator::Inner(on) } else { JoinOperator::Left(on) };
    Ok(())
}

/// The first name without a relation.
struct PlainName(Option<Ident>);

impl Rewrite for PlainName {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        match expression {
            Expr::Identifier(name) => {
                self.0 = Some(name.clone());
                Step::Break(())
            }
            _ => Step::Continue(()),
        }
    }
}

fn conjuncts(condition: Expr, found: &mut Vec<Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(*left, found);
            conjuncts(*right, found);
        }
        Expr::Nested(inner) => conjuncts(*inner, found),
        other => found.push(other),
    }
}

fn name_of(relation: &TableFactor) -> Option<Ident> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. } | TableFactor::Derived { alias: Some(alias), .. } => {
            Some(alias.name.clone())
        }
        TableFactor::Table { name, .. } => name.0.last()?.as_ident().cloned(),
        _ => None,
    }
}

/// The column of the right side that a comparison is about, and whether the nearest row is the first of it; none for other conditions.
fn order_of(condition: &Expr, right: &Ident) -> Option<(Expr, bool)> {
    let condition = match condition {
        Expr::Nested(inner) => inner.as_ref(),
        other => other,
    };
    let Expr::BinaryOp { left: first, op, right: second } = condition else { return None };
    let second_is_at_most = match op {
        BinaryOperator::Gt | BinaryOperator::GtEq => true,
        BinaryOperator::Lt | BinaryOperator::LtEq => false,
        _ => return None,
    };
    let is_of_right = |side: &Expr| match side {
        Expr::CompoundIdentifier(parts) => parts.first().is_some_and(|first| normalized(first) == normalized(right)),
        _ => false,
    };
    match (is_of_right(first), is_of_right(second)) {
        (false, true) => Some((second.as_ref().clone(), !second_is_at_most)),
        (true, false) => Some((first.as_ref().clone(), second_is_at_most)),
        _ => None,
    }
}
