//! The key of `a FULL JOIN b USING (k)` is that of whichever side has it, and the key of a RIGHT JOIN is that of the right side.
//! DataFusion 55.2 returns the left side's (its issue 22881). So an unqualified `k` is read as `coalesce(a.k, b.k)`, in its SELECT
//! and in `*`. Where a further USING names `k`, it becomes an ON over what `k` is by then.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectName, ReplaceSelectElement, ReplaceSelectItem, Select,
    SelectItem, TableFactor, VisitMut, WildcardAdditionalOptions,
};

use super::name::normalized;
use super::pieces::{all, coalesce, operation};
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
    let mut columns: Option<Vec<(Ident, Expr)>> = Some(Vec::new());
    let mut is_rewritten = false;
    for from in &mut select.from {
        let mut joined = Joined::of(side(&from.relation, tables));
        if from.joins.iter().any(|join| side_kept(&join.join_operator).is_some()) {
            for join in &mut from.joins {
                joined.add(side(&join.relation, tables), &mut join.join_operator)?;
            }
        } else if !from.joins.is_empty() {
            joined.columns = None;
        }
        keys.append(&mut joined.merged);
        is_rewritten |= joined.is_rewritten;
        columns = columns.zip(joined.columns).map(|(before, own)| before.into_iter().chain(own).collect());
    }
    if is_rewritten {
        expand(select, columns.as_deref())?;
    }
    if !keys.is_empty() {
        write_out(select, &keys);
    }
    Ok(())
}

/// The relations that are joined so far.
struct Joined {
    sides: Vec<Option<Side>>,
    /// The keys that one of the sides may lack, each with what it is.
    merged: Vec<(Ident, Expr)>,
    /// The keys that all sides have.
    shared: Vec<(Ident, Expr)>,
    /// What `*` stands for, if it is known here.
    columns: Option<Vec<(Ident, Expr)>>,
    /// Whether a USING has become an ON, so that DataFusion no longer knows which columns it merges.
    is_rewritten: bool,
}

impl Joined {
    fn of(first: Option<Side>) -> Joined {
        let columns = columns_of(&first);
        Joined { sides: vec![first], merged: Vec::new(), shared: Vec::new(), columns, is_rewritten: false }
    }

    fn add(&mut self, right: Option<Side>, operator: &mut JoinOperator) -> Result<()> {
        let kept = side_kept(operator);
        let mut names: Option<Vec<Ident>> = None;
        if let Some(constraint) = constraint(operator) {
            if (kept.is_some() || !self.merged.is_empty()) && *constraint == JoinConstraint::Natural {
                *constraint = JoinConstraint::Using(common(&self.sides, &right)?);
            }
            match constraint {
                JoinConstraint::On(condition) => {
                    replace(condition, &self.merged);
                    names = Some(Vec::new());
                }
                JoinConstraint::Using(using) => {
                    let keys: Vec<Ident> = using.iter().filter_map(|name| name.0.first()?.as_ident()).cloned().collect();
                    let conditions = self.merge(&keys, kept, &right)?;
                    names = Some(keys);
                    if let Some(conditions) = conditions {
                        *constraint = JoinConstraint::On(all(conditions));
                        self.is_rewritten = true;
                    }
                }
                _ => {}
            }
        }
        self.columns = self.columns.take().zip(columns_of(&right)).zip(names).and_then(|((left, right), names)| {
            let is_key = |(name, _): &(Ident, Expr)| names.iter().any(|key| normalized(key) == normalized(name));
            let keys = names.iter().map(|name| {
                let known = key_of(name, &self.merged).or_else(|| key_of(name, &self.shared));
                known.map(|key| (name.clone(), key.clone()))
            });
            let keys = keys.collect::<Option<Vec<_>>>()?;
            Some(keys.into_iter().chain(left.into_iter().chain(right).filter(|column| !is_key(column))).collect())
        });
        self.sides.push(right);
        Ok(())
    }

    /// Merges the keys of a USING. Returns its conditions if a side of it is itself a merged key, which USING cannot name.
    fn merge(&mut self, names: &[Ident], kept: Option<Kept>, right: &Option<Side>) -> Result<Option<Vec<Expr>>> {
        let is_chained = names.iter().any(|name| key_of(name, &self.merged).is_some());
        let mut conditions = Vec::new();
        for name in names {
            let of_left = match key_of(name, &self.merged).or_else(|| key_of(name, &self.shared)) {
                Some(key) => Ok(key.clone()),
                None => of_left(name, &self.sides),
            };
            if kept.is_none() && !is_chained {
                // DataFusion merges it.
                self.shared.extend(of_left.ok().map(|key| (name.clone(), key)));
                continue;
            }
            let (of_left, of_right) = (of_left?, of_side(right, name)?);
            conditions.push(operation(of_left.clone(), BinaryOperator::Eq, of_right.clone()));
            let key = match kept {
                Some(Kept::Both) => coalesce(vec![of_left, of_right]),
                Some(Kept::Right) => of_right,
                None => of_left,
            };
            self.merged.retain(|(other, _)| normalized(other) != normalized(name));
            self.merged.push((name.clone(), key));
        }
        Ok(is_chained.then_some(conditions))
    }
}

/// The columns of a side, each with what it is.
fn columns_of(side: &Option<Side>) -> Option<Vec<(Ident, Expr)>> {
    let side = side.as_ref()?;
    let column = |name: &String| {
        let name = Ident::with_quote('"', name.clone());
        (name.clone(), Expr::CompoundIdentifier(vec![side.name.clone(), name]))
    };
    side.columns.as_ref().map(|columns| columns.iter().map(column).collect())
}

/// Writes out `*`.
fn expand(select: &mut Select, columns: Option<&[(Ident, Expr)]>) -> Result<()> {
    let mut items = Vec::with_capacity(select.projection.len());
    for item in select.projection.drain(..) {
        match item {
            SelectItem::Wildcard(options) => {
                let Some(columns) = columns.filter(|_| options == WildcardAdditionalOptions::default()) else {
                    return Err(refused(
                        "the columns of * are not known here, after two joins that merge a key",
                        "write the columns in place of *",
                    ));
                };
                let columns = columns.iter().cloned();
                items.extend(columns.map(|(alias, expr)| SelectItem::ExprWithAlias { expr, alias }));
            }
            other => items.push(other),
        }
    }
    select.projection = items;
    Ok(())
}

#[derive(Clone, Copy)]
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
    let columns = |side: &Option<Side>| side.as_ref().and_then(|side| side.columns.clone()).ok_or_else(unknown);
    let right = columns(right)?;
    let mut both: Vec<String> = Vec::new();
    for column in left.iter().map(columns).collect::<Result<Vec<_>>>()?.concat() {
        if right.contains(&column) && !both.contains(&column) {
            both.push(column);
        }
    }
    let both = both.into_iter();
    Ok(both.map(|column| ObjectName::from(Ident::with_quote('"', column))).collect())
}

/// Returns the key of the one side on the left that has it.
fn of_left(name: &Ident, left: &[Option<Side>]) -> Result<Expr> {
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
