//! Filters, projections, unnests and unions. They treat each row by itself and keep its weight.
//!
//! The physical plan becomes steps that run on a batch, without streams. A step evaluates the plan's own expressions and keeps the
//! weights beside the rows. A row on which a step fails is left out by that step only.

use std::sync::Arc;

use alluvium_sql::Node;
use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{ExecutionPlan, displayable};
use futures::{FutureExt, TryStreamExt};
use rayon::prelude::*;

use super::kit::columns::{evaluate, holds};
use super::kit::rows::{batch, renamed, renamed_delta};
use super::kit::unnest_limit::UnnestLimit;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::physical::{self, Effort, Planned, Slot, is_slot};

/// Runs a linear region.
#[derive(Debug)]
pub(crate) struct Linear {
    step: Step,
    schema: SchemaRef,
}

#[derive(Debug)]
enum Step {
    /// The rows of an input, with all or some of its columns.
    Input { index: usize, columns: Option<Vec<usize>> },
    /// No rows.
    Empty,
    /// The rows for which the predicate is true, with all or some of their columns.
    Filter { predicate: Arc<dyn PhysicalExpr>, columns: Option<Vec<usize>>, input: Box<Step> },
    /// Expressions evaluated on each row.
    Project { expressions: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef, input: Box<Step> },
    /// The rows of all inputs.
    Union { schema: SchemaRef, inputs: Vec<Step> },
    /// Lists expanded to rows.
    Unnest(Box<Unnest>),
}

#[derive(Debug)]
struct Unnest {
    /// Reads `slot`.
    plan: Arc<dyn ExecutionPlan>,
    slot: Arc<Slot>,
    /// The same plan with a column of weights at the end of its input and output. Reads `weighted_slot`.
    weighted: Arc<dyn ExecutionPlan>,
    weighted_slot: Arc<Slot>,
    context: Arc<TaskContext>,
    limit: UnnestLimit,
    input: Step,
}

impl Linear {
    pub(crate) async fn new(node: &Node, plan: &LogicalPlan) -> Result<Self, Error> {
        let inputs: Vec<SchemaRef> = node.inputs.iter().map(|input| Arc::clone(&input.schema)).collect();
        let planned = physical::plan(plan, &inputs, Effort::AsWritten).await?;
        Ok(Self { step: steps(&planned.plan, &planned)?, schema: Arc::clone(&node.schema) })
    }

    /// Returns the changes of the output, given the changes of each input.
    pub(crate) fn run(&self, inputs: &[Vec<Delta>], failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let in_slices = self.is_worth_threads(inputs);
        let deltas = if in_slices { self.run_in_slices(inputs, failing)? } else { self.step.run(inputs, failing)? };
        deltas.into_iter().filter(|delta| delta.rows.num_rows() > 0).map(|delta| renamed_delta(delta, &self.schema)).collect()
    }
}

impl Linear {
    /// Checks whether there is enough to evaluate to pay for threads.
    fn is_worth_threads(&self, inputs: &[Vec<Delta>]) -> bool {
        let most = inputs.iter().flatten().map(|delta| delta.rows.num_rows()).max().unwrap_or_default();
        most >= 2 * SLICE_ROWS && self.step.evaluates()
    }

    /// As [`Step::run`], but each core runs a slice of the rows.
    fn run_in_slices(&self, inputs: &[Vec<Delta>], failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let cores = rayon::current_num_threads();
        let mut slices: Vec<Vec<Vec<Delta>>> = vec![vec![Vec::new(); inputs.len()]; cores];
        for (index, delta) in inputs.iter().enumerate().flat_map(|(index, deltas)| deltas.iter().map(move |delta| (index, delta)))
        {
            let rows = delta.rows.num_rows();
            let each = rows.div_ceil(cores).max(SLICE_ROWS);
            for (slice, start) in slices.iter_mut().zip((0..rows).step_by(each)) {
                slice[index].push(delta.slice(start, each.min(rows - start)));
            }
        }
        let deltas = slices.par_iter().map(|slice| self.step.run(slice, failing));
        let deltas: Vec<Vec<Delta>> = deltas.collect::<Result<_, Error>>()?;
        Ok(deltas.into_iter().flatten().collect())
    }
}

/// Every slice but the last has at least this many rows.
const SLICE_ROWS: usize = 4 << 10;

