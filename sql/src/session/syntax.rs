//! Rewrites statements from what people write to what DataFusion reads, before names are resolved. Rewrites that need types are in
//! [`standard`](super::standard) and [`operators`](super::operators).
//!
//! | module | what it reads |
//! | --- | --- |
//! | [`arrows`] | `->` and `->>` binding as in PostgreSQL |
//! | [`members`] | `items[1].sku`; names a selected member after itself |
//! | [`named_windows`] | `OVER (w ORDER BY x)` |
//! | [`merged_keys`] | the key of FULL and RIGHT JOIN USING |
//! | [`name`] | names in the form in which they are compared |
//! | [`other_names`] | functions by the names that other engines give them |

mod arrows;
mod members;
mod merged_keys;
mod name;
mod named_windows;
mod other_names;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::TableSource;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Select, Statement as SqlStatement, VisitMut, VisitorMut};

/// Returns the statement as DataFusion reads it. `tables` are the relations that it may name.
///
/// # Errors
/// When a part can be read in more than one way. The message says what to write instead.
pub(super) fn read(statement: Statement, tables: &BTreeMap<String, Arc<dyn TableSource>>) -> Result<Statement> {
    let Statement::Statement(mut statement) = statement else {
        return Ok(statement);
    };
    let mut reader = Reader { tables };
    match SqlStatement::visit(&mut statement, &mut reader) {
        ControlFlow::Continue(()) => Ok(Statement::Statement(statement)),
        ControlFlow::Break(error) => Err(error),
    }
}

struct Reader<'a> {
    tables: &'a BTreeMap<String, Arc<dyn TableSource>>,
}

impl VisitorMut for Reader<'_> {
    type Break = DataFusionError;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<DataFusionError> {
        named_windows::refine(select);
        members::name(select);
        match merged_keys::merge(select, self.tables) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<DataFusionError> {
        arrows::bind(expression);
        members::dot(expression);
        other_names::translate(expression);
        ControlFlow::Continue(())
    }
}
