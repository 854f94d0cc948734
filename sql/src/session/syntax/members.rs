//! Members of structs: reads `items[1].sku` and `(items[1]).sku` as `items[1]['sku']`, names a member that is selected without AS
//! after itself, and writes out `s.*`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Fields};
use datafusion::logical_expr::TableSource;
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, Select, SelectItem, SelectItemQualifiedWildcardKind, Subscript, TableFactor, TableWithJoins, Value,
};

use super::name::normalized;

/// Rewrites a dot after brackets as the member in brackets.
pub(super) fn dot(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else { return };
    // Dots directly after a name are parts of the name.
    let mut in_brackets = !matches!(root.as_ref(), Expr::Identifier(_) | Expr::CompoundIdentifier(_));
    for access in access_chain {
        in_brackets |= matches!(access, AccessExpr::Subscript(_));
        if !in_brackets {
            continue;
        }
        if let AccessExpr::Dot(Expr::Identifier(member)) = access {
            let index = Expr::value(Value::SingleQuotedString(normalized(member)));
            *access = AccessExpr::Subscript(Subscript::Index { index });
        }
    }
}

/// Writes out `s.*` and `t.s.*` where s is a STRUCT of a source or view.
pub(super) fn expand(select: &mut Select, tables: &BTreeMap<String, Arc<dyn TableSource>>) {
    let from: Vec<(String, Fields)> = select.from.iter().flat_map(|from| schemas(from, tables)).collect();
    let known: Vec<String> = select.from.iter().flat_map(relations).collect();
    let mut items = Vec::with_capacity(select.projection.len());
    for item in std::mem::take(&mut select.projection) {
        match members_of(&item, &known, &from) {
            Some(members) => items.extend(members),
            None => items.push(item),
        }
    }
    select.projection = items;
}

fn members_of(item: &SelectItem, known: &[String], from: &[(String, Fields)]) -> Option<Vec<SelectItem>> {
    let SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) = item else { return None };
    let parts: Vec<Ident> = name.0.iter().map(|part| part.as_ident().cloned()).collect::<Option<_>>()?;
    let (first, inner) = parts.split_first()?;
    let of_relation = from.iter().find(|(relation, _)| !inner.is_empty() && *relation == normalized(first));
    let fields = match of_relation {
        Some((_, fields)) => within(fields, inner),
        None if known.contains(&normalized(first)) => None,
        None => from.iter().find_map(|(_, fields)| within(fields, &parts)),
    };
    let members = fields?.iter().map(|member| {
        let alias = Ident::with_quote('"', member.name());
        SelectItem::ExprWithAlias {
            expr: Expr::CompoundIdentifier(parts.iter().cloned().chain([alias.clone()]).collect()),
            alias,
        }
    });
    Some(members.collect())
}

/// The members of the STRUCT at the end of a path.
fn within<'a>(fields: &'a Fields, path: &[Ident]) -> Option<&'a Fields> {
    let Some((first, rest)) = path.split_first() else { return Some(fields) };
    let field = fields.iter().find(|field| *field.name() == normalized(first))?;
    match field.data_type() {
        DataType::Struct(inner) => within(inner, rest),
        _ => None,
    }
}

/// The relations of FROM with their columns, those that are sources and views.
fn schemas(from: &TableWithJoins, tables: &BTreeMap<String, Arc<dyn TableSource>>) -> Vec<(String, Fields)> {
    let joined = from.joins.iter().map(|join| &join.relation);
    let schema = |relation: &TableFactor| {
        let TableFactor::Table { name, args: None, .. } = relation else { return None };
        let table = tables.get(&normalized(name.0.last()?.as_ident()?))?;
        Some((known_as(relation).pop()?, table.schema().fields().clone()))
    };
    std::iter::once(&from.relation).chain(joined).filter_map(schema).collect()
}

/// Names the selected members, unless another column has the name.
pub(super) fn name(select: &mut Select) {
    let relations: Vec<String> = select.from.iter().flat_map(relations).collect();
    let names: Vec<Option<(Ident, bool)>> = select.projection.iter().map(|item| named(item, &relations)).collect();
    for (index, item) in select.projection.iter_mut().enumerate() {
        let (Some((name, true)), SelectItem::UnnamedExpr(expression)) = (&names[index], &*item) else { continue };
        let taken = names.iter().enumerate().any(|(other, named)| {
            other != index && named.as_ref().is_some_and(|(other, _)| normalized(other) == normalized(name))
        });
        if !taken {
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias: name.clone() };
        }
    }
}

/// Returns the name of a selected column, and whether it is that of a member without an alias.
fn named(item: &SelectItem, relations: &[String]) -> Option<(Ident, bool)> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some((alias.clone(), false)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some((name.clone(), false)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => {
            let of_relation = parts.first().is_some_and(|first| relations.contains(&normalized(first)));
            let is_member = if of_relation { parts.len() > 2 } else { parts.len() > 1 };
            parts.last().map(|last| (last.clone(), is_member))
        }
        SelectItem::UnnamedExpr(Expr::CompoundFieldAccess { access_chain, .. }) => match access_chain.last() {
            Some(AccessExpr::Dot(Expr::Identifier(member))) => Some((member.clone(), true)),
            _ => None,
        },
        _ => None,
    }
}

/// Returns the names by which the relations in FROM are known.
fn relations(from: &TableWithJoins) -> Vec<String> {
    let joined = from.joins.iter().map(|join| &join.relation);
    std::iter::once(&from.relation).chain(joined).flat_map(known_as).collect()
}

fn known_as(relation: &TableFactor) -> Vec<String> {
    match relation {
        TableFactor::Table { alias: Some(alias), .. }
        | TableFactor::Derived { alias: Some(alias), .. }
        | TableFactor::UNNEST { alias: Some(alias), .. }
        | TableFactor::Function { alias: Some(alias), .. } => vec![normalized(&alias.name)],
        TableFactor::Table { name, alias: None, .. } => {
            name.0.last().and_then(|part| part.as_ident()).map(normalized).into_iter().collect()
        }
        TableFactor::NestedJoin { table_with_joins, .. } => relations(table_with_joins),
        _ => Vec::new(),
    }
}
