//! Finds what a view with `retain` need not remember, from its `window_end` down through the nodes to what each of them stores.
//!
//! A row of the view is removed once its `window_end` is old. A row of an operator can be evicted once every view row that it
//! contributes to has been removed. A time over the operator's own columns tells when. This module finds that time by following
//! `window_end` through the plans: through projections by their expressions, through groups and partitions if all rows of one have
//! the same time, and through joins to the side that the time comes from. The other side follows if equal keys hold the time, or if
//! a condition bounds it: with `placed_at <= paid_at + INTERVAL '1 hour'`, no payment matches an order that was placed more than an
//! hour after it. So the payment is not needed once such orders are old.
//!
//! The time is the same function of a row in all operators that it passes. So all of them evict the row together, and none retracts
//! a row that another has evicted.

mod bounds;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator};

pub(super) use self::bounds::constant;
use self::bounds::{counts_alike, not_after, shifted, upper_bound, whole};
use crate::plan::{Expiry, Node, Op, RowTime, given_leaf, leaf_index, plain_column};
use crate::planner::{equality, split};

/// Marks what a node and the nodes below it can evict, given the time of the node's rows.
pub(super) fn mark(node: &mut Node, time: &RowTime) {
    let (stores, groups, plan) = match &node.op {
        Op::Linear { plan } => (false, None, plan),
        Op::Join { plan, .. }
        | Op::Outer { plan, .. }
        | Op::Semi { plan, .. }
        | Op::Ranks { plan, .. }
        | Op::Running { plan, .. }
        | Op::Keyed { plan, .. } => (true, None, plan),
        Op::Merge { plan } | Op::Weighted { plan } => (true, Some(time.clone()), plan),
        _ => return,
    };
    for (input, time) in times_of_inputs(node, plan, time).into_iter().enumerate() {
        let Some(time) = time else { continue };
        if stores && never_fails(node, input, &time) && can_drop(node, input, &time) {
            node.expiries.push(Expiry { input, time: time.clone(), groups: groups.clone() });
        } else if stores {
            continue;
        }
        mark(&mut node.inputs[input], &time);
    }
}

/// Returns the scans that a time comes from through linear operators only, each with the relation's column that holds the time.
/// `None` if that is not certain.
pub(super) fn scanned<'n>(node: &'n Node, time: &RowTime) -> Option<Vec<(&'n Node, usize)>> {
    match &node.op {
        Op::Scan { projection, .. } => {
            let column = plain_time(&time.time).filter(|_| time.slack == 0)?;
            Some(vec![(node, *projection.get(node.schema.index_of(&column.name).ok()?)?)])
        }
        Op::Linear { plan } => {
            let times = times_of_inputs(node, plan, time);
            let scans = node.inputs.iter().zip(times).map(|(input, time)| scanned(input, &time?));
            Some(scans.collect::<Option<Vec<_>>>()?.concat())
        }
        _ => None,
    }
}

/// Returns the column that a time is, either unchanged or cast to a number.
fn plain_time(time: &Expr) -> Option<&Column> {
    match time {
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Int64 => plain_column(&cast.expr),
        other => plain_column(other),
    }
}

/// Checks whether the rows stored for an input have the columns of the time. A semi join stores only the keys of one side.
fn can_drop(node: &Node, input: usize, time: &RowTime) -> bool {
    let Op::Semi { plan, keys } = &node.op else { return true };
    let is_key = |column: &&Column| {
        node.inputs[input].schema.index_of(&column.name).is_ok_and(|index| keys[input].columns.contains(&index))
    };
    input == given_leaf(plan) || time.time.column_refs().iter().all(is_key)
}

/// Checks whether the time can be computed for every row of an input, except for times beyond the range of their type. It is also
/// computed for rows for which the view's query never computes it.
fn never_fails(node: &Node, input: usize, time: &RowTime) -> bool {
    let Ok(schema) = DFSchema::try_from(node.inputs[input].schema.as_ref().clone()) else { return false };
    let fails = time.time.exists(|expression| {
        Ok(match expression {
            Expr::Column(_) | Expr::Literal(..) => false,
            Expr::Cast(cast) => !counts_alike(&cast.expr.get_type(&schema)?, cast.field.data_type()),
            Expr::BinaryExpr(BinaryExpr { op: Operator::Plus | Operator::Minus, .. }) => false,
            Expr::BinaryExpr(BinaryExpr { op: Operator::Modulo, right, .. }) => whole(right).is_none_or(|size| size == 0),
            Expr::ScalarFunction(call) => !matches!(call.name(), "date_bin" | "date_trunc"),
            _ => true,
        })
    });
    !fails.unwrap_or(true)
}

