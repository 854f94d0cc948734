//! What a view with `retain` need not remember: from the end of its rows' windows down through the nodes to what each of them stores.
//!
//! A row of the view goes when its `window_end` is old. So does a row of an operator whose every part in the view is in such rows, and
//! what tells it is a time over its own columns, found here by following `window_end` through the plans: through projections by their
//! expressions, through groups and partitions where all rows of one have the same time, and through joins to the side that the time
//! comes from. The other side follows where equal keys hold the time, or where a condition bounds it: with `placed_at <= paid_at +
//! INTERVAL '1 hour'`, no payment meets an order that was placed more than an hour after it, so that it is not needed once those are old.
//!
//! The time is the same function of a row for all operators that it passes, so that all of them drop it together; none takes back what
//! another has dropped.

mod bounds;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, ExprSchemable, Join, JoinType, LogicalPlan, Operator};

use self::bounds::{counts_alike, not_after, shifted, upper_bound, whole};
use crate::plan::{Expiry, Node, Op, RowTime, given_leaf, leaf_index, plain_column};
use crate::planner::{equality, split};

/// Marks what a node and those below it can forget, given the time of its rows.
pub(super) fn mark(node: &mut Node, time: &RowTime) {
    let (stores, groups, plan) = match &node.op {
        Op::Linear { plan } => (false, None, plan),
        Op::Join { plan, .. } | Op::Semi { plan, .. } | Op::Ranks { plan, .. } | Op::Keyed { plan, .. } => (true, None, plan),
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

/// Whether a relation's rows have a time of this name below a node, and only linear operators in between: what each scan that they come
/// from has it in. None where it is not certain.
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

/// The column that a time is, as it is or as the number that it counts.
fn plain_time(time: &Expr) -> Option<&Column> {
    match time {
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Int64 => plain_column(&cast.expr),
        other => plain_column(other),
    }
}

/// Whether what is stored of an input has the columns of the time: of one side of a semi join only the keys are.
fn can_drop(node: &Node, input: usize, time: &RowTime) -> bool {
    let Op::Semi { plan, keys } = &node.op else { return true };
    let is_key = |column: &&Column| {
        node.inputs[input].schema.index_of(&column.name).is_ok_and(|index| keys[input].columns.contains(&index))
    };
    input == given_leaf(plan) || time.time.column_refs().iter().all(is_key)
}

/// Whether a time of an input's rows can be computed for any of them, but for times beyond the range of their type: it is for those too of
/// which the view's query never asks it.
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

/// The time of the rows of each input, given that of a node's own: over the columns of the input, unqualified.
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

/// The times of the leaves, each time that a leaf is met.
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

/// The time of the rows of each input of an operator, given that of its own.
fn below(plan: &LogicalPlan, time: &RowTime, leaves: &[Node]) -> Vec<Option<RowTime>> {
    let schema = plan.schema();
    // Column `index` of the operator as a column of its input.
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

/// The side of a join that a time comes from, and the other one where it follows. A side that is filled up with NULLs has no time of
/// its own: rows without a match would have none.
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
    // By its NULL rule, NOT IN asks of the other side as a whole.
    let follows = if join.null_aware {
        None
    } else {
        by_equal_keys(join, time, is_left).or_else(|| by_a_bound(join, (own, other), time, leaves))
    };
    if is_left { vec![Some(time.clone()), follows] } else { vec![follows, Some(time.clone())] }
}

/// The time of the other side's rows where equal keys hold it.
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

/// The time of the other side's rows where a condition says that a time of this side is not after one of theirs: the window of a row
/// that they meet ends at most so long after that.
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

/// How much later than a column of a side of a join a time of its rows is at most, and NULL only where the column is: as both are
/// computed from what the side's linear input reads.
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
    // Both go down together, so that their columns are those of one node.
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
    /// With other expressions in the place of its columns, where there are columns and each has one.
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
