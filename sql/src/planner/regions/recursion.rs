//! Recursions whose steps only add rows to their answer as the rows that they read grow. The step becomes a tree of nodes of its own, which is kept like
//! a view over the rows of the recursion.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::logical_plan::RecursiveQuery;
use datafusion::logical_expr::{JoinType, LogicalPlan};

use super::cut::Cut;
use super::leaves::{renamed_leaf, unique_schema};
use crate::plan::{Node, Op, OperatorKind, leaf_name};
use crate::planner::equality::is_exact;
use crate::planner::subqueries::has_subquery_or_outer_column;
use crate::planner::{Refusal, Relation, split};
use crate::session::{SchemaOnly, is_of_step, is_work_table};

impl Cut<'_> {
    /// Checks whether the step of a recursion is made of operators whose answer only grows with each of their inputs, and which give each derivation
    /// of a row as a row of its own. A row that loses one can then be seen to lose it.
    pub(super) fn only_adds(&self, recursion: &RecursiveQuery) -> bool {
        let exact = || recursion.static_term.schema().fields().iter().all(|field| is_exact(field.data_type()));
        let step = &recursion.recursive_term;
        is_of_step(step) && (!recursion.is_distinct || exact()) && self.step_only_adds(step)
    }

    /// As [`Cut::only_adds`], for a part of the step that reads the rows of the recursion.
    fn step_only_adds(&self, part: &LogicalPlan) -> bool {
        if let LogicalPlan::TableScan(scan) = part {
            return is_work_table(part) && scan.filters.is_empty() && scan.fetch.is_none();
        }
        let fits = match part {
            LogicalPlan::Filter(filter) => self.temporal(filter).is_none(),
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Unnest(_) => true,
            // A part without the rows of the recursion would be given before there are any, and once instead of at each step.
            LogicalPlan::Union(union) => union.inputs.iter().all(|input| is_of_step(input)),
            LogicalPlan::Join(join) => match join.join_type {
                JoinType::Inner => true,
                JoinType::LeftSemi => is_of_step(&join.left) && split::of_semi(join).is_some(),
                JoinType::RightSemi => is_of_step(&join.right) && split::of_semi(join).is_some(),
                _ => false,
            },
            _ => false,
        };
        let parts = || part.inputs().into_iter().filter(|input| is_of_step(input));
        fits && !has_subquery_or_outer_column(part) && parts().all(|part| self.step_only_adds(part))
    }

    /// Builds the node of such a recursion.
    pub(super) fn recursion(&self, plan: &LogicalPlan, recursion: &RecursiveQuery) -> Result<Node, Refusal> {
        let mut inputs = vec![self.node(&recursion.static_term)?];
        let mut work = None;
        let over_leaves = self.step_over_leaves(recursion.recursive_term.as_ref().clone(), &mut work, &mut inputs)?;
        let Some((work, work_schema)) = work else {
            return Err(DataFusionError::Internal(format!("the step of {} does not read it", recursion.name)).into());
        };
        let retracts = inputs.iter().any(|input| input.retracts);
        let leaves = inputs.iter().enumerate().skip(1);
        let mut relations: BTreeMap<String, Relation> = leaves
            .map(|(index, input)| (leaf_name(index), Relation::of_rows(Arc::clone(&input.schema), input.retracts)))
            .collect();
        relations.insert(work.clone(), Relation::of_rows(work_schema, retracts));
        let step = Cut { relations: &relations, operators: self.operators }.node(&over_leaves)?;
        if !is_kept(&step) {
            return self.full(plan);
        }
        let schema = unique_schema(plan.schema());
        Ok(Node {
            id: 0,
            expiries: Vec::new(),
            reasons: Vec::new(),
            retracts,
            key: recursion.is_distinct.then(|| (0..schema.fields().len()).collect()),
            schema,
            inputs,
            op: Op::Recursion { step: Box::new(step), work, distinct: recursion.is_distinct },
        })
    }

    /// Replaces each part of a step that does not read the rows of the recursion by a leaf, and their scan by that of a relation. `work` becomes the
    /// relation's name and schema.
    fn step_over_leaves(
        &self,
        part: LogicalPlan,
        work: &mut Option<(String, arrow::datatypes::SchemaRef)>,
        inputs: &mut Vec<Node>,
    ) -> Result<LogicalPlan, Refusal> {
        if !is_of_step(&part) {
            let node = self.node(&part)?;
            let leaf = renamed_leaf(inputs.len(), &node.schema, part.schema())?;
            inputs.push(node);
            return Ok(leaf);
        }
        if let LogicalPlan::TableScan(mut scan) = part {
            let schema = scan.source.schema();
            *work = Some((scan.table_name.table().to_owned(), Arc::clone(&schema)));
            scan.source = Arc::new(SchemaOnly::new(schema));
            return Ok(LogicalPlan::TableScan(scan));
        }
        let mut refusal = None;
        let replaced = part.map_children(|input| match self.step_over_leaves(input, work, inputs) {
            Ok(replaced) => Ok(Transformed::yes(replaced)),
            Err(error) => {
                refusal = Some(error);
                Err(DataFusionError::Internal("refused".to_owned()))
            }
        });
        match (replaced, refusal) {
            (Ok(replaced), _) => Ok(replaced.data),
            (Err(_), Some(refusal)) => Err(refusal),
            (Err(error), None) => Err(error.into()),
        }
    }
}

fn is_kept(step: &Node) -> bool {
    use OperatorKind::{Join, Linear, Scan, Semi};
    matches!(step.op.kind(), Scan | Linear | Join | Semi) && step.inputs.iter().all(is_kept)
}