/// Returns the time of each input's rows, over the unqualified columns of the input, given the time of the node's own rows.
fn times_of_inputs(node: &Node, plan: &LogicalPlan, time: &RowTime) -> Vec<Option<RowTime>> {
    let mut found = Vec::new();
    let columns = plan.schema().columns();
    let over_plan = time.replaced(|column| Some(Expr::Column(columns.get(node.schema.index_of(&column.name).ok()?)?.clone())));
    trace(plan, over_plan, &node.inputs, &mut found);
    let of_input = |input: usize| {
        let mut times = found.iter().filter(|(leaf, _)| *leaf == input).map(|(_, time)| time);
        let first = times.next()?.clone()?;
        times.all(|other| other.as_ref() == Some(&first)).then_some(first)
    };
    (0..node.inputs.len()).map(of_input).collect()
}

/// Collects the time of each leaf's rows, once for each scan of the leaf.
fn trace(plan: &LogicalPlan, time: Option<RowTime>, leaves: &[Node], found: &mut Vec<(usize, Option<RowTime>)>) {
    if let LogicalPlan::TableScan(scan) = plan {
        let unqualified = |column: &Column| Some(Expr::Column(Column::new_unqualified(column.name.clone())));
        found.extend(leaf_index(&scan.table_name).map(|leaf| (leaf, time.and_then(|time| time.replaced(unqualified)))));
        return;
    }
    let inputs = plan.inputs();
    let mut below = time.map(|time| below(plan, &time, leaves)).unwrap_or_default();
    below.resize(inputs.len(), None);
    for (input, time) in inputs.into_iter().zip(below) {
        trace(input, time, leaves, found);
    }
}

/// Returns the time of the rows of each input of an operator, given the time of its own rows.
fn below(plan: &LogicalPlan, time: &RowTime, leaves: &[Node]) -> Vec<Option<RowTime>> {
    let schema = plan.schema();
    // The time over the columns of an input; `index` maps a column of the operator to one of the input.
    let over = |input: &LogicalPlan, index: &dyn Fn(usize) -> Option<usize>| {
        let columns = input.schema().columns();
        time.replaced(|column| Some(Expr::Column(columns.get(index(schema.maybe_index_of_column(column)?)?)?.clone())))
    };
    let as_computed =
        |expressions: &[Expr]| time.replaced(|column| expressions.get(schema.maybe_index_of_column(column)?).cloned());
    match plan {
        LogicalPlan::Projection(projection) => vec![as_computed(&projection.expr)],
        LogicalPlan::Filter(filter) => vec![over(&filter.input, &Some)],
        LogicalPlan::SubqueryAlias(alias) => vec![over(&alias.input, &Some)],
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => vec![over(&sort.input, &Some)],
        LogicalPlan::Distinct(Distinct::All(input)) => vec![over(input, &Some)],
        LogicalPlan::Union(union) => union.inputs.iter().map(|input| over(input, &Some)).collect(),
        LogicalPlan::Unnest(unnest) => {
            let as_it_was = |index: usize| {
                let below = *unnest.dependency_indices.get(index)?;
                let is_list = unnest.list_type_columns.iter().any(|(list, _)| *list == below);
                (!is_list && !unnest.struct_type_columns.contains(&below)).then_some(below)
            };
            vec![over(&unnest.input, &as_it_was)]
        }
        LogicalPlan::Window(window) => {
            let time = over(&window.input, &|index| (index < window.input.schema().fields().len()).then_some(index));
            let partition = split::common_partition(&window.window_expr);
            let in_partition = |time: &RowTime| {
                let is_key = |column: &&Column| partition.contains(&Expr::Column((*column).clone()));
                partition.contains(&time.time) || time.time.column_refs().iter().all(is_key)
            };
            vec![time.filter(in_partition)]
        }
        LogicalPlan::Aggregate(aggregate) => {
            let sets = aggregate.group_expr.iter().any(|group| matches!(group, Expr::GroupingSet(_)));
            vec![as_computed(&aggregate.group_expr).filter(|_| !sets)]
        }
        LogicalPlan::Join(join) => of_join(join, time, leaves),
        _ => Vec::new(),
    }
}

