//! `WITH RECURSIVE r AS (first part UNION ALL second part)`. DataFusion 55.2 reads such a query without its ORDER BY, LIMIT and WITH, and casts the
//! columns of the second part to the types of the first.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Cte, Expr, Query, Select, SelectItem, SetExpr, SetOperator, TableFactor};

use super::name::normalized;
use super::pieces::{query, refused};
use crate::walk::{Rewrite, Step, walk};

/// Reads the queries of WITH RECURSIVE.
///
/// # Errors
/// Recursions of a form that PostgreSQL refuses too.
pub(super) fn read(outer: &mut Query) -> Result<()> {
    let Some(with) = outer.with.as_mut().filter(|with| with.recursive) else { return Ok(()) };
    for cte in &mut with.cte_tables {
        read_one(cte)?;
    }
    Ok(())
}

fn read_one(cte: &mut Cte) -> Result<()> {
    let name = normalized(&cte.alias.name);
    let shown = Expr::Identifier(cte.alias.name.clone());
    let ends = cte.query.order_by.is_some() || cte.query.limit_clause.is_some() || cte.query.fetch.is_some();
    let has_with = cte.query.with.is_some();
    let SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } = cte.query.body.as_mut() else {
        if references(&mut cte.query.body, &name) > 0 {
            let help = format!("write WITH RECURSIVE {shown} AS (SELECT ... UNION ALL SELECT ... FROM {shown} ...)");
            return Err(refused(
                format!("{shown} reads itself, and is no UNION of what it begins with and what follows"),
                help,
                &shown,
            ));
        }
        return Ok(());
    };
    let (first, second) = (references(left, &name), references(right, &name));
    if first + second == 0 {
        if ends || has_with {
            let whole = std::mem::replace(&mut cte.query, query("SELECT * FROM (SELECT 1) AS whole")?);
            put_below(&mut cte.query, whole);
        }
        return Ok(());
    }
    if first > 0 {
        let help = format!("begin with the part that does not read {shown}, and let one part after UNION read it");
        return Err(refused(format!("{shown} reads itself in the part that it begins with"), help, &shown));
    }
    if second > 1 {
        let help = format!("let its second part read {shown} once");
        return Err(refused(format!("{shown} reads itself more than once"), help, &shown));
    }
    if ends {
        let help = "bound it in WHERE, as in WHERE depth < 100; order and limit the rows where they are read";
        return Err(refused(format!("ORDER BY and LIMIT do not end the recursion of {shown}"), help, &shown));
    }
    if has_with {
        let help = "move its queries in front of it, into the WITH around it";
        return Err(refused(format!("the recursion of {shown} has a WITH of its own"), help, &shown));
    }
    if let SetExpr::Select(select) = right.as_mut() {
        cast_twice(select);
    }
    Ok(())
}

/// Replaces the relation of `SELECT * FROM (SELECT 1)`.
fn put_below(outer: &mut Query, whole: Box<Query>) {
    if let SetExpr::Select(select) = outer.body.as_mut()
        && let Some(from) = select.from.first_mut()
        && let TableFactor::Derived { subquery, .. } = &mut from.relation
    {
        *subquery = whole;
    }
}

/// Writes each cast of a selected column twice, so that the planner can tell it from one that DataFusion adds.
fn cast_twice(select: &mut Select) {
    for item in &mut select.projection {
        let (SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }) = item else { continue };
        let mut outer = value.clone();
        if let Expr::Cast { expr, .. } = &mut outer {
            **expr = value.clone();
            *value = outer;
        }
    }
}

/// Counts how often a part reads a relation.
fn references(part: &mut SetExpr, name: &str) -> usize {
    let mut references = References { name, hidden: Vec::new(), found: 0 };
    let _ = walk(part, &mut references);
    references.found
}

struct References<'a> {
    name: &'a str,
    /// For each query around, whether its WITH has another relation of this name.
    hidden: Vec<bool>,
    found: usize,
}

impl Rewrite for References<'_> {
    fn before_query(&mut self, query: &mut Query) -> Step {
        let mut names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| normalized(&cte.alias.name));
        self.hidden.push(names.any(|name| name == self.name));
        Step::Continue(())
    }

    fn after_query(&mut self, _: &mut Query) -> Step {
        self.hidden.pop();
        Step::Continue(())
    }

    fn before_relation(&mut self, relation: &mut TableFactor) -> Step {
        if let TableFactor::Table { name, args: None, .. } = relation
            && let [part] = name.0.as_slice()
            && part.as_ident().is_some_and(|part| normalized(part) == self.name)
            && !self.hidden.contains(&true)
        {
            self.found += 1;
        }
        Step::Continue(())
    }
}
