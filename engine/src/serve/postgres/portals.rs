//! What a Postgres client prepares: statements, portals, and the rows that they have begun to send.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::execution::SendableRecordBatchStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// A statement that a client has prepared.
pub(super) struct Prepared {
    pub(super) sql: String,
    pub(super) parameters: Vec<Option<DataType>>,
    /// The columns that the client was told.
    pub(super) described: Option<SchemaRef>,
}

/// A statement with values for its parameters.
pub(super) struct Portal {
    pub(super) sql: String,
    pub(super) values: Vec<ScalarValue>,
    pub(super) formats: Vec<i16>,
    /// The columns that the client was told.
    pub(super) described: Option<SchemaRef>,
    pub(super) rows: Option<Rows>,
}

/// Rows that a portal has begun to send.
pub(super) struct Rows {
    pub(super) stream: SendableRecordBatchStream,
    pub(super) waiting: Option<(RecordBatch, usize)>,
    /// When the query has to have ended, also if the client lets it wait.
    pub(super) deadline: Instant,
    pub(super) _turn: OwnedSemaphorePermit,
}

/// The format of a column or parameter: one for all, or one for each; text if none is said.
pub(super) fn format_of(formats: &[i16], index: usize) -> i16 {
    match formats {
        [] => 0,
        [one] => *one,
        formats => formats.get(index).copied().unwrap_or(0),
    }
}

/// The type of a parameter: that of the client, or else that of the column that it is compared with, or else text.
pub(super) fn type_at(declared: &[Option<DataType>], inferred: &[Option<DataType>], index: usize) -> DataType {
    let of = |types: &[Option<DataType>]| types.get(index).cloned().flatten();
    of(declared).or_else(|| of(inferred)).unwrap_or(DataType::Utf8)
}

/// Whether two schemas have columns of the same names and types.
pub(super) fn same_columns(one: &SchemaRef, other: &SchemaRef) -> bool {
    let columns = |schema: &SchemaRef| {
        schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>()
    };
    columns(one) == columns(other)
}

/// The columns of SHOW.
pub(super) fn shown(name: &str) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(name, DataType::Utf8, false)]))
}
