//! The relation that a call reads: its first argument is a name or a subquery.

use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, ObjectName, TableFactor};

/// Returns the relation that an argument names or, for a subquery, is.
pub(super) fn relation(argument: &SqlExpr) -> Option<TableFactor> {
    match argument {
        SqlExpr::Identifier(name) => Some(named(std::slice::from_ref(name))),
        SqlExpr::CompoundIdentifier(parts) => Some(named(parts)),
        SqlExpr::Subquery(query) => {
            Some(TableFactor::Derived { lateral: false, subquery: query.clone(), alias: None, sample: None })
        }
        _ => None,
    }
}

/// Returns a relation by its name.
fn named(parts: &[Ident]) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(parts.to_vec()),
        alias: None,
        args: None,
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    }
}
