//! Splits GROUPING SETS, ROLLUP and CUBE into a union of plain aggregates, one for each set. Each of them merges if its input is
//! insert-only. A set that is listed twice gives its rows twice. The set without columns gives one row even without input.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, LogicalPlanBuilder, Projection, Union};

/// Rewrites the grouping sets of a plan, also in its subqueries.
pub(crate) fn taken_apart(plan: LogicalPlan) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|plan| match plan {
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.as_slice() {
            [Expr::GroupingSet(sets)] => union(&aggregate, sets).map(Transformed::yes),
            _ => Ok(Transformed::no(LogicalPlan::Aggregate(aggregate))),
        },
        other => Ok(Transformed::no(other)),
    });
    Ok(replaced?.data)
}

fn union(aggregate: &Aggregate, sets: &GroupingSet) -> Result<LogicalPlan> {
    let groups: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
    let mut seen: HashMap<Vec<bool>, usize> = HashMap::new();
    let mut inputs = Vec::new();
    for set in members(sets, &groups) {
        let earlier = seen.entry(set.clone()).or_default();
        inputs.push(Arc::new(one_set(aggregate, &groups, &set, *earlier)?));
        *earlier += 1;
    }
    let together = match inputs.len() {
        1 => inputs.swap_remove(0),
        _ => Arc::new(LogicalPlan::Union(Union::try_new(inputs)?)),
    };
    // A union drops the qualifiers of its columns.
    let columns = together.schema().columns();
    let columns = columns
        .into_iter()
        .zip(aggregate.schema.iter())
        .map(|(column, (qualifier, field))| Expr::Column(column).alias_qualified(qualifier.cloned(), field.name()));
    let schema = Arc::clone(&aggregate.schema);
    Ok(LogicalPlan::Projection(Projection::try_new_with_schema(columns.collect(), together, schema)?))
}

/// Returns which of the columns each set holds.
fn members(sets: &GroupingSet, groups: &[Expr]) -> Vec<Vec<bool>> {
    match sets {
        GroupingSet::GroupingSets(sets) => {
            sets.iter().map(|set| groups.iter().map(|group| set.contains(group)).collect()).collect()
        }
        GroupingSet::Rollup(_) => (0..=groups.len()).map(|held| (0..groups.len()).map(|group| group < held).collect()).collect(),
        GroupingSet::Cube(_) => {
            (0..1usize << groups.len()).map(|set| (0..groups.len()).map(|group| set >> group & 1 == 0).collect()).collect()
        }
    }
}

/// Builds the aggregate of one set with the columns of all sets, named by number. Columns that the set does not hold are NULL.
fn one_set(aggregate: &Aggregate, groups: &[Expr], set: &[bool], earlier: usize) -> Result<LogicalPlan> {
    let held: Vec<Expr> = groups.iter().zip(set).filter(|(_, held)| **held).map(|(group, _)| group.clone()).collect();
    let plain = if held.is_empty() && aggregate.aggr_expr.is_empty() {
        LogicalPlanBuilder::empty(true).build()?
    } else {
        LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(&aggregate.input), held, aggregate.aggr_expr.clone())?)
    };
    let mut computed = plain.schema().columns().into_iter().map(Expr::Column);
    let mut columns = Vec::new();
    for (index, field) in aggregate.schema.fields().iter().enumerate() {
        let value = if index < groups.len() && !set[index] {
            Some(Expr::Literal(ScalarValue::try_from(field.data_type())?, None))
        } else if index == groups.len() {
            let id = ScalarValue::UInt64(Some(grouping_id(set, earlier)));
            Some(Expr::Literal(id.cast_to(field.data_type())?, None))
        } else {
            computed.next()
        };
        columns.extend(value.map(|value| value.alias(format!("${index}"))));
    }
    LogicalPlanBuilder::from(plain).project(columns)?.build()
}

/// Returns what `grouping()` reads: a bit for each column that the set does not hold, the last column lowest. The bits above count
/// how often the set came before.
fn grouping_id(set: &[bool], earlier: usize) -> u64 {
    let bits = set.iter().fold(0, |bits, held| bits << 1 | u64::from(!held));
    bits | u64::try_from(earlier).unwrap_or_default() << set.len()
}
