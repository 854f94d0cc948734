//! UNNEST in FROM as people write it: LATERAL before it, WITH ORDINALITY or WITH OFFSET after it, and a name that is the column's too, so that
//! `FROM t, UNNEST(t.items) AS item` has a column `item`. The rows are made by [`laterals`](crate::session::standard).

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, SelectItem, SetExpr, TableAlias, TableAliasColumnDef, TableFactor,
};

use super::pieces::{self, refused};

/// Writes an UNNEST with the names of its columns, its numbers as a list beside the others.
///
/// # Errors
/// Numbers of several lists, more names than columns.
pub(super) fn read(relation: &mut TableFactor) -> Result<()> {
    if let TableFactor::Function { name, args, with_ordinality, alias, .. } = relation
        && is_unnest(name)
        && let Some(array_exprs) = args.iter().map(argument).collect::<Option<Vec<_>>>()
    {
        *relation = TableFactor::UNNEST {
            alias: alias.take(),
            array_exprs,
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: *with_ordinality,
        };
    }
    let TableFactor::UNNEST { alias, array_exprs, with_offset, with_offset_alias, with_ordinality } = relation else {
        return Ok(());
    };
    let first_number = match (std::mem::take(with_ordinality), std::mem::take(with_offset)) {
        (true, _) => Some(1),
        (false, true) => Some(0),
        (false, false) => None,
    };
    if array_exprs.len() > 1 {
        if first_number.is_some() {
            let help = "give the lists one UNNEST each, joined by their numbers, or number one list only";
            return Err(refused("the elements of several lists have no numbers", help, &array_exprs[1]));
        }
        return Ok(());
    }
    let alias =
        alias.get_or_insert_with(|| TableAlias { explicit: true, name: Ident::new("unnest"), columns: Vec::new(), at: None });
    let names = 1 + usize::from(first_number.is_some());
    if let Some(extra) = alias.columns.get(names) {
        let help = format!("write AS {}(item), and item.member for the members of a STRUCT", alias.name);
        return Err(refused("UNNEST gives one column, the element of the list", help, &Expr::Identifier(extra.name.clone())));
    }
    if alias.columns.is_empty() {
        alias.columns.push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
    }
    if let (Some(first), Some(list)) = (first_number, array_exprs.first()) {
        let numbers = numbers(list, first)?;
        array_exprs.push(numbers);
        if alias.columns.len() < names {
            let name = if first == 1 { "ordinality" } else { "offset" };
            let name = with_offset_alias.take().unwrap_or_else(|| Ident::new(name));
            alias.columns.push(TableAliasColumnDef { name, data_type: None });
        }
    }
    *with_offset_alias = None;
    Ok(())
}

/// Whether a relation of FROM is an UNNEST.
pub(super) fn is_one(relation: &TableFactor) -> bool {
    match relation {
        TableFactor::UNNEST { .. } => true,
        TableFactor::Function { name, .. } => is_unnest(name),
        _ => false,
    }
}

fn is_unnest(name: &ObjectName) -> bool {
    name.to_string().eq_ignore_ascii_case("unnest")
}

fn argument(argument: &FunctionArg) -> Option<Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument.clone()),
        _ => None,
    }
}

/// The numbers of a list's elements, as a list.
fn numbers(list: &Expr, first: u8) -> Result<Expr> {
    let last = if first == 1 { "" } else { " - 1" };
    let query = pieces::query(&format!("SELECT generate_series({first}, CAST(array_length({list}) AS BIGINT){last})"))?;
    match *query.body {
        SetExpr::Select(select) => match select.projection.into_iter().next() {
            Some(SelectItem::UnnamedExpr(numbers)) => Ok(numbers),
            _ => Err(refused("the elements have no numbers", "leave out WITH ORDINALITY", list)),
        },
        _ => Err(refused("the elements have no numbers", "leave out WITH ORDINALITY", list)),
    }
}
