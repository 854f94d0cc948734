//! Nodes whose inputs are arranged by a key.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchemaRef, DataFusionError, JoinType, Result};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection};

use super::{Cut, renamed_leaf, top, unique_schema};
use crate::plan::{Class, KeyedInput, Node, Op};
use crate::planner::split::{self, Split};
use crate::planner::{Refusal, keys};

/// An operator's inputs, cut off as leaves.
pub(super) struct Cores {
    /// The operator over its leaves.
    pub(super) plan: LogicalPlan,
    pub(super) inputs: Vec<Node>,
    pub(super) keys: Vec<KeyedInput>,
}

impl Cut<'_> {
    /// An operator that splits by a key, with the linear ones above it.
    pub(super) fn keyed(&self, plan: &LogicalPlan) -> Result<Node, Refusal> {
        let mut found: Option<(Cores, String)> = None;
        let over_leaves = self.over_keyed(plan.clone(), &mut found)?;
        let Some((cores, title)) = found else {
            return Err(DataFusionError::Internal("a keyed region has no core".to_owned()).into());
        };
        let input_keys: Vec<Option<Vec<usize>>> = cores.inputs.iter().map(|input| input.key.clone()).collect();
        let keep = self.keep(plan, &cores)?;
        let (reason, cost, state) = if keep.is_some() {
            let state = match key_names(&cores, 0) {
                names if names.is_empty() => "the first rows".to_owned(),
                names => format!("the first rows by {names}"),
            };
            (None, "O(changes + first rows of the touched keys)", state)
        } else {
            (Some(title), "O(rows of the touched keys)", stored(&cores))
        };
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            class: Class::KeyedRecompute,
            reason,
            cost: cost.to_owned(),
            state: Some(state),
            schema: unique_schema(plan.schema()),
            retracts: self.retracts(plan),
            key: keys::of_plan(&over_leaves, &input_keys),
            inputs: cores.inputs,
            op: Op::Keyed { plan: over_leaves, keys: cores.keys, keep },
        })
    }

    /// An inner join, by its equal keys where it has any, or a semi join by counts.
    pub(super) fn join(&self, plan: &LogicalPlan, join: &Join) -> Result<Node, Refusal> {
        let semi = split::of_semi(join);
        let is_semi = semi.is_some();
        let split = semi.unwrap_or_else(|| split::of_inner(join));
        let has_keys = split.keys.iter().any(|keys| !keys.is_empty());
        let cores = self.over_arranged(plan.clone(), &split)?;
        let input_keys: Vec<Option<Vec<usize>>> = cores.inputs.iter().map(|input| input.key.clone()).collect();
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            class: Class::Join,
            reason: (!has_keys).then(|| "a join on no equal keys".to_owned()),
            cost: if has_keys { "O(changes + matches)" } else { "O(changes x rows of the other side)" }.to_owned(),
            state: Some(if is_semi { counted(&cores, join.join_type) } else { stored(&cores) }),
            schema: unique_schema(plan.schema()),
            retracts: self.retracts(plan),
            key: keys::of_plan(&cores.plan, &input_keys),
            inputs: cores.inputs,
            op: if is_semi {
                Op::Semi { plan: cores.plan, keys: cores.keys }
            } else {
                Op::Join { plan: cores.plan, keys: cores.keys }
            },
        })
    }

    fn over_keyed(&self, plan: LogicalPlan, found: &mut Option<(Cores, String)>) -> Result<LogicalPlan, Refusal> {
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
                LogicalPlan::Sort(_) => top::of_all_rows(),
                _ => split::of_operator(&plan).map_err(DataFusionError::Internal)?,
            };
            let cores = self.over_arranged(plan, &split)?;
            let plan = cores.plan.clone();
            *found = Some((cores, split.title));
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

    /// An operator over leaves that have its keys as columns.
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

    /// A node that gives a plan's rows with key columns, where these are, and the leaf that stands for the plan.
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
            let column = keys::plain_column(expression).and_then(|column| schema.maybe_index_of_column(column));
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

/// What is stored of arranged inputs, in words.
fn stored(cores: &Cores) -> String {
    let sides = (0..cores.inputs.len()).map(|side| match key_names(cores, side) {
        names if names.is_empty() => "all rows".to_owned(),
        names => format!("rows by {names}"),
    });
    sides.collect::<Vec<_>>().join("; ")
}

/// What is stored of a semi join, in words: the rows of one side, and how many rows of the other have each key.
fn counted(cores: &Cores, join_type: JoinType) -> String {
    let outer = usize::from(matches!(join_type, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark));
    format!("rows by {}; counts of {}", key_names(cores, outer), key_names(cores, 1 - outer))
}

fn key_names(cores: &Cores, side: usize) -> String {
    let (input, key) = (&cores.inputs[side], &cores.keys[side]);
    let names: Vec<&str> = key.columns.iter().map(|column| input.schema.field(*column).name().as_str()).collect();
    names.join(", ")
}
