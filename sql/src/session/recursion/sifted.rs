//! Leaves out the rows of a step on which an expression fails, at the operator that computes it, and counts them. DataFusion 55.2 runs the steps by
//! itself, so nothing outside of it can leave out a row between two of them.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::{concat, concat_batches};
use arrow::datatypes::{DataType, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{HashJoinExec, NestedLoopJoinExec};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, replace_children_if_necessary};
use futures::StreamExt;

use crate::cause::{Cause, cause};
use crate::session::passing::{PassesOn, Passing};

/// Counts what the steps of a run leave out.
#[derive(Debug, Default)]
pub(super) struct LeftOutOfSteps(Mutex<(u64, Option<String>)>);

impl LeftOutOfSteps {
    pub(super) fn begin(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (0, None);
    }

    /// Returns the number of rows, and the error of the first one.
    pub(super) fn so_far(&self) -> (u64, Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, error: &str) {
        let mut left_out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.0 += 1;
        left_out.1.get_or_insert_with(|| error.to_owned());
    }
}

/// Drops the rows on which an expression of a step fails, before the operator that computes it. A pair on which the condition of a join fails does
/// not match.
pub(super) fn sifted(step: &Arc<dyn ExecutionPlan>, left_out: &Arc<LeftOutOfSteps>) -> Result<Arc<dyn ExecutionPlan>> {
    let over = |input: &Arc<dyn ExecutionPlan>, expressions: Vec<Arc<dyn PhysicalExpr>>| {
        let computes = |expression: &Arc<dyn PhysicalExpr>| !expression.is::<Column>() && !expression.is::<Literal>();
        let expressions: Vec<_> = expressions.into_iter().filter(computes).collect();
        if expressions.is_empty() {
            return Arc::clone(input);
        }
        PassesOn::over(Arc::clone(input), Sifted { expressions, left_out: Arc::clone(left_out) })
    };
    let guarded = |filter: &JoinFilter| {
        let condition = Arc::new(Guarded { condition: Arc::clone(filter.expression()), left_out: Arc::clone(left_out) });
        JoinFilter::new(condition, filter.column_indices().to_vec(), Arc::clone(filter.schema()))
    };
    let sifted = Arc::clone(step).transform_up(|plan| {
        if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
            let expressions = projection.expr().iter().map(|projected| Arc::clone(&projected.expr)).collect();
            let input = over(projection.input(), expressions);
            return Ok(Transformed::yes(replace_children_if_necessary(plan, vec![input])?));
        }
        if let Some(filter) = plan.downcast_ref::<FilterExec>() {
            let input = over(filter.input(), vec![Arc::clone(filter.predicate())]);
            return Ok(Transformed::yes(replace_children_if_necessary(plan, vec![input])?));
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            let (left, right) = join.on().iter().cloned().unzip();
            let filter = join.filter().map(guarded);
            let inputs = vec![over(join.left(), left), over(join.right(), right)];
            let guarded = join.builder().with_filter(filter).build_exec()?;
            return Ok(Transformed::yes(replace_children_if_necessary(guarded, inputs)?));
        }
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let (left, right) = (Arc::clone(join.left()), Arc::clone(join.right()));
            let columns = join.projection().as_ref().map(|columns| columns.to_vec());
            let guarded = NestedLoopJoinExec::try_new(left, right, join.filter().map(guarded), join.join_type(), columns)?;
            return Ok(Transformed::yes(Arc::new(guarded) as Arc<dyn ExecutionPlan>));
        }
        Ok(Transformed::no(plan))
    });
    Ok(sifted?.data)
}

/// Passes on the rows of its input on which no expression fails.
#[derive(Debug, Clone)]
struct Sifted {
    expressions: Vec<Arc<dyn PhysicalExpr>>,
    left_out: Arc<LeftOutOfSteps>,
}

impl Sifted {
    /// Returns the rows on which no expression fails, found by halving.
    fn without_failing(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let tried = self.expressions.iter().try_for_each(|expression| expression.evaluate(rows).map(drop));
        match tried {
            Ok(()) => Ok(rows.clone()),
            Err(error) if cause(&error) != Cause::Values => Err(error),
            Err(error) if rows.num_rows() <= 1 => {
                self.left_out.add(&error.strip_backtrace());
                Ok(rows.slice(0, 0))
            }
            Err(_) => {
                let middle = rows.num_rows() / 2;
                let first = self.without_failing(&rows.slice(0, middle))?;
                let second = self.without_failing(&rows.slice(middle, rows.num_rows() - middle))?;
                Ok(concat_batches(&rows.schema(), [&first, &second])?)
            }
        }
    }
}

impl Passing for Sifted {
    const NAME: &'static str = "Sifted";

    fn execute(
        &self,
        input: &Arc<dyn ExecutionPlan>,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let own = self.clone();
        let rows = input.execute(partition, context)?.map(move |rows| own.without_failing(&rows?));
        Ok(Box::pin(RecordBatchStreamAdapter::new(input.schema(), rows)))
    }
}

/// A condition of a join that is unknown for the pairs on which it fails.
#[derive(Debug, Clone)]
struct Guarded {
    condition: Arc<dyn PhysicalExpr>,
    left_out: Arc<LeftOutOfSteps>,
}

impl Guarded {
    fn holds(&self, pairs: &RecordBatch) -> Result<ArrayRef> {
        match self.condition.evaluate(pairs).and_then(|value| value.into_array(pairs.num_rows())) {
            Err(error) if cause(&error) != Cause::Values => Err(error),
            Err(error) if pairs.num_rows() <= 1 => {
                self.left_out.add(&error.strip_backtrace());
                Ok(new_null_array(&DataType::Boolean, pairs.num_rows()))
            }
            Err(_) => {
                let middle = pairs.num_rows() / 2;
                let first = self.holds(&pairs.slice(0, middle))?;
                let second = self.holds(&pairs.slice(middle, pairs.num_rows() - middle))?;
                Ok(concat(&[first.as_ref(), second.as_ref()])?)
            }
            Ok(holds) => Ok(holds),
        }
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.condition.eq(&other.condition)
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.condition.hash(state);
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt(f)
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, pairs: &RecordBatch) -> Result<ColumnarValue> {
        Ok(ColumnarValue::Array(self.holds(pairs)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.condition]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let condition = children.pop().unwrap_or_else(|| Arc::clone(&self.condition));
        Ok(Arc::new(Guarded { condition, left_out: Arc::clone(&self.left_out) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.condition.fmt_sql(f)
    }
}
