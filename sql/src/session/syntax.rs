//! Rewrites statements from what people write to what DataFusion reads, before names are resolved. Rewrites that need types are in
//! [`standard`](super::standard) and [`operators`](super::operators).
//!
//! | module | what it reads |
//! | --- | --- |
//! | [`alike_calls`] | `sum(x)` beside `sum(CAST(x AS DOUBLE))` |
//! | [`arrows`] | `->` and `->>` binding as in PostgreSQL |
//! | [`members`] | `items[1].sku`; names a selected member after itself |
//! | [`named_windows`] | `OVER (w ORDER BY x)` |
//! | [`limits`] | `FETCH FIRST 3 ROWS ONLY`, `SELECT TOP 3` |
//! | [`patterns`] | `LIKE 'a!%' ESCAPE '!'` |
//! | [`unnests`] | UNNEST in FROM with ordinality, LATERAL, and names |
//! | [`conditions`] | joins without ON or USING |
//! | [`tuples`] | `(a, b) IN (SELECT ...)` |
//! | [`defaults`] | `lag(x, 1, y)` |
//! | [`nearest_joins`] | ASOF JOIN |
//! | [`pivots`] | PIVOT |
//! | [`recursions`] | WITH RECURSIVE |
//! | [`pieces`] | pieces of syntax trees |
//! | [`merged_keys`] | the key of FULL and RIGHT JOIN USING |
//! | [`name`] | names in the form in which they are compared |
//! | [`other_names`] | functions by the names that other engines give them |

mod alike_calls;
mod arrows;
mod conditions;
mod defaults;
mod limits;
mod members;
mod merged_keys;
mod name;
mod named_windows;
mod nearest_joins;
mod other_names;
mod patterns;
mod pieces;
mod pivots;
mod recursions;
mod tuples;
mod unnests;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::TableSource;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Query, Select, TableFactor};

use crate::walk::{Rewrite, Step, walk};

/// Returns the statement as DataFusion reads it. `tables` are the relations that it may name.
///
/// # Errors
/// When a part can be read in more than one way. The message says what to write instead.
pub(super) fn read(statement: Statement, tables: &BTreeMap<String, Arc<dyn TableSource>>) -> Result<Statement> {
    let Statement::Statement(mut statement) = statement else {
        return Ok(statement);
    };
    let mut reader = Reader { tables, hidden: Vec::new(), wrong: None };
    let _ = walk(&mut statement, &mut reader);
    reader.wrong.map_or(Ok(Statement::Statement(statement)), Err)
}

struct Reader<'a> {
    tables: &'a BTreeMap<String, Arc<dyn TableSource>>,
    /// Names of WITH in the queries around, which hide relations of the same names.
    hidden: Vec<Vec<String>>,
    /// What stopped the walk.
    wrong: Option<DataFusionError>,
}

impl Reader<'_> {
    fn go_on(&mut self, read: Result<()>) -> Step {
        match read {
            Ok(()) => Step::Continue(()),
            Err(error) => {
                self.wrong = Some(error);
                Step::Break(())
            }
        }
    }

    /// The relations whose columns are known here.
    fn seen(&self) -> BTreeMap<String, Arc<dyn TableSource>> {
        let hidden = |name: &String| self.hidden.iter().flatten().any(|hidden| hidden == name);
        self.tables.iter().filter(|(name, _)| !hidden(name)).map(|(name, table)| (name.clone(), Arc::clone(table))).collect()
    }

    fn select(&self, select: &mut Select) -> Result<()> {
        named_windows::refine(select);
        alike_calls::tell_apart(select);
        members::expand(select, &self.seen());
        members::name(select);
        defaults::name(select);
        other_names::name(select);
        nearest_joins::write_out(select)?;
        conditions::complete(select)?;
        tuples::in_conditions(select)?;
        merged_keys::merge(select, self.tables)
    }
}

impl Rewrite for Reader<'_> {
    fn before_query(&mut self, query: &mut Query) -> Step {
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| name::normalized(&cte.alias.name));
        self.hidden.push(names.collect());
        self.go_on(recursions::read(query).and_then(|()| limits::read(query)))
    }

    fn after_query(&mut self, _: &mut Query) -> Step {
        self.hidden.pop();
        Step::Continue(())
    }

    fn before_select(&mut self, select: &mut Select) -> Step {
        let read = self.select(select);
        self.go_on(read)
    }

    fn before_relation(&mut self, relation: &mut TableFactor) -> Step {
        let read = pivots::write_out(relation, &self.seen()).and_then(|()| unnests::read(relation));
        self.go_on(read)
    }

    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        arrows::bind(expression);
        members::dot(expression);
        defaults::write_out(expression);
        let read = other_names::translate(expression)
            .and_then(|()| patterns::escape(expression))
            .and_then(|()| tuples::anywhere(expression));
        self.go_on(read)
    }
}
