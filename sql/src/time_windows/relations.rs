//! The relation that a call reads: named by its first argument, or a subquery there.

use datafusion::sql::sqlparser::ast::{Expr as SqlExpr, Ident, ObjectName, TableFactor};

/// The relation that an argument names, or is.
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

/// A relation by its name.
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