fn steps(plan: &Arc<dyn ExecutionPlan>, planned: &Planned) -> Result<Step, Error> {
    if let Some(scan) = plan.downcast_ref::<StreamingTableExec>() {
        let slot = |index: &usize| scan.partitions().iter().any(|stream| is_slot(stream, &planned.slots[*index]));
        if let Some(index) = (0..planned.slots.len()).find(slot) {
            return Ok(Step::Input { index, columns: scan.projection().as_ref().map(|columns| columns.to_vec()) });
        }
    }
    if let Some(project) = plan.downcast_ref::<ProjectionExec>() {
        let input = steps(project.input(), planned)?;
        let expressions: Vec<_> = project.expr().iter().map(|projected| Arc::clone(&projected.expr)).collect();
        return Ok(picked(&expressions, &input).unwrap_or_else(|| Step::Project {
            expressions,
            schema: project.schema(),
            input: Box::new(input),
        }));
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        return Ok(Step::Filter {
            predicate: Arc::clone(filter.predicate()),
            columns: filter.projection().as_ref().map(|columns| columns.to_vec()),
            input: Box::new(steps(filter.input(), planned)?),
        });
    }
    if let Some(union) = plan.downcast_ref::<UnionExec>() {
        let inputs = union.inputs().iter().map(|input| steps(input, planned)).collect::<Result<_, _>>()?;
        return Ok(Step::Union { schema: union.schema(), inputs });
    }
    if let Some(unnest) = plan.downcast_ref::<UnnestExec>() {
        return Ok(Step::Unnest(Box::new(Unnest::new(unnest, planned)?)));
    }
    if plan.is::<EmptyExec>() {
        return Ok(Step::Empty);
    }
    Err(Error::Plan(format!("not a linear operator: {}", displayable(plan.as_ref()).one_line())))
}

/// Merges a projection that only picks columns into the input that it reads. None if it does anything else.
fn picked(expressions: &[Arc<dyn PhysicalExpr>], input: &Step) -> Option<Step> {
    let Step::Input { index, columns } = input else { return None };
    let columns = expressions
        .iter()
        .map(|expression| {
            let column = expression.downcast_ref::<Column>()?.index();
            Some(columns.as_ref().map_or(column, |columns| columns[column]))
        })
        .collect::<Option<Vec<usize>>>()?;
    Some(Step::Input { index: *index, columns: Some(columns) })
}

impl Step {
    /// Checks whether the step evaluates expressions and can run in slices. Unnests cannot: their slots have room for one batch.
    fn evaluates(&self) -> bool {
        match self {
            Step::Input { .. } | Step::Empty | Step::Unnest(_) => false,
            Step::Filter { input, .. } => !input.unnests(),
            Step::Project { expressions, input, .. } => {
                !input.unnests() && (input.evaluates() || expressions.iter().any(|expression| !expression.is::<Column>()))
            }
            Step::Union { inputs, .. } => inputs.iter().all(|input| !input.unnests()) && inputs.iter().any(Step::evaluates),
        }
    }

    fn unnests(&self) -> bool {
        match self {
            Step::Input { .. } | Step::Empty => false,
            Step::Unnest(_) => true,
            Step::Filter { input, .. } | Step::Project { input, .. } => input.unnests(),
            Step::Union { inputs, .. } => inputs.iter().any(Step::unnests),
        }
    }

    fn run(&self, inputs: &[Vec<Delta>], failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        match self {
            Step::Input { index, columns } => match columns {
                None => Ok(inputs[*index].clone()),
                Some(columns) => inputs[*index]
                    .iter()
                    .map(|delta| Ok(Delta { rows: delta.rows.project(columns)?, weights: delta.weights.clone() }))
                    .collect(),
            },
            Step::Empty => Ok(Vec::new()),
            Step::Filter { predicate, columns, input } => {
                let mut deltas = Vec::new();
                for delta in input.run(inputs, failing)? {
                    let kept = failing.each(delta, |delta| filtered(predicate, columns.as_deref(), delta))?;
                    deltas.extend(kept.into_iter().filter(|delta| delta.rows.num_rows() > 0));
                }
                Ok(deltas)
            }
            Step::Project { expressions, schema, input } => {
                let mut deltas = Vec::new();
                for delta in input.run(inputs, failing)? {
                    deltas.extend(failing.each(delta, |delta| {
                        let columns = evaluate(expressions, &delta.rows)?;
                        Ok(Delta { rows: batch(schema, columns, delta.rows.num_rows())?, weights: delta.weights })
                    })?);
                }
                Ok(deltas)
            }
            Step::Union { schema, inputs: parts } => {
                let mut deltas = Vec::new();
                for part in parts {
                    for delta in part.run(inputs, failing)? {
                        deltas.push(renamed_delta(delta, schema)?);
                    }
                }
                Ok(deltas)
            }
            Step::Unnest(unnest) => {
                let mut deltas = Vec::new();
                for delta in unnest.input.run(inputs, failing)? {
                    deltas.extend(failing.each(delta, |delta| unnest.run(&delta))?.into_iter().flatten());
                }
                Ok(deltas)
            }
        }
    }
}

