//! Members of structs: `items[1].sku` and `(items[1]).sku` read as `items[1]['sku']`, and a member that is selected without AS goes by its own
//! name.

use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Ident, Select, SelectItem, Subscript, TableFactor, TableWithJoins, Value,
};

use super::name::normalized;

/// Reads a dot after brackets as the member in brackets.
pub(super) fn dot(expression: &mut Expr) {
    let Expr::CompoundFieldAccess { root, access_chain } = expression else { return };
    // Dots after a name are parts of the name.
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

/// Names the members that are selected, where no other column has the name.
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

/// The name of a column that is selected, and whether it is that of a member without one.
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

/// The names by which the relations of FROM are known.
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
