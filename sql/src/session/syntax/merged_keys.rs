//! The key of `a FULL JOIN b USING (k)` is that of whichever side has it, and the key of a RIGHT JOIN is that of the right side.
//! DataFusion 55.2 returns the left side's (its issue 22881). So an unqualified `k` is read as `coalesce(a.k, b.k)`, in its SELECT
//! and in `*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ReplaceSelectElement, ReplaceSelectItem, Select, SelectItem,
    TableFactor, VisitMut,
};

use super::name::normalized;
use super::pieces::coalesce;
use crate::walk::walk_outside_subqueries;

type Tables = BTreeMap<String, Arc<dyn TableSource>>;

/// A relation in FROM: the name by which it is known, and its columns if they are known here.
struct Side {
    name: Ident,
    columns: Option<Vec<String>>,
}

/// Writes out the merged keys of a SELECT.
pub(super) fn merge(select: &mut Select, tables: &Tables) -> Result<()> {
    let mut keys: Vec<(Ident, Expr)> = Vec::new();
    for from in &mut select.from {
        if !from.joins.iter().any(|join| side_kept(&join.join_operator).is_some()) {
            continue;
        }
        let mut left = vec![side(&from.relation, tables)];
        let mut merged: Vec<(Ident, Expr)> = Vec::new();
        for join in &mut from.joins {
            let right = side(&join.relation, tables);
            let kept = side_kept(&join.join_operator);
            if let Some(constraint) = constraint(&mut join.join_operator) {
                if kept.is_some() && *constraint == JoinConstraint::Natural {
                    *constraint = JoinConstraint::Using(common(&left, &right)?);
                }
                match (&*constraint, kept) {
                    (JoinConstraint::On(_), _) => {
                        if let JoinConstraint::On(condition) = constraint {
                            replace(condition, &merged);
                        }
                    }
                    (JoinConstraint::Using(names), Some(kept)) => {
                        for name in names.iter().filter_map(|name| name.0.first()?.as_ident()).cloned().collect::<Vec<_>>() {
                            let of_left = of_left(&name, &left, &merged)?;
                            let of_right = of_side(&right, &name)?;
                            let key = match kept {
                                Kept::Both => coalesce(vec![of_left, of_right]),
                                Kept::Right => of_right,
                            };
                            merged.push((name, key));
                        }
                    }
                    _ => {}
                }
            }
            left.push(right);
        }
        keys.append(&mut merged);
    }
    if !keys.is_empty() {
        write_out(select, &keys);
    }
    Ok(())
}

enum Kept {
    Right,
    Both,
}

/// Returns the sides whose rows without a match are kept, if the left side's key can be missing.
fn side_kept(operator: &JoinOperator) -> Option<Kept> {
    match operator {
        JoinOperator::FullOuter(JoinConstraint::Using(_) | JoinConstraint::Natural) => Some(Kept::Both),
        JoinOperator::Right(JoinConstraint::Using(_) | JoinConstraint::Natural)
        | JoinOperator::RightOuter(JoinConstraint::Using(_) | JoinConstraint::Natural) => Some(Kept::Right),
        _ => None,
    }
}

/// Returns the ON, USING or NATURAL of a join that can have one.
pub(super) fn constraint(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => Some(constraint),
        _ => None,
    }
}

fn side(relation: &TableFactor, tables: &Tables) -> Option<Side> {
    match relation {
        TableFactor::Table { name, alias, args, .. } => {
            let table = name.0.last()?.as_ident()?;
            let known = tables.get(&normalized(table)).filter(|_| args.is_none() && name.0.len() == 1);
            let columns = known.map(|table| table.schema().fields().iter().map(|field| field.name().clone()).collect());
            match alias {
                Some(alias) if alias.columns.is_empty() => Some(Side { name: alias.name.clone(), columns }),
                Some(alias) => Some(Side { name: alias.name.clone(), columns: None }),
                None => Some(Side { name: table.clone(), columns }),
            }
        }
        TableFactor::Derived { alias: Some(alias), .. } => Some(Side { name: alias.name.clone(), columns: None }),
        _ => None,
    }
}

fn refused(reason: &str, write: &str) -> DataFusionError {
    DataFusionError::Plan(format!("{reason}: {write}"))
}

/// Returns the columns that both sides have, in the order of the left side.
fn common(left: &[Option<Side>], right: &Option<Side>) -> Result<Vec<ObjectName>> {
    let unknown = || {
        refused(
            "the columns that both sides of this NATURAL JOIN have are not known here",
            "write USING with their names in place of NATURAL",
        )
    };
    let [Some(Side { columns: Some(left), .. })] = left else { return Err(unknown()) };
    let Some(Side { columns: Some(right), .. }) = right else { return Err(unknown()) };
    let both = left.iter().filter(|column| right.contains(column));
    Ok(both.map(|column| ObjectName::from(Ident::with_quote('"', column.clone()))).collect())
}

/// Returns the key as the earlier joins have it.
fn of_left(name: &Ident, left: &[Option<Side>], merged: &[(Ident, Expr)]) -> Result<Expr> {
    if merged.iter().any(|(other, _)| normalized(other) == normalized(name)) {
        return Err(refused(
            &format!("the key {name} is merged a second time"),
            "write ON with the sides' names, as in ON coalesce(a.k, b.k) = c.k",
        ));
    }
    let holds = |side: &&Option<Side>| match side {
        Some(Side { columns: Some(columns), .. }) => columns.contains(&normalized(name)),
        _ => left.len() == 1,
    };
    let mut holding = left.iter().filter(holds);
    match (holding.next(), holding.next()) {
        (Some(side), None) => of_side(side, name),
        _ => Err(refused(
            &format!("which relation on the left of this join has {name} is not known here"),
            "write ON with the sides' names in place of USING",
        )),
    }
}

fn of_side(side: &Option<Side>, name: &Ident) -> Result<Expr> {
    match side {
        Some(side) => Ok(Expr::CompoundIdentifier(vec![side.name.clone(), name.clone()])),
        None => Err(refused("a side of this join has no name", "give it one with AS")),
    }
}

fn write_out(select: &mut Select, keys: &[(Ident, Expr)]) {
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => {
                let name = name.clone();
                if let Some(key) = key_of(&name, keys) {
                    *item = SelectItem::ExprWithAlias { expr: key.clone(), alias: name };
                }
            }
            SelectItem::Wildcard(options) if options.opt_replace.is_none() => {
                let items = keys.iter().map(|(name, key)| {
                    Box::new(ReplaceSelectElement { expr: key.clone(), column_name: name.clone(), as_keyword: true })
                });
                options.opt_replace = Some(ReplaceSelectItem { items: items.collect() });
            }
            other => replace(other, keys),
        }
    }
    if let Some(condition) = &mut select.selection {
        replace(condition, keys);
    }
    replace(&mut select.group_by, keys);
    if let Some(condition) = &mut select.having {
        replace(condition, keys);
    }
    for window in &mut select.named_window {
        replace(window, keys);
    }
}

fn key_of<'a>(name: &Ident, keys: &'a [(Ident, Expr)]) -> Option<&'a Expr> {
    keys.iter().find(|(key, _)| normalized(key) == normalized(name)).map(|(_, key)| key)
}

/// Writes out the keys in an expression, but not in its subqueries, which may have columns of the same names.
fn replace(part: &mut impl VisitMut, keys: &[(Ident, Expr)]) {
    walk_outside_subqueries(part, &mut |expression| {
        if let Expr::Identifier(name) = expression
            && let Some(key) = key_of(name, keys)
        {
            *expression = key.clone();
        }
    });
}
