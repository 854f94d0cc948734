//! Rows that have expired: the watermark has passed their time.
//!
//! They are kept out of what arrives and evicted from what is stored, in the same flush for all operators of a view. So no operator is
//! given a change of a row that it has evicted.

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

/// Which rows of one input of an operator have expired.
#[derive(Debug)]
pub(crate) struct Expiry {
    /// Over the rows of the input.
    arriving: Arc<Time>,
    /// Over the rows as they are stored: those of the input, or groups of them.
    stored: Arc<Time>,
    /// The time up to which rows have expired; none before any has.
    until: Option<i64>,
}

/// The time of each row.
#[derive(Debug)]
struct Time {
    of_row: Arc<dyn PhysicalExpr>,
    slack: i64,
}

/// The rows that an operator has to evict.
#[derive(Debug, Clone)]
pub(crate) struct Expired {
    time: Arc<Time>,
    until: i64,
}

impl Expiry {
    /// That of an input of a node, where the plan has one.
    ///
    /// # Errors
    /// [`Error::Plan`] where DataFusion has no physical expression for it.
    pub(crate) fn of_input(node: &Node, input: usize) -> Result<Option<Expiry>, Error> {
        let Some(planned) = node.expiries.iter().find(|expiry| expiry.input == input) else { return Ok(None) };
        let arriving = Arc::new(Time::new(&planned.time, &node.inputs[input].schema)?);
        let stored = match &planned.groups {
            Some(groups) => Arc::new(Time::new(groups, &node.schema)?),
            None => Arc::clone(&arriving),
        };
        Ok(Some(Expiry { arriving, stored, until: None }))
    }

    /// The changes without those of rows that have expired.
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

    /// From now on rows up to this time have expired.
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

    /// Which rows have a time up to `until`.
    fn passed(&self, until: i64, rows: &RecordBatch) -> Result<BooleanArray, Error> {
        let times = cast(&self.of_row.evaluate(rows)?.into_array(rows.num_rows())?, &DataType::Int64)?;
        let times = times.as_primitive::<Int64Type>();
        Ok(times.iter().map(|time| Some(time.is_some_and(|time| time.saturating_add(self.slack) <= until))).collect())
    }
}

impl Expired {
    /// Which of some rows have expired. They have the columns of the input, or of the groups, at the front.
    ///
    /// # Errors
    /// Those of the expression that gives their time.
    pub(crate) fn of(&self, rows: &RecordBatch) -> Result<BooleanArray, Error> {
        self.time.passed(self.until, rows)
    }

    /// The same for rows that have only some of the columns, in this order.
    ///
    /// # Errors
    /// [`Error::Bug`] where one that is needed is not among them.
    pub(crate) fn over(&self, columns: &[usize]) -> Result<Expired, Error> {
        let of_row = over_columns(&self.time.of_row, columns)?;
        Ok(Expired { time: Arc::new(Time { of_row, slack: self.time.slack }), until: self.until })
    }
}
