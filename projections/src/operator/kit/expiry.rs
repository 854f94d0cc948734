//! Expired rows: the watermark has passed their time.
//!
//! From one flush on, all operators of a view drop changes of such rows and evict the stored ones. So no operator gets a change of a row
//! that it has evicted.

use std::sync::Arc;

use alluvium_sql::{Node, RowTime, session_state};
use arrow::array::{AsArray, BooleanArray};
use arrow::compute::{cast, not};
use arrow::datatypes::{DataType, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;

use super::columns::over_columns;
use crate::delta::Delta;
use crate::error::Error;

/// Tells which rows of one input of an operator have expired.
#[derive(Debug)]
pub(crate) struct Expiry {
    /// The time of a row of the input.
    arriving: Arc<Time>,
    /// The time of a stored row, which is a row of the input or a group of such rows.
    stored: Arc<Time>,
    /// The time up to which rows have expired (inclusive). None if none has.
    until: Option<i64>,
}

/// Computes the time of a row.
#[derive(Debug)]
struct Time {
    of_row: Arc<dyn PhysicalExpr>,
    slack: i64,
}

/// Tells which rows an operator must evict.
#[derive(Debug, Clone)]
pub(crate) struct Expired {
    time: Arc<Time>,
    until: i64,
}

impl Expiry {
    /// Creates the expiry of a node's input, if the plan has one.
    ///
    /// # Errors
    /// [`Error::Plan`] if DataFusion has no physical expression for it.
    pub(crate) fn of_input(node: &Node, input: usize) -> Result<Option<Expiry>, Error> {
        let Some(planned) = node.expiries.iter().find(|expiry| expiry.input == input) else { return Ok(None) };
        let arriving = Arc::new(Time::new(&planned.time, &node.inputs[input].schema)?);
        let stored = match &planned.groups {
            Some(groups) => Arc::new(Time::new(groups, &node.schema)?),
            None => Arc::clone(&arriving),
        };
        Ok(Some(Expiry { arriving, stored, until: None }))
    }

    /// Drops the changes of expired rows.
    pub(crate) fn without_expired(&self, deltas: Vec<Delta>) -> Result<Vec<Delta>, Error> {
        let Some(until) = self.until else { return Ok(deltas) };
        let mut kept = Vec::with_capacity(deltas.len());
        for delta in deltas {
            let stays = not(&self.arriving.passed(until, &delta.rows)?)?;
            if stays.true_count() > 0 {
                kept.push(delta.filtered(&stays)?);
            }
        }
        Ok(kept)
    }

    /// Lets the rows up to this time expire. Returns which stored rows to evict.
    pub(crate) fn advance(&mut self, until: i64) -> Expired {
        self.until = Some(until);
        Expired { time: Arc::clone(&self.stored), until }
    }
}

impl Time {
    fn new(planned: &RowTime, schema: &SchemaRef) -> Result<Time, Error> {
        let names = DFSchema::try_from(schema.as_ref().clone())?;
        Ok(Time { of_row: session_state()?.create_physical_expr(planned.time.clone(), &names)?, slack: planned.slack })
    }

    /// Returns a mask of the rows whose time plus slack is at or before `until`.
    fn passed(&self, until: i64, rows: &RecordBatch) -> Result<BooleanArray, Error> {
        let times = cast(&self.of_row.evaluate(rows)?.into_array(rows.num_rows())?, &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>();
        Ok(times.iter().map(|time| Some(time.is_some_and(|time| time.saturating_add(self.slack) <= until))).collect())
    }
}

impl Expired {
    /// Returns a mask of the rows that have expired. Their leading columns must be those of the input, or of the groups.
    ///
    /// # Errors
    /// Those of the expression that computes their time.
    pub(crate) fn of(&self, rows: &RecordBatch) -> Result<BooleanArray, Error> {
        self.time.passed(self.until, rows)
    }

    /// Returns the same for rows that have only `columns`, in this order.
    ///
    /// # Errors
    /// [`Error::Bug`] if the time depends on another column.
    pub(crate) fn over(&self, columns: &[usize]) -> Result<Expired, Error> {
        let of_row = over_columns(&self.time.of_row, columns)?;
        Ok(Expired { time: Arc::new(Time { of_row, slack: self.time.slack }), until: self.until })
    }
}