fn filtered(predicate: &Arc<dyn PhysicalExpr>, columns: Option<&[usize]>, delta: Delta) -> Result<Delta, Error> {
    let mask = holds(predicate, &delta.rows)?;
    let delta = delta.filtered(&mask)?;
    match columns {
        None => Ok(delta),
        Some(columns) => Ok(Delta { rows: delta.rows.project(columns)?, weights: delta.weights }),
    }
}

impl Unnest {
    fn new(unnest: &UnnestExec, planned: &Planned) -> Result<Self, Error> {
        let (plan, slot) = over_slot(unnest, unnest.input().schema(), unnest.schema())?;
        let (weighted, weighted_slot) = over_slot(unnest, with_weight(&unnest.input().schema()), with_weight(&unnest.schema()))?;
        let input = steps(unnest.input(), planned)?;
        let limit = UnnestLimit::of(unnest);
        Ok(Self { plan, slot, weighted, weighted_slot, context: Arc::clone(&planned.context), limit, input })
    }

    fn run(&self, delta: &Delta) -> Result<Vec<Delta>, Error> {
        self.limit.check(&delta.rows)?;
        let rows = delta.rows.num_rows();
        let Some(weights) = &delta.weights else {
            self.slot.fill(vec![renamed(&delta.rows, self.slot.schema())?]);
            let batches = run_now(&self.plan, &self.context);
            self.slot.fill(Vec::new());
            return Ok(batches?.into_iter().map(Delta::insertions).collect());
        };
        let mut columns = delta.rows.columns().to_vec();
        columns.push(Arc::new(weights.clone()));
        self.weighted_slot.fill(vec![batch(self.weighted_slot.schema(), columns, rows)?]);
        let batches = run_now(&self.weighted, &self.context);
        self.weighted_slot.fill(Vec::new());
        batches?
            .into_iter()
            .map(|mut rows| {
                let weights: Int64Array = rows.remove_column(rows.num_columns() - 1).as_primitive::<Int64Type>().clone();
                Ok(Delta { rows, weights: Some(weights) })
            })
            .collect()
    }
}

const WEIGHT: &str = "$weight";

fn with_weight(schema: &SchemaRef) -> SchemaRef {
    let mut fields: Vec<_> = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(WEIGHT, DataType::Int64, false)));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn over_slot(unnest: &UnnestExec, input: SchemaRef, output: SchemaRef) -> Result<(Arc<dyn ExecutionPlan>, Arc<Slot>), Error> {
    let slot = Slot::new(Arc::clone(&input));
    let stream = Arc::clone(&slot) as Arc<dyn PartitionStream>;
    let scan = StreamingTableExec::try_new(input, vec![stream], None, None, false, None)?;
    let (lists, structs) = (unnest.list_column_indices().to_vec(), unnest.struct_column_indices().to_vec());
    let plan = UnnestExec::new(Arc::new(scan), lists, structs, output, unnest.options().clone())?;
    Ok((Arc::new(plan), slot))
}

/// Runs a plan over slots to its end, without waiting.
fn run_now(plan: &Arc<dyn ExecutionPlan>, context: &Arc<TaskContext>) -> Result<Vec<RecordBatch>, Error> {
    let stream = reset_plan_states(Arc::clone(plan))?.execute(0, Arc::clone(context))?;
    // Without `unconstrained`, tokio makes the stream wait once the surrounding task has used up its budget.
    let batches = tokio::task::unconstrained(stream.try_collect::<Vec<_>>()).now_or_never();
    Ok(batches.ok_or_else(|| Error::Bug("an unnest has to wait, which it never should".to_owned()))??)
}