/// Follows a time through a join: to the side that it comes from, and to the other side if that one follows. A side that is padded
/// with NULLs has no time of its own, since rows without a match would have none.
fn of_join(join: &Join, time: &RowTime, leaves: &[Node]) -> Vec<Option<RowTime>> {
    use JoinType::{Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
    let comes_from = |side: &LogicalPlan| time.time.column_refs().iter().all(|column| side.schema().has_column(column));
    let is_left = match join.join_type {
        Inner => comes_from(&join.left),
        Left | LeftSemi | LeftAnti | LeftMark => true,
        Right | RightSemi | RightAnti | RightMark => false,
        Full => return Vec::new(),
    };
    let (own, other) = if is_left { (&join.left, &join.right) } else { (&join.right, &join.left) };
    if !comes_from(own) {
        return Vec::new();
    }
    // NOT IN with its NULL rule depends on the other side as a whole.
    let follows = if join.null_aware {
        None
    } else {
        by_equal_keys(join, time, is_left).or_else(|| by_a_bound(join, (own, other), time, leaves))
    };
    if is_left { vec![Some(time.clone()), follows] } else { vec![follows, Some(time.clone())] }
}

/// Returns the time of the other side's rows, if equal keys hold it.
fn by_equal_keys(join: &Join, time: &RowTime, is_left: bool) -> Option<RowTime> {
    let (own, other) = if is_left { (&join.left, &join.right) } else { (&join.right, &join.left) };
    time.replaced(|column| {
        join.on.iter().find_map(|(left, right)| {
            let (one, two) = if is_left { (left, right) } else { (right, left) };
            let types = (one.get_type(own.schema().as_ref()), two.get_type(other.schema().as_ref()));
            let alike = matches!(types, (Ok(one), Ok(two)) if one == two && equality::is_exact(&one));
            (alike && plain_column(one) == Some(column)).then(|| plain_column(two).cloned().map(Expr::Column)).flatten()
        })
    })
}

/// Returns the time of the other side's rows, if a condition says that a time of this side is not after one of theirs. The window
/// of a row that they match then ends at most `slack` after that time.
fn by_a_bound(join: &Join, (own, other): (&LogicalPlan, &LogicalPlan), time: &RowTime, leaves: &[Node]) -> Option<RowTime> {
    split_conjunction(join.filter.as_ref()?).into_iter().flat_map(not_after).find_map(|(earlier, later)| {
        let (earlier, before) = shifted(earlier, own.schema())?;
        let (later, after) = shifted(later, other.schema())?;
        if column_type(own, &earlier)? != column_type(other, &later)? {
            return None;
        }
        let to_the_end = distance(own, &time.time, Expr::Column(earlier), leaves)?;
        let slack = time.slack.checked_add(to_the_end)?.checked_add(after)?.checked_sub(before)?;
        Some(RowTime { time: Expr::Column(later), slack })
    })
}

/// Returns how much later a time of a row can be than a column of the same side of a join. The time is NULL only where the column
/// is. Both are traced down to what the side's linear input reads.
fn distance(side: &LogicalPlan, time: &Expr, column: Expr, leaves: &[Node]) -> Option<i64> {
    let traced = |expression: &Expr| {
        let mut found = Vec::new();
        trace(side, Some(RowTime { time: expression.clone(), slack: 0 }), leaves, &mut found);
        match found.as_slice() {
            [(leaf, Some(time))] => Some((*leaf, time.clone())),
            _ => None,
        }
    };
    let ((leaf, mut time), (other, mut column)) = (traced(time)?, traced(&column)?);
    let mut node = leaves.get(leaf).filter(|_| leaf == other)?;
    // Both go down together, so that their columns belong to the same node.
    while let (Op::Linear { plan }, [input]) = (&node.op, node.inputs.as_slice()) {
        let below = |time: &RowTime| times_of_inputs(node, plan, time).pop().flatten();
        let (Some(time_below), Some(column_below)) = (below(&time), below(&column)) else { break };
        (node, time, column) = (input, time_below, column_below);
    }
    let schema = DFSchema::try_from(node.schema.as_ref().clone()).ok()?;
    let (bounded, distance) = upper_bound(&time.time, &schema)?;
    (column.time == Expr::Column(bounded)).then_some(distance)
}

fn column_type(plan: &LogicalPlan, column: &Column) -> Option<DataType> {
    Expr::Column(column.clone()).get_type(plan.schema().as_ref()).ok()
}

impl RowTime {
    /// Replaces the columns by other expressions. `None` if a column has no replacement, or if no column is left.
    fn replaced(&self, with: impl Fn(&Column) -> Option<Expr>) -> Option<RowTime> {
        let replaced = self.time.clone().transform_up(|expression| match &expression {
            Expr::Column(column) => match with(column) {
                Some(other) => Ok(Transformed::yes(other.unalias_nested().data)),
                None => Err(DataFusionError::Internal("a column of something else".to_owned())),
            },
            _ => Ok(Transformed::no(expression)),
        });
        let time = replaced.ok()?.data;
        (!time.column_refs().is_empty()).then_some(RowTime { time, slack: self.slack })
    }
}
