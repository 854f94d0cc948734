//! `t PIVOT (sum(x) FOR c IN ('a', 'b'))`: a column for each value, `sum(x) FILTER (WHERE c = 'a') AS a`, grouped by all columns that neither
//! the aggregates nor FOR name. A column is named by its value, with several aggregates by both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, ExprWithAlias, Function, GroupByExpr, Ident, PivotValueSource, SelectItem, SetExpr, TableFactor, Value,
};

use super::name::normalized;
use super::pieces::{self, also_where, operation, refused};
use crate::walk::{Rewrite, Step, walk};

/// Writes a PIVOT as a subquery with GROUP BY.
///
/// # Errors
/// Values that are not written out, columns that are not known here.
pub(super) fn write_out(relation: &mut TableFactor, tables: &BTreeMap<String, Arc<dyn TableSource>>) -> Result<()> {
    let TableFactor::Pivot { table, aggregate_functions, value_column, value_source, default_on_null, alias } = relation else {
        return Ok(());
    };
    let [column] = value_column.as_slice() else {
        return Err(refused("PIVOT turns the values of one column", "write FOR column IN ('a', 'b')", &*relation));
    };
    let (PivotValueSource::List(values), None) = (&*value_source, &*default_on_null) else {
        let help = "write the values out: FOR column IN ('a', 'b')";
        return Err(refused("the columns of a view do not depend on its rows", help, column));
    };
    let Some(columns) = columns_of(table, tables) else {
        let help = "name them in a subquery: (SELECT a, b, c FROM ...) PIVOT (...)";
        return Err(refused("the columns that PIVOT groups by are not known here", help, column));
    };
    let mut named = Named(BTreeSet::new());
    for expression in aggregate_functions.iter().map(|aggregate| &aggregate.expr).chain([column]) {
        let _ = walk(&mut expression.clone(), &mut named);
    }
    let groups: Vec<Ident> =
        columns.into_iter().filter(|name| !named.0.contains(name)).map(|name| Ident::with_quote('"', name)).collect();
    let mut items: Vec<SelectItem> = groups.iter().map(|name| SelectItem::UnnamedExpr(Expr::Identifier(name.clone()))).collect();
    for value in values {
        for aggregate in aggregate_functions.iter() {
            let Expr::Function(call) = &aggregate.expr else {
                return Err(refused("PIVOT aggregates", "write a call of an aggregate: sum(x)", &aggregate.expr));
            };
            let mut call: Function = call.clone();
            also_where(&mut call, operation(column.clone(), BinaryOperator::Eq, value.expr.clone()));
            let alias = name_of(value, aggregate, aggregate_functions.len() > 1);
            items.push(SelectItem::ExprWithAlias { expr: Expr::Function(call), alias });
        }
    }
    // Of no rows there is no group.
    let without_groups = if groups.is_empty() { "SELECT 1 FROM t HAVING count(*) > 0" } else { "SELECT 1 FROM t GROUP BY x" };
    let mut turned = pieces::query(without_groups)?;
    if let SetExpr::Select(select) = turned.body.as_mut() {
        select.projection = items;
        select.group_by = GroupByExpr::Expressions(groups.into_iter().map(Expr::Identifier).collect(), Vec::new());
        if let Some(from) = select.from.first_mut() {
            from.relation = table.as_ref().clone();
        }
    }
    *relation = TableFactor::Derived { lateral: false, subquery: turned, alias: alias.take(), sample: None };
    Ok(())
}

/// The name of the column of a value and an aggregate.
fn name_of(value: &ExprWithAlias, aggregate: &ExprWithAlias, several: bool) -> Ident {
    let of_value = match (&value.alias, &value.expr) {
        (Some(alias), _) => normalized(alias),
        (None, Expr::Value(value)) => match &value.value {
            Value::SingleQuotedString(text) => text.clone(),
            other => other.to_string(),
        },
        (None, other) => other.to_string(),
    };
    let of_aggregate = match (&aggregate.alias, &aggregate.expr) {
        (Some(alias), _) => Some(normalized(alias)),
        (None, Expr::Function(call)) if several => Some(call.name.to_string().to_lowercase()),
        _ => None,
    };
    Ident::with_quote('"', of_aggregate.map_or(of_value.clone(), |aggregate| format!("{of_value}_{aggregate}")))
}

/// The columns of a relation of FROM, where they are known without planning it.
fn columns_of(relation: &TableFactor, tables: &BTreeMap<String, Arc<dyn TableSource>>) -> Option<Vec<String>> {
    match relation {
        TableFactor::Table { name, args: None, .. } => {
            let table = tables.get(&normalized(name.0.last()?.as_ident()?))?;
            Some(table.schema().fields().iter().map(|field| field.name().clone()).collect())
        }
        TableFactor::Derived { subquery, .. } => {
            let SetExpr::Select(select) = subquery.body.as_ref() else { return None };
            let name = |item: &SelectItem| match item {
                SelectItem::ExprWithAlias { alias, .. } => Some(normalized(alias)),
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(normalized(name)),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().map(normalized),
                _ => None,
            };
            select.projection.iter().map(name).collect()
        }
        _ => None,
    }
}

/// The columns that expressions name.
struct Named(BTreeSet<String>);

impl Rewrite for Named {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        match expression {
            Expr::Identifier(name) => {
                self.0.insert(normalized(name));
            }
            Expr::CompoundIdentifier(parts) => self.0.extend(parts.last().map(normalized)),
            _ => {}
        }
        Step::Continue(())
    }
}
