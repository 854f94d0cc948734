//! The expressions that a plan evaluates on each row of an input by itself: sort keys, arguments and keys of window functions, filters.
//!
//! A recompute runs its plan over all rows of a key at once. So a row on which an expression fails must be found before it is stored.
//! Expressions above a filter, an aggregate or a join of the same plan are not included: no single row of an input decides them.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::scalar_subquery::ScalarSubqueryExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::windows::{BoundedWindowAggExec, WindowAggExec};

use super::columns::evaluate;
use crate::error::Error;
use crate::physical::{Planned, StableSort, is_slot};

/// The expressions that a plan evaluates on each row of its inputs, by input.
#[derive(Debug)]
pub(crate) struct Evaluated(Vec<Vec<Arc<dyn PhysicalExpr>>>);

/// The rows of a plan node that has exactly the rows of one slot.
struct Rows {
    slot: usize,
    /// For each column, which column of the slot it is. None if the plan adds it.
    columns: Vec<Option<usize>>,
}

impl Evaluated {
    pub(crate) fn of(planned: &Planned) -> Result<Self, Error> {
        let mut found = Self(vec![Vec::new(); planned.slots.len()]);
        let mut scans = vec![0; planned.slots.len()];
        found.collect(&planned.plan, planned, &mut scans)?;
        // If a slot is read twice, a row may fail in one place and still be part of the answer through the other.
        found.0.iter_mut().zip(scans).filter(|(_, scans)| *scans > 1).for_each(|(expressions, _)| expressions.clear());
        Ok(found)
    }

    /// Checks that all expressions of an input can be evaluated on rows.
    ///
    /// # Errors
    /// [`Error::Row`] if one fails.
    pub(crate) fn check(&self, input: usize, rows: &RecordBatch) -> Result<(), Error> {
        evaluate(&self.0[input], rows).map(drop)
    }

    /// Adds the expressions of `plan`. If it has exactly the rows of one slot, describes them.
    fn collect(&mut self, plan: &Arc<dyn ExecutionPlan>, planned: &Planned, scans: &mut [usize]) -> Result<Option<Rows>, Error> {
        if let Some(scan) = plan.downcast_ref::<StreamingTableExec>() {
            let slot = |slot: &usize| scan.partitions().iter().any(|stream| is_slot(stream, &planned.slots[*slot]));
            let Some(slot) = (0..planned.slots.len()).find(slot) else { return Ok(None) };
            scans[slot] += 1;
            let all = || (0..planned.slots[slot].schema().fields().len()).map(Some).collect();
            let columns = scan.projection().as_ref().map_or_else(all, |columns| columns.iter().copied().map(Some).collect());
            return Ok(Some(Rows { slot, columns }));
        }
        let mut rows = None;
        for child in plan.children() {
            rows = self.collect(child, planned, scans)?;
        }
        let Some(Rows { slot, mut columns }) = rows.filter(|_| plan.children().len() == 1) else { return Ok(None) };
        if let Some(sort) = plan.downcast_ref::<SortExec>() {
            self.add(slot, &columns, sort.expr().iter().map(|key| &key.expr))?;
            return Ok(sort.fetch().is_none().then_some(Rows { slot, columns }));
        }
        let is_window = plan.is::<BoundedWindowAggExec>() || plan.is::<WindowAggExec>();
        if !is_window && !plan.is::<StableSort>() && !plan.is::<ProjectionExec>() && !plan.is::<FilterExec>() {
            return Ok(None);
        }
        let mut expressions = Vec::new();
        plan.apply_expressions(&mut |expression| {
            expressions.push(Arc::clone(expression));
            Ok(TreeNodeRecursion::Continue)
        })?;
        self.add(slot, &columns, expressions.iter())?;
        if plan.is::<FilterExec>() {
            return Ok(None);
        }
        if plan.is::<ProjectionExec>() {
            let column = |expression: &Arc<dyn PhysicalExpr>| columns[expression.downcast_ref::<Column>()?.index()];
            columns = expressions.iter().map(column).collect();
        }
        columns.resize(plan.schema().fields().len(), None);
        Ok(Some(Rows { slot, columns }))
    }

    /// Adds those expressions that can fail and read only columns of the slot.
    fn add<'a>(
        &mut self,
        slot: usize,
        columns: &[Option<usize>],
        expressions: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>,
    ) -> Result<(), Error> {
        for expression in expressions.filter(|expression| !expression.is::<Column>() && !expression.is::<Literal>()) {
            let Some(expression) = over_slot(expression, columns)? else { continue };
            if !self.0[slot].contains(&expression) {
                self.0[slot].push(expression);
            }
        }
        Ok(())
    }
}

/// Rewrites an expression to read the columns of the slot. None if it reads others, or the value of a subquery.
fn over_slot(expression: &Arc<dyn PhysicalExpr>, columns: &[Option<usize>]) -> Result<Option<Arc<dyn PhysicalExpr>>, Error> {
    let mut reads_others = false;
    // A subquery has its value only while the whole plan runs.
    let moved = Arc::clone(expression).transform_up(|expression| {
        reads_others |= expression.is::<ScalarSubqueryExpr>();
        let Some(column) = expression.downcast_ref::<Column>() else { return Ok(Transformed::no(expression)) };
        let Some(index) = columns.get(column.index()).copied().flatten() else {
            reads_others = true;
            return Ok(Transformed::no(expression));
        };
        Ok(Transformed::yes(Arc::new(Column::new(column.name(), index)) as Arc<dyn PhysicalExpr>))
    })?;
    Ok((!reads_others).then_some(moved.data))
}
