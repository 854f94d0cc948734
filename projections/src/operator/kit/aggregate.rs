//! What DataFusion's aggregates read of their input, and their accumulators.

mod one_group;

use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{Field, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{GroupsAccumulator, LogicalPlan};
use datafusion::physical_expr::GroupsAccumulatorAdapter;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{
    AggregateExec, AggregateInputMode, AggregateMode, PhysicalGroupBy, aggregate_expressions, evaluate_group_by,
};

use self::one_group::OneGroup;
use super::columns::{evaluate, holds};
use crate::error::Error;
use crate::physical::{self, Effort};

/// What an aggregate reads of its input.
pub(crate) struct Inputs {
    group_by: PhysicalGroupBy,
    aggregates: Vec<Arc<AggregateFunctionExpr>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// For each aggregate its arguments, and after them what it is ordered by.
    arguments: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    /// For each aggregate that takes its rows only in order: how.
    orders: Vec<Option<Vec<SortOptions>>>,
    key_schema: SchemaRef,
    input_schema: SchemaRef,
}

/// The keys, arguments and filters of some rows.
pub(crate) struct Arguments {
    rows: usize,
    /// For each grouping set, the key columns.
    keys: Vec<Vec<ArrayRef>>,
    arguments: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

impl Arguments {
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// For each grouping set, the key columns; none without GROUP BY.
    pub(crate) fn keys(&self) -> &[Vec<ArrayRef>] {
        &self.keys
    }

    /// The arguments of one aggregate, and which rows count for it.
    pub(crate) fn of(&self, aggregate: usize) -> (&[ArrayRef], Option<&BooleanArray>) {
        (&self.arguments[aggregate], self.filters[aggregate].as_ref())
    }
}

impl Inputs {
    /// Those of a node's aggregate.
    ///
    /// # Errors
    /// [`Error::Plan`] where DataFusion has no plan for it, or where it has grouping sets.
    pub(crate) async fn plan(node: &Node, aggregate: &LogicalPlan) -> Result<Self, Error> {
        let Some(input) = node.inputs.first() else {
            return Err(Error::Bug("an aggregate has no input".to_owned()));
        };
        let planned = physical::plan(aggregate, &[Arc::clone(&input.schema)], Effort::AsWritten).await?;
        Self::of(first_stage(&planned.plan)?)
    }

    fn of(exec: &AggregateExec) -> Result<Self, Error> {
        if exec.group_expr().has_grouping_set() {
            return Err(Error::Plan("grouping sets do not merge".to_owned()));
        }
        let aggregates = exec.aggr_expr().to_vec();
        let orders = aggregates.iter().map(|aggregate| {
            let needed = aggregate.order_sensitivity() == AggregateOrderSensitivity::HardRequirement;
            let options = aggregate.order_bys().iter().map(|by| by.options).collect::<Vec<_>>();
            (needed && !options.is_empty()).then_some(options)
        });
        Ok(Self {
            orders: orders.collect(),
            arguments: aggregate_expressions(&aggregates, &AggregateMode::Partial, 0)?,
            filters: exec.filter_expr().to_vec(),
            key_schema: exec.group_expr().group_schema(&exec.input_schema())?,
            group_by: exec.group_expr().clone(),
            input_schema: exec.input_schema(),
            aggregates,
        })
    }

    pub(crate) fn aggregates(&self) -> &[Arc<AggregateFunctionExpr>] {
        &self.aggregates
    }

    /// The columns of a state table that tell its groups apart.
    pub(crate) fn key_fields(&self) -> Vec<Field> {
        self.key_schema.fields().iter().map(|field| state_field(field, "")).collect()
    }

    pub(crate) fn key_schema(&self) -> &SchemaRef {
        &self.key_schema
    }

    pub(crate) fn input_schema(&self) -> &SchemaRef {
        &self.input_schema
    }

    /// Whether there is no GROUP BY.
    pub(crate) fn is_global(&self) -> bool {
        self.group_by.is_true_no_grouping()
    }

    /// Whether some aggregate takes its rows only in order: then each batch is an aggregation by itself, and states are merged.
    pub(crate) fn in_order_only(&self) -> bool {
        self.orders.iter().any(Option::is_some)
    }

    /// For each aggregate that takes its rows only in order: how its last arguments are ordered.
    pub(crate) fn orders(&self) -> &[Option<Vec<SortOptions>>] {
        &self.orders
    }

    /// # Errors
    /// [`Error::Row`] where an expression fails.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<Arguments, Error> {
        let filters = self.filters.iter().map(|filter| filter.as_ref().map(|filter| holds(filter, rows)).transpose());
        Ok(Arguments {
            rows: rows.num_rows(),
            keys: if self.is_global() { Vec::new() } else { evaluate_group_by(&self.group_by, rows)? },
            arguments: self.arguments.iter().map(|of_one| evaluate(of_one, rows)).collect::<Result<_, _>>()?,
            filters: filters.collect::<Result<_, _>>()?,
        })
    }

    /// One of each aggregate.
    pub(crate) fn accumulators(&self) -> Result<Vec<Box<dyn GroupsAccumulator>>, Error> {
        self.aggregates.iter().map(|aggregate| self.accumulator(aggregate)).collect()
    }

    /// An accumulator of an aggregate, for any number of groups.
    ///
    /// # Errors
    /// [`Error::Plan`] where DataFusion has none for its types.
    pub(crate) fn accumulator(&self, aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>, Error> {
        if self.is_global() { Ok(Box::new(OneGroup::new(aggregate)?)) } else { accumulator_of_groups(aggregate) }
    }
}

/// An accumulator of an aggregate for any number of groups, each of which has a row.
pub(crate) fn accumulator_of_groups(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>, Error> {
    if aggregate.groups_accumulator_supported() {
        return Ok(aggregate.create_groups_accumulator()?);
    }
    let aggregate = Arc::clone(aggregate);
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
}

/// The aggregate of a physical plan that reads rows, below those that read states.
///
/// # Errors
/// [`Error::Bug`] where there is none.
fn first_stage(plan: &Arc<dyn ExecutionPlan>) -> Result<&AggregateExec, Error> {
    match plan.downcast_ref::<AggregateExec>() {
        Some(exec) if exec.mode().input_mode() == AggregateInputMode::Raw => Ok(exec),
        _ => match plan.children().first() {
            Some(child) => first_stage(child),
            None => Err(Error::Bug("an aggregate is planned as something else".to_owned())),
        },
    }
}

/// The field without metadata, under a name that no other column of a state table has.
pub(crate) fn state_field(field: &Field, prefix: &str) -> Field {
    Field::new(format!("{prefix}{}", field.name()), field.data_type().clone(), true)
}
