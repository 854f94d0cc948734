//! `TUMBLE`, `HOP` and `SESSION` in FROM: every column of a source or view, and the window that each row is in. They are rewritten
//! as plain filters, projections, an unnest and window functions before the optimizer runs. The planner recognizes sessions by the
//! names of intermediate columns. It treats other windows like any other operators.
//!
//! A window includes its start and excludes its end. Windows are counted from 1970-01-01, or from an offset to it. A row without a
//! time is in no window. A late row is in the window that its time says.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `arguments` | the arguments of a call, validated; each error has its place |
//! | `relations` | the relation that a call reads |
//! | `plans` | the plan of each kind of window |

mod arguments;
mod plans;
mod relations;

pub(crate) use self::plans::{NEAREST, OPENED, STARTS, TIME};

use datafusion::common::{Result, TableReference};
use datafusion::logical_expr::planner::{PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning};
use datafusion::sql::parser::Statement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{FunctionArg, FunctionArgExpr, ObjectName, TableFactor};

use crate::dialect::TIME_WINDOWS;
use crate::walk::{Rewrite, Step, walk};

/// Plans calls of time windows.
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

/// Returns the time window function that a name in FROM calls.
fn function(name: &ObjectName) -> Option<&'static str> {
    let [part] = name.0.as_slice() else { return None };
    let name = part.as_ident().filter(|name| name.quote_style.is_none())?;
    TIME_WINDOWS.into_iter().find(|function| name.value.eq_ignore_ascii_case(function))
}

/// Returns the relations that a statement names, including those in time windows.
///
/// # Errors
/// When a name has more than three parts.
pub fn relations_named(statement: &Statement) -> Result<Vec<TableReference>> {
    let mut statement = statement.clone();
    if let Statement::Statement(statement) = &mut statement {
        let _ = walk(statement, &mut Sources);
    }
    Ok(resolve_table_references(&statement, true)?.0)
}

/// Replaces each time window by the source that it reads.
struct Sources;

impl Rewrite for Sources {
    fn before_relation(&mut self, relation: &mut TableFactor) -> Step {
        if let TableFactor::Table { name, args: Some(args), .. } = relation
            && function(name).is_some()
            && let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(first))) = args.args.first()
            && let Some(source) = relations::relation(first)
        {
            *relation = source;
        }
        Step::Continue(())
    }
}
