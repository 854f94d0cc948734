//! Nodes whose inputs are arranged by a key.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchemaRef, DataFusionError, Result};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection};

use super::cut::Cut;
use super::leaves::{renamed_leaf, unique_schema};
use crate::plan::{KeyedInput, Node, Op, Reason, plain_column};
use crate::planner::split::{self, Split};
use crate::planner::{Refusal, keys};

/// An operator whose inputs have been cut off and replaced by leaves.
pub(super) struct Cores {
    /// The operator over its leaves.
    pub(super) plan: LogicalPlan,
    pub(super) inputs: Vec<Node>,
    pub(super) keys: Vec<KeyedInput>,
}

impl Cut<'_> {
    /// Builds the node of an operator that splits by a key, together with the linear operators above it.
    pub(super) fn keyed(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let mut found: Option<(Cores, Reason)> = None;
        let over_leaves = self.over_keyed(plan.clone(), &mut found)?;
        let Some((cores, reason)) = found else {
            return Err(DataFusionError::Internal("a keyed region has no core".to_owned()).into());
        };
        let input_keys: Vec<Option<Vec<usize>>> = cores.inputs.iter().map(|input| input.key.clone()).collect();
        let keep = self.keep(plan, &cores)?;
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: if keep.is_some() { Vec::new() } else { vec![reason] },
            schema: unique_schema(plan.schema()),
            retracts: self.retracts(plan),
            key: keys::of_plan(&over_leaves, &input_keys),
            inputs: cores.inputs,
            op: Op::Keyed { plan: over_leaves, keys: cores.keys, keep },
        })
    }

    /// Builds the node of an inner join, by its equal keys if it has any, or of an outer or semi join that counts matches.
    pub(super) fn join(&self, plan: &LogicalPlan, join: &Join) -> Result<Node, Refusal> {
        let (outer, semi) = (split::of_outer(join), split::of_semi(join));
        let is_semi = semi.is_some();
        let split = outer.clone().or(semi).unwrap_or_else(|| split::of_inner(join));
        let has_keys = split.keys.iter().any(|keys| !keys.is_empty());
        let cores = self.over_arranged(plan.clone(), &split)?;
        let input_keys: Vec<Option<Vec<usize>>> = cores.inputs.iter().map(|input| input.key.clone()).collect();
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: if has_keys { Vec::new() } else { vec![Reason::JoinWithoutKeys] },
            schema: unique_schema(plan.schema()),
            retracts: self.retracts(plan),
            key: keys::of_plan(&cores.plan, &input_keys),
            inputs: cores.inputs,
            op: if outer.is_some() {
                Op::Outer { plan: cores.plan, keys: cores.keys, counted: !split::is_by_keys(join) }
            } else if is_semi {
                Op::Semi { plan: cores.plan, keys: cores.keys }
            } else {
                Op::Join { plan: cores.plan, keys: cores.keys }
            },
        })
    }

    fn over_keyed(&self, plan: LogicalPlan, found: &mut Option<(Cores, Reason)>) -> Result<LogicalPlan, Refusal> {
        let is_above = matches!(
            plan,
            LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::Unnest(_)
                | LogicalPlan::Limit(_)
        ) || split::shares_key(&plan);
        if !is_above {
            let split = match plan {
                LogicalPlan::Sort(_) => Split::of_all_rows(),
                _ => split::of_operator(&plan)
                    .ok_or_else(|| DataFusionError::Internal("the core of a keyed region does not split".to_owned()))?,
            };
            let cores = self.over_arranged(plan, &split)?;
            let plan = cores.plan.clone();
            *found = Some((cores, split.reason));
            return Ok(plan);
        }
        let mut refusal = None;
        let replaced = plan.map_children(|below| match self.over_keyed(below, found) {
            Ok(below) => Ok(Transformed::yes(below)),
            Err(error) => {
                refusal = Some(error);
                Err(DataFusionError::Internal("refused".to_owned()))
            }
        });
        match (replaced, refusal) {
            (_, Some(refusal)) => Err(refusal),
            (replaced, None) => Ok(replaced?.data),
        }
    }

    /// Cuts off the inputs of an operator, and puts it over leaves that have its keys as columns.
    pub(super) fn over_arranged(&self, plan: LogicalPlan, split: &Split) -> Result<Cores, Refusal> {
        let (mut inputs, mut keys) = (Vec::new(), Vec::new());
        let mut refusal = None;
        let replaced = plan.map_children(|below| {
            let arranged = self.arranged(below, &split.keys[inputs.len()], inputs.len());
            match arranged {
                Ok((node, columns, leaf)) => {
                    inputs.push(node);
                    keys.push(KeyedInput { columns, nulls_match: split.nulls_match });
                    Ok(Transformed::yes(leaf))
                }
                Err(error) => {
                    refusal = Some(error);
                    Err(DataFusionError::Internal("refused".to_owned()))
                }
            }
        });
        match (replaced, refusal) {
            (_, Some(refusal)) => Err(refusal),
            (replaced, None) => Ok(Cores { plan: replaced?.data, inputs, keys }),
        }
    }

    /// Returns a node that emits the plan's rows with the key columns, the indexes of these columns, and the leaf that stands for
    /// the plan.
    pub(super) fn arranged(
        &self,
        plan: LogicalPlan,
        key: &[Expr],
        leaf: usize,
    ) -> Result<(Node, Vec<usize>, LogicalPlan), Refusal> {
        let schema: DFSchemaRef = Arc::clone(plan.schema());
        let mut computed: Vec<Expr> = Vec::new();
        let mut columns = Vec::new();
        for expression in key {
            let column = plain_column(expression).and_then(|column| schema.maybe_index_of_column(column));
            columns.push(column.unwrap_or_else(|| {
                computed.push(expression.clone().unalias().alias(format!("$key{}", computed.len())));
                schema.fields().len() + computed.len() - 1
            }));
        }
        let node = if computed.is_empty() {
            self.node(&plan)?
        } else {
            let all = schema.columns().into_iter().map(Expr::Column).chain(computed).collect();
            self.node(&LogicalPlan::Projection(Projection::try_new(all, Arc::new(plan))?))?
        };
        let leaf = renamed_leaf(leaf, &node.schema, &schema)?;
        Ok((node, columns, leaf))
    }
}
