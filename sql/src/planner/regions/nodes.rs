//! Builds the nodes of scans, aggregates, linear regions and full recomputes, and chooses which builder makes a node.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{Aggregate, Expr, JoinType, LogicalPlan};

use super::cut::Cut;
use super::leaves::{over_leaf, renamed_leaf, unique_schema};
use crate::plan::{Node, Op, OperatorKind, Reason, leaf_scan};
use crate::planner::subqueries::has_subquery_or_outer_column;
use crate::planner::{Refusal, aggregates, keys};

impl Cut<'_> {
    /// Builds the node for a plan.
    pub(super) fn node(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        if let Some(bounded) = self.bounded_ranks(plan) {
            return self.ranks(&bounded);
        }
        if let Some(sessions) = self.sessions_of(plan) {
            return self.sessions(plan, &sessions);
        }
        if let Some(repeats) = self.repeats_of(plan) {
            return self.repeats(plan, &repeats);
        }
        if let LogicalPlan::Filter(filter) = plan
            && let Some(temporal) = self.temporal(filter)
        {
            return self.temporal_filter(filter, temporal);
        }
        match (self.kind(plan), plan) {
            (OperatorKind::Scan, _) => self.scan(plan),
            (OperatorKind::Merge, LogicalPlan::Aggregate(aggregate)) => self.aggregate(aggregate, false),
            (OperatorKind::Weighted, LogicalPlan::Aggregate(aggregate)) => self.aggregate(aggregate, true),
            (OperatorKind::Join | OperatorKind::Outer | OperatorKind::Semi, LogicalPlan::Join(join)) => self.join(plan, join),
            (OperatorKind::Recursion, LogicalPlan::RecursiveQuery(recursion)) => self.recursion(plan, recursion),
            (OperatorKind::Running, LogicalPlan::Window(window)) => self.running(plan, window),
            (OperatorKind::Top, _) => self.top(plan),
            (OperatorKind::Linear, _) => self.linear(plan),
            (OperatorKind::Keyed, _) => self.keyed(plan),
            _ => self.full(plan),
        }
    }

    fn scan(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let (pick, relation) = self
            .pick(plan)
            .and_then(|pick| self.relations.get(pick.relation).map(|relation| (pick, relation)))
            .ok_or_else(|| DataFusionError::Internal(format!("a scan of an unknown relation: {}", plan.display())))?;
        let key = relation.key.as_ref().and_then(|key| {
            key.iter().map(|column| pick.columns.iter().position(|picked| picked == column)).collect::<Option<Vec<_>>>()
        });
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: Vec::new(),
            schema: unique_schema(plan.schema()),
            retracts: relation.retracts,
            key,
            inputs: Vec::new(),
            op: Op::Scan { relation: pick.relation.to_owned(), kind: relation.kind, projection: pick.columns, lateness: None },
        })
    }

    fn aggregate(&self, aggregate: &Aggregate, weighted: bool) -> Result<Node, Refusal> {
        let input = self.node(&aggregate.input)?;
        let leaf = leaf_scan(0, &input.schema)?;
        let rename = |expressions: &[Expr]| -> Result<Vec<Expr>> {
            expressions.iter().map(|expression| over_leaf(expression, aggregate.input.schema(), &input.schema)).collect()
        };
        let group_expr = rename(&aggregate.group_expr)?;
        let aggr_expr = rename(&aggregate.aggr_expr)?;
        let groups = group_expr.len();
        let retracts = weighted || !aggr_expr.is_empty();
        let plan = Aggregate::try_new_with_schema(Arc::new(leaf), group_expr, aggr_expr, Arc::clone(&aggregate.schema))?;
        let plan = LogicalPlan::Aggregate(plan);
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: Vec::new(),
            schema: unique_schema(&aggregate.schema),
            retracts,
            key: Some((0..groups).collect()),
            inputs: vec![input],
            op: if weighted { Op::Weighted { plan } } else { Op::Merge { plan } },
        })
    }

    /// Builds the node of a maximal region of linear operators.
    fn linear(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let (mut inputs, mut reasons) = (Vec::new(), Vec::new());
        let over_leaves = self.over_leaves(plan.clone(), OperatorKind::Linear, &mut inputs, &mut reasons)?;
        let retracts = inputs.iter().any(|input| input.retracts);
        Ok(region(plan, Op::Linear { plan: over_leaves }, inputs, retracts, reasons))
    }

    /// Builds the node of a maximal region of operators that nothing cheaper than a full recompute can maintain.
    pub(super) fn full(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let (mut inputs, mut reasons) = (Vec::new(), Vec::new());
        let over_leaves = self.over_leaves(plan.clone(), OperatorKind::Full, &mut inputs, &mut reasons)?;
        // What the steps of a recursion do is run again with it.
        if reasons.contains(&Reason::Recursion) {
            reasons = vec![Reason::Recursion];
        }
        if inputs.is_empty() {
            reasons = vec![Reason::Constant];
        } else if reasons.is_empty() {
            reasons = vec![Reason::OtherShape];
        }
        let retracts = !inputs.is_empty() && self.retracts(plan);
        Ok(region(plan, Op::Full { plan: over_leaves }, inputs, retracts, reasons))
    }

    /// Replaces each subtree that does not belong in a region of this kind (linear or full) by a leaf.
    fn over_leaves(
        &self,
        plan: LogicalPlan,
        within: OperatorKind,
        inputs: &mut Vec<Node>,
        reasons: &mut Vec<Reason>,
    ) -> Result<LogicalPlan, Refusal> {
        if within == OperatorKind::Full
            && let Some(reason) = reason(&plan)
            && !reasons.contains(&reason)
        {
            reasons.push(reason);
        }
        let mut refusal = None;
        let mut child = |below: LogicalPlan| -> Result<Transformed<LogicalPlan>> {
            let replaced = if self.kind(&below) == within {
                self.over_leaves(below, within, inputs, reasons)
            } else {
                self.node(&below).and_then(|node| {
                    let leaf = renamed_leaf(inputs.len(), &node.schema, below.schema());
                    inputs.push(node);
                    Ok(leaf?)
                })
            };
            match replaced {
                Ok(replaced) => Ok(Transformed::yes(replaced)),
                Err(error) => {
                    refusal = Some(error);
                    Err(DataFusionError::Internal("refused".to_owned()))
                }
            }
        };
        let replaced = plan.map_children(&mut child).and_then(|plan| plan.data.map_subqueries(&mut child));
        match (replaced, refusal) {
            (Ok(replaced), _) => Ok(replaced.data),
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(error), None) => Err(error.into()),
        }
    }
}

