//! The first rows of an order, over all rows or by key. Over insert-only input, a row that falls behind them never returns, so only
//! the first rows are stored.

use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};

use super::cut::Cut;
use super::keyed::Cores;
use super::leaves::unique_schema;
use super::sorts::{follow, of_changing, ranks_alike};
use crate::plan::{Node, Op};
use crate::planner::split::Split;
use crate::planner::subqueries::has_subquery_or_outer_column;
use crate::planner::{Refusal, keys};

impl Cut<'_> {
    /// Checks whether a plan is the first rows of an order over insert-only input, possibly under operators that look only at these rows.
    pub(super) fn is_top(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::Sort(sort) => sort.fetch.is_some() && !self.retracts(&sort.input),
            LogicalPlan::Limit(_)
            | LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_) => {
                !has_subquery_or_outer_column(plan) && plan.inputs().first().is_some_and(|input| self.is_top(input))
            }
            _ => false,
        }
    }

    /// Returns a plan over the only leaf of a keyed region that keeps the rows that can still enter the answer. `None` if all rows
    /// can.
    pub(super) fn keep(&self, plan: &LogicalPlan, cores: &Cores) -> Result<Option<LogicalPlan>> {
        let [input] = cores.inputs.as_slice() else { return Ok(None) };
        let columns = cores.plan.inputs().first().map_or(0, |leaf| leaf.schema().fields().len());
        // Computed keys are not columns of the plan, and would be lost.
        if input.retracts || input.schema.fields().len() != columns {
            return Ok(None);
        }
        match &cores.plan {
            LogicalPlan::Sort(sort) if sort.fetch.is_some() => Ok(Some(cores.plan.clone())),
            LogicalPlan::Window(window) if ranks_alike(window) => {
                let mut bounds = Vec::new();
                let _ = follow(plan, &mut bounds);
                let bound = bounds.into_iter().filter(|(column, _)| *column >= columns).min_by_key(|(_, bound)| *bound);
                let Some((column, bound)) = bound else { return Ok(None) };
                let names = window.schema.columns();
                let rank = Expr::Column(names[column].clone());
                let kept = LogicalPlanBuilder::from(cores.plan.clone())
                    .filter(rank.lt_eq(lit(bound)))?
                    .project(names[..columns].iter().cloned().map(Expr::Column))?
                    .build()?;
                Ok(Some(kept))
            }
            _ => Ok(None),
        }
    }
}

impl Cut<'_> {
    /// Builds the node of the first rows of an order over input that retracts.
    pub(super) fn top(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let Some((sort, skip, fetch)) = of_changing(plan) else {
            return Err(DataFusionError::Internal("a sort has no limit".to_owned()).into());
        };
        let cores = self.over_arranged(LogicalPlan::Sort(sort.clone()), &Split::of_all_rows())?;
        let input_keys: Vec<Option<Vec<usize>>> = cores.inputs.iter().map(|input| input.key.clone()).collect();
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: Vec::new(),
            schema: unique_schema(plan.schema()),
            retracts: true,
            key: if fetch.saturating_sub(skip) <= 1 { Some(Vec::new()) } else { keys::of_plan(&cores.plan, &input_keys) },
            inputs: cores.inputs,
            op: Op::Top { plan: cores.plan, skip, fetch },
        })
    }
}
