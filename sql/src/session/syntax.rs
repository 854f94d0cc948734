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
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::TableSource;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Select};

use crate::walk::{Rewrite, Step, walk};

/// Returns the statement as DataFusion reads it. `tables` are the relations that it may name.
///
/// # Errors
/// When a part can be read in more than one way. The message says what to write instead.
pub(super) fn read(statement: Statement, tables: &BTreeMap<String, Arc<dyn TableSource>>) -> Result<Statement> {
    let Statement::Statement(mut statement) = statement else {
        return Ok(statement);
    };
    let mut reader = Reader { tables, wrong: None };
    let _ = walk(&mut statement, &mut reader);
    reader.wrong.map_or(Ok(Statement::Statement(statement)), Err)
}

struct Reader<'a> {
    tables: &'a BTreeMap<String, Arc<dyn TableSource>>,
    /// What stopped the walk.
    wrong: Option<DataFusionError>,
}

impl Rewrite for Reader<'_> {
    fn before_select(&mut self, select: &mut Select) -> Step {
        named_windows::refine(select);
        members::name(select);
        match merged_keys::merge(select, self.tables) {
            Ok(()) => Step::Continue(()),
            Err(error) => {
                self.wrong = Some(error);
                Step::Break(())
            }
        }
    }

    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        arrows::bind(expression);
        members::dot(expression);
        other_names::translate(expression);
        Step::Continue(())
    }
}