/// Builds the node of a region whose plan reads leaves.
fn region(plan: &LogicalPlan, op: Op, inputs: Vec<Node>, retracts: bool, reasons: Vec<Reason>) -> Node {
    let input_keys: Vec<Option<Vec<usize>>> = inputs.iter().map(|input: &Node| input.key.clone()).collect();
    let key = op.plan().and_then(|over_leaves| keys::of_plan(over_leaves, &input_keys));
    Node { id: 0, reasons, op, schema: unique_schema(plan.schema()), retracts, key, inputs, expiries: Vec::new() }
}

/// Returns why an operator itself needs a full recompute. `None` if only what is below it makes it need one.
fn reason(plan: &LogicalPlan) -> Option<Reason> {
    Some(match plan {
        LogicalPlan::Join(join) if join.null_aware => Reason::NullAwareNotIn,
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => Reason::Join,
            JoinType::LeftMark | JoinType::RightMark => Reason::Mark,
            _ => Reason::Semi,
        },
        LogicalPlan::RecursiveQuery(_) => Reason::Recursion,
        LogicalPlan::Window(_) => Reason::Window,
        LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => Reason::FirstRows,
        LogicalPlan::Aggregate(aggregate) => {
            aggregates::obstacle(aggregate).unwrap_or_else(|| Reason::Retracts(aggregates::functions(aggregate)))
        }
        _ if has_subquery_or_outer_column(plan) => Reason::Subquery,
        LogicalPlan::Distinct(_) => Reason::Distinct,
        _ => return None,
    })
}
