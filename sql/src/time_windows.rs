//! `TUMBLE`, `HOP` and `SESSION` in FROM: every column of a source or view, and the window that each row is in. They become
//! plain filters, projections, an unnest and window functions before anything is optimized. The planner knows sessions again by the
//! names of the columns on the way; other windows are nothing special to it.
//!
//! A window holds its start and not its end. Windows are counted from 1970-01-01, or from an offset to it. A row without a time is in no
//! window; a row that comes late is in the window that its time says.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `arguments` | what a call says, checked, each error with its place |
//! | `relations` | the relation that it reads |
//! | `plans` | the plan of each kind |

mod arguments;
mod plans;
mod relations;

pub(crate) use self::plans::{NEAREST, OPENED, STARTS, TIME};

use std::ops::ControlFlow;

use datafusion::common::{Result, TableReference};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::sql::parser::Statement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    FunctionArg, FunctionArgExpr, ObjectName, Statement as SqlStatement, TableFactor, VisitMut, VisitorMut,
};

use crate::dialect::TIME_WINDOWS;

/// Plans the calls.
#[derive(Debug)]
pub(crate) struct TimeWindows;

impl RelationPlanner for TimeWindows {
    fn plan_relation(&self, relation: TableFactor, context: &mut dyn RelationPlannerContext) -> Result<RelationPlanning> {
        let TableFactor::Table { name, alias, args: Some(args), .. } = &relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let Some(function) = function(name) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let call = arguments::read(function, name, &args.args, context)?;
        let plan = plans::plan(call)?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias.clone()))))
    }
}

/// The function that a name in FROM calls.
fn function(name: &ObjectName) -> Option<&'static str> {
    let [part] = name.0.as_slice() else { return None };
    let name = part.as_ident().filter(|name| name.quote_style.is_none())?;
    TIME_WINDOWS.into_iter().find(|function| name.value.eq_ignore_ascii_case(function))
}

/// The relations that a statement names, those in time windows among them.
///
/// # Errors
/// Names of more than three parts.
pub fn relations_named(statement: &Statement) -> Result<Vec<TableReference>> {
    let mut statement = statement.clone();
    if let Statement::Statement(statement) = &mut statement {
        let _ = SqlStatement::visit(statement, &mut Sources);
    }
    Ok(resolve_table_references(&statement, true)?.0)
}

/// Puts the source of each window in its place.
struct Sources;

impl VisitorMut for Sources {
    type Break = ();

    fn pre_visit_table_factor(&mut self, relation: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, args: Some(args), .. } = relation
            && function(name).is_some()
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = args.args.first()
            && let Some(source) = relations::relation(first)
        {
            *relation = source;
        }
        ControlFlow::Continue(())
    }
}
