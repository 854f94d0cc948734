//! What DataFusion's aggregates read from their input, and their accumulators.

mod argument;
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

use self::argument::Argument;
use self::one_group::OneGroup;
use super::columns::holds;
use crate::error::Error;
use crate::physical::{self, Effort};

/// What the aggregates of a node read from its input.
pub(crate) struct Inputs {
    group_by: PhysicalGroupBy,
    aggregates: Vec<Arc<AggregateFunctionExpr>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// For each aggregate, its arguments, followed by its sort expressions.
    arguments: Vec<Vec<Argument>>,
    /// For each aggregate, its sort options if it needs its rows in order.
    orders: Vec<Option<Vec<SortOptions>>>,
    key_schema: SchemaRef,
    input_schema: SchemaRef,
}

/// The evaluated keys, arguments and filters of some rows.
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

    /// Returns the key columns of each grouping set. Empty without GROUP BY.
    pub(crate) fn keys(&self) -> &[Vec<ArrayRef>] {
        &self.keys
    }

    /// Returns the arguments of an aggregate, and the mask of the rows that its FILTER lets pass.
    pub(crate) fn of(&self, aggregate: usize) -> (&[ArrayRef], Option<&BooleanArray>) {
        (&self.arguments[aggregate], self.filters[aggregate].as_ref())
    }
}

impl Inputs {
    /// Plans the aggregate of a node.
    ///
    /// # Errors
    /// [`Error::Plan`] if DataFusion has no plan for it, or if it has grouping sets.
    pub(crate) async fn plan(node: &Node, aggregate: &LogicalPlan) -> Result<Self, Error> {
        let Some(input) = node.inputs.first() else {
            return Err(Error::Bug("an aggregate has no input".to_owned()));
        };
        let planned = physical::plan(aggregate, &[Arc::clone(&input.schema)], Effort::AsWritten).await?;
        Self::of(first_stage(&planned.plan)?)
    }

    fn of(exec: &AggregateExec) -> Result<Self, Error> {
        if exec.group_expr().has_grouping_set() {
            return Err(Error::Plan("grouping sets cannot be merged".to_owned()));
        }
        let aggregates = exec.aggr_expr().to_vec();
        let orders = aggregates.iter().map(|aggregate| {
            let needed = aggregate.order_sensitivity() == AggregateOrderSensitivity::HardRequirement;
            let options = aggregate.order_bys().iter().map(|by| by.options).collect::<Vec<_>>();
            (needed && !options.is_empty()).then_some(options)
        });
        let input_schema = exec.input_schema();
        let arguments = aggregate_expressions(&aggregates, &AggregateMode::Partial, 0)?.into_iter();
        let arguments =
            arguments.map(|of_one| of_one.into_iter().map(|argument| Argument::of(argument, &input_schema)).collect());
        Ok(Self {
            orders: orders.collect(),
            arguments: arguments.collect::<Result<_, Error>>()?,
            filters: exec.filter_expr().to_vec(),
            key_schema: exec.group_expr().group_schema(&input_schema)?,
            group_by: exec.group_expr().clone(),
            input_schema,
            aggregates,
        })
    }

    pub(crate) fn aggregates(&self) -> &[Arc<AggregateFunctionExpr>] {
        &self.aggregates
    }

    /// Returns the key fields of the groups' state table.
    pub(crate) fn key_fields(&self) -> Vec<Field> {
        self.key_schema.fields().iter().map(|field| state_field(field, "")).collect()
    }

    pub(crate) fn key_schema(&self) -> &SchemaRef {
        &self.key_schema
    }

    pub(crate) fn input_schema(&self) -> &SchemaRef {
        &self.input_schema
    }

    /// Checks whether there is no GROUP BY.
    pub(crate) fn is_global(&self) -> bool {
        self.group_by.is_true_no_grouping()
    }

    /// Checks whether any aggregate needs its rows in order. Each batch is then aggregated by itself, and the states are merged.
    pub(crate) fn in_order_only(&self) -> bool {
        self.orders.iter().any(Option::is_some)
    }

    /// Returns for each aggregate the sort options of its last arguments, if it needs its rows in order.
    pub(crate) fn orders(&self) -> &[Option<Vec<SortOptions>>] {
        &self.orders
    }

    /// Evaluates the keys, arguments and filters on rows.
    ///
    /// # Errors
    /// [`Error::Row`] if an expression fails.
    pub(crate) fn evaluate(&self, rows: &RecordBatch) -> Result<Arguments, Error> {
        let filters = self.filters.iter().map(|filter| filter.as_ref().map(|filter| holds(filter, rows)).transpose());
        let arguments = self.arguments.iter().map(|of_one| of_one.iter().map(|argument| argument.evaluate(rows)).collect());
        Ok(Arguments {
            rows: rows.num_rows(),
            keys: if self.is_global() { Vec::new() } else { evaluate_group_by(&self.group_by, rows)? },
            arguments: arguments.collect::<Result<_, _>>()?,
            filters: filters.collect::<Result<_, _>>()?,
        })
    }

    /// Creates an accumulator for each aggregate.
    pub(crate) fn accumulators(&self) -> Result<Vec<Box<dyn GroupsAccumulator>>, Error> {
        self.aggregates.iter().map(|aggregate| self.accumulator(aggregate)).collect()
    }

    /// Creates an accumulator for an aggregate: for one group without GROUP BY, else for any number of groups.
    ///
    /// # Errors
    /// [`Error::Plan`] if DataFusion has none for its types.
    pub(crate) fn accumulator(&self, aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>, Error> {
        if self.is_global() { Ok(Box::new(OneGroup::new(aggregate)?)) } else { accumulator_of_groups(aggregate) }
    }
}

/// Creates an accumulator for an aggregate, for any number of groups, each of which has a row.
pub(crate) fn accumulator_of_groups(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>, Error> {
    if aggregate.groups_accumulator_supported() {
        return Ok(aggregate.create_groups_accumulator()?);
    }
    let aggregate = Arc::clone(aggregate);
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
}

/// Finds the aggregate of a physical plan that reads rows. It is below those that read states.
///
/// # Errors
/// [`Error::Bug`] if there is none.
fn first_stage(plan: &Arc<dyn ExecutionPlan>) -> Result<&AggregateExec, Error> {
    match plan.downcast_ref::<AggregateExec>() {
        Some(exec) if exec.mode().input_mode() == AggregateInputMode::Raw => Ok(exec),
        _ => match plan.children().first() {
            Some(child) => first_stage(child),
            None => Err(Error::Bug("the plan of an aggregate has no aggregate".to_owned())),
        },
    }
}

/// Returns a nullable copy of the field without metadata. The prefix keeps its name unique in a state table.
pub(crate) fn state_field(field: &Field, prefix: &str) -> Field {
    Field::new(format!("{prefix}{}", field.name()), field.data_type().clone(), true)
}
