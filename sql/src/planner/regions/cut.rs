//! Chooses the operator that maintains each part of a plan, given what is below it. Cuts nothing yet.

use std::collections::{BTreeMap, HashSet};

use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{JoinType, LogicalPlan};

use super::sorts;
use crate::plan::{OperatorKind, is_schema_only, plain_column};
use crate::planner::subqueries::has_subquery_or_outer_column;
use crate::planner::{Operators, Relation, aggregates, failing, split};
use crate::session::is_of_step;

/// Cuts a plan over some relations, by name.
pub(super) struct Cut<'a> {
    pub(super) relations: &'a BTreeMap<String, Relation>,
    pub(super) operators: Operators,
}

/// The columns that an operator or a chain of operators picks from a relation.
pub(super) struct Pick<'a> {
    pub(super) relation: &'a str,
    pub(super) columns: Vec<usize>,
}

impl Cut<'_> {
    /// Returns the operator for the root of a plan, given what is below it.
    pub(super) fn kind(&self, plan: &LogicalPlan) -> OperatorKind {
        if self.pick(plan).is_some() {
            return OperatorKind::Scan;
        }
        if matches!(plan, LogicalPlan::Filter(filter) if self.temporal(filter).is_some()) {
            return OperatorKind::Watermark;
        }
        if has_subquery_or_outer_column(plan) || is_of_step(plan) {
            return OperatorKind::Full;
        }
        match plan {
            LogicalPlan::Filter(_) if self.bounded_ranks(plan).is_some() => OperatorKind::Ranks,
            LogicalPlan::Filter(_) if self.bounds_running(plan) => OperatorKind::Keyed,
            LogicalPlan::Window(_) if self.sessions_of(plan).is_some() => OperatorKind::Sessions,
            LogicalPlan::Window(_) if self.repeats_of(plan).is_some() => OperatorKind::Repeats,
            LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Unnest(_) => {
                match plan.inputs().first().map(|input| self.kind(input)) {
                    Some(OperatorKind::Full | OperatorKind::Keyed) if failing::may_fail(plan) && self.reads_relation(plan) => {
                        OperatorKind::Linear
                    }
                    // The input is recomputed anyway, so joining its region saves a node.
                    None | Some(OperatorKind::Full) => OperatorKind::Full,
                    Some(OperatorKind::Keyed) => OperatorKind::Keyed,
                    Some(_) => OperatorKind::Linear,
                }
            }
            LogicalPlan::Union(_) => OperatorKind::Linear,
            // A plan that reads no relation is computed once.
            _ if !self.reads_relation(plan) => OperatorKind::Full,
            LogicalPlan::RecursiveQuery(recursion) if self.only_adds(recursion) => OperatorKind::Recursion,
            LogicalPlan::Aggregate(aggregate)
                if aggregates::obstacle(aggregate).is_none() && !self.retracts(&aggregate.input) =>
            {
                OperatorKind::Merge
            }
            LogicalPlan::Aggregate(aggregate) if aggregates::takes_out(aggregate) => OperatorKind::Weighted,
            LogicalPlan::Join(join) if join.join_type == JoinType::Inner => OperatorKind::Join,
            LogicalPlan::Join(join) if self.operators.outer && split::of_outer(join).is_some() => OperatorKind::Outer,
            LogicalPlan::Join(join) if split::of_semi(join).is_some() => OperatorKind::Semi,
            LogicalPlan::Window(window) if self.is_running(window) => OperatorKind::Running,
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) if self.is_top(plan) => OperatorKind::Keyed,
            LogicalPlan::Sort(_) | LogicalPlan::Limit(_) if sorts::of_changing(plan).is_some() => OperatorKind::Top,
            _ if split::of_operator(plan).is_some() => OperatorKind::Keyed,
            _ => OperatorKind::Full,
        }
    }

    /// Checks whether a plan can retract rows that it has emitted.
    pub(super) fn retracts(&self, plan: &LogicalPlan) -> bool {
        if let Some(pick) = self.pick(plan) {
            return self.relations.get(pick.relation).is_none_or(|relation| relation.retracts);
        }
        if let LogicalPlan::Filter(filter) = plan
            && let Some(temporal) = self.temporal(filter)
        {
            return !temporal.waits || self.retracts(&filter.input);
        }
        if has_subquery_or_outer_column(plan) {
            return true;
        }
        let grows_with_its_inputs = match plan {
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Distinct(_)
            // The parts of a recursion that read its own rows only add some.
            | LogicalPlan::RecursiveQuery(_)
            // Constant rows, and tables that are not relations.
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::TableScan(_) => true,
            LogicalPlan::Window(_) => self.repeats_of(plan).is_some(),
            LogicalPlan::Join(join) => {
                matches!(join.join_type, JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi)
            }
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.aggr_expr.is_empty() && aggregates::obstacle(aggregate).is_none()
            }
            _ => false,
        };
        // A plan that reads no relation never changes.
        let reads_something = !plan.inputs().is_empty();
        (reads_something && !grows_with_its_inputs && self.reads_relation(plan))
            || plan.inputs().into_iter().any(|input| self.retracts(input))
    }

    pub(super) fn reads_relation(&self, plan: &LogicalPlan) -> bool {
        plan.exists(|plan| Ok(self.pick(plan).is_some())).unwrap_or(true)
    }

    /// Returns the relation and the columns picked from it, if a plan only picks columns of one relation.
    pub(super) fn pick<'p>(&self, plan: &'p LogicalPlan) -> Option<Pick<'p>> {
        match plan {
            LogicalPlan::TableScan(scan) if is_schema_only(&scan.source) => {
                let all = scan.source.schema().fields().len();
                let columns = scan.projection.clone().unwrap_or_else(|| (0..all).collect());
                Some(Pick { relation: scan.table_name.table(), columns })
            }
            LogicalPlan::SubqueryAlias(alias) => self.pick(&alias.input),
            LogicalPlan::Projection(projection) => {
                let below = self.pick(&projection.input)?;
                let schema = projection.input.schema();
                let picked = projection
                    .expr
                    .iter()
                    .map(|expression| plain_column(expression).and_then(|column| schema.maybe_index_of_column(column)));
                let picked: Vec<usize> = picked.collect::<Option<_>>()?;
                let once: HashSet<usize> = picked.iter().copied().collect();
                (once.len() == picked.len()).then(|| Pick {
                    relation: below.relation,
                    columns: picked.into_iter().map(|index| below.columns[index]).collect(),
                })
            }
            _ => None,
        }
    }
}
