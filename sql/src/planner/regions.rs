//! Cuts the optimized plan into nodes: maximal regions of one kind, each over leaves that stand for the nodes below.
//!
//! There are two passes. [`Cut::kind`] chooses the operator that maintains a part of the plan, given what is below it.
//! [`Cut::node`] then cuts. A leaf inside a region is a scan of [`leaf_name`](crate::plan::leaf_name), under a projection that
//! restores the column names that the operators above use.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `cut` | chooses the operator that maintains a part of the plan |
//! | `nodes` | scans, aggregates, linear regions, full recomputes |
//! | `keyed` | joins, and operators that split by a key |
//! | `top` | the first rows of an order |
//! | `ranks` | the first rows by key |
//! | `running` | window functions whose frame begins with the partition |
//! | `recursion` | recursions whose steps only add rows |
//! | `sessions` | sessions |
//! | `repeats` | the row before with the same key |
//! | `extremes` | `min` and `max` as first rows |
//! | `sorts` | reads sorts, limits and ranks |
//! | `temporal` | filters that compare a time with the latest one |
//! | `leaves` | leaves, and the names of their columns |

mod cut;
mod extremes;
mod keyed;
mod leaves;
mod nodes;
mod ranks;
mod recursion;
mod repeats;
mod running;
mod sessions;
mod sorts;
mod temporal;
mod top;

use std::collections::BTreeMap;

use datafusion::logical_expr::LogicalPlan;

use self::cut::Cut;
use crate::plan::{Node, Op};
use crate::planner::{Operators, Refusal, Relation, scalars};

/// Cuts a view's optimized plan into nodes, numbered from the root, depth first.
pub(crate) fn cut(plan: LogicalPlan, relations: &BTreeMap<String, Relation>, operators: Operators) -> Result<Node, Refusal> {
    let plan = temporal::apart(plan, relations)?;
    let plan = scalars::joined(plan, &|filter| temporal::is_temporal(filter, relations))?;
    let cut = Cut { relations, operators };
    let plan = cut.bounds_above_ranks(sorts::limits_above_sorts(cut.extremes_as_tops(plan)?)?)?;
    let mut root = cut.node(&plan)?;
    number(&mut root, &mut 0);
    Ok(root)
}

/// Numbers the nodes of a tree from its root, depth first, the step of a recursion before its inputs.
pub(super) fn number(node: &mut Node, next: &mut usize) {
    node.id = *next;
    *next += 1;
    if let Op::Recursion { step, .. } = &mut node.op {
        number(step, next);
    }
    for input in &mut node.inputs {
        number(input, next);
    }
}
