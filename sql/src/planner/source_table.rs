//! The rows that a source stands for, where these are not its events: of changes, the newest event of each key, where that is no deletion; of
//! events that may come more than once, the first of each. It is a query over the events like any other, so that the law speaks of events alone.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{LogicalPlan, TableSource, TableType};
use datafusion::sql::parser::DFParser;

use crate::declarations::{ChangeKind, Changes, EventId, MESSAGE_ID, Once};
use crate::names::quoted;
use crate::planner::Relation;
use crate::session::plan_query;

/// The beginning of the name of the column that holds an event's position. How far away a copy may be stands behind it.
pub(super) const AT: &str = "$at within ";

/// A table that is a query over the events of a source.
pub(super) struct SourceTable {
    schema: SchemaRef,
    plan: LogicalPlan,
}

impl SourceTable {
    /// Creates a table with the rows of a plan.
    pub(super) fn new(schema: SchemaRef, plan: LogicalPlan) -> SourceTable {
        SourceTable { schema, plan }
    }
}

impl fmt::Debug for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceTable")
    }
}

impl TableSource for SourceTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn get_logical_plan(&self) -> Option<Cow<'_, LogicalPlan>> {
        Some(Cow::Borrowed(&self.plan))
    }
}

/// The table of a relation called `name`: the relation itself, or a query over its `events`.
pub(super) fn over(
    state: &SessionState,
    name: &str,
    relation: &Relation,
    events: Arc<dyn TableSource>,
) -> Result<Arc<dyn TableSource>> {
    let (visible, query) = match (&relation.changes, &relation.once) {
        (Some(changes), _) => (changes.visible, newest(name, &relation.schema, changes)),
        (None, Some(once)) => (once.visible, first(name, &relation.schema, once)),
        (None, None) => return Ok(events),
    };
    let mut statements = DFParser::parse_sql(&query)?;
    let statement = statements.pop_front().ok_or_else(|| DataFusionError::Internal("a query of ours is empty".to_owned()))?;
    let plan = plan_query(state, statement, BTreeMap::from([(name.to_owned(), events)]))?;
    let fields: Vec<_> = relation.schema.fields().iter().take(visible).cloned().collect();
    Ok(Arc::new(SourceTable { schema: Arc::new(Schema::new(fields)), plan }))
}

/// The rows as they are now.
fn newest(name: &str, schema: &Schema, changes: &Changes) -> String {
    let column = |index: usize| quoted(schema.field(index).name());
    let list = |indexes: &mut dyn Iterator<Item = usize>| indexes.map(column).collect::<Vec<_>>().join(", ");
    let (source, sequence, kind) = (quoted(name), column(changes.sequence), column(changes.kind));
    let columns = list(&mut (0..changes.visible));
    let key = list(&mut changes.key.iter().copied());
    let [upsert, truncate] = [ChangeKind::Upsert, ChangeKind::Truncate].map(|kind| kind as i8);
    let of_keys = if changes.truncates { format!(" WHERE {kind} <> {truncate}") } else { String::new() };
    let order = changes.ordinal.map_or_else(String::new, |ordinal| format!(", {} DESC", column(ordinal)));
    let newest = format!(
        "SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY {sequence} DESC{order}) AS \"_newest\" FROM {source}{of_keys}"
    );
    let rows = format!("SELECT * FROM ({newest}) WHERE \"_newest\" = 1 AND {kind} = {upsert}");
    if !changes.truncates {
        return format!("SELECT {columns} FROM ({rows})");
    }
    let emptied = format!("SELECT coalesce(max({sequence}), 0) AS \"_emptied\" FROM {source} WHERE {kind} = {truncate}");
    format!("SELECT {columns} FROM ({rows}) WHERE {sequence} > ({emptied})")
}

/// The events that are no copies: those before which none with their identifier came, or none within some sequences.
fn first(name: &str, schema: &Schema, once: &Once) -> String {
    let column = |index: usize| quoted(schema.field(index).name());
    let columns: Vec<_> = (0..once.visible).map(column).collect();
    let id = match once.id {
        EventId::Column(index) => column(index),
        EventId::MessageId(index) => format!("{}['{MESSAGE_ID}']", column(index)),
    };
    if let Some(ordinal) = once.ordinal {
        let (columns, order) = (columns.join(", "), format!("{}, {}", column(once.sequence), column(ordinal)));
        // A header identifies the message, and so each of its events by its place.
        let same = match once.id {
            EventId::Column(_) => String::new(),
            EventId::MessageId(_) => format!(", {}", column(ordinal)),
        };
        let events = format!("SELECT *, {id} AS \"$id\" FROM {}", quoted(name));
        let placed = format!(
            "SELECT *, row_number() OVER (PARTITION BY \"$id\"{same} ORDER BY {order}) AS \"$place\" FROM ({events}) WHERE \"$id\" IS NOT NULL"
        );
        return format!(
            "SELECT {columns} FROM ({placed}) WHERE \"$place\" = 1 UNION ALL SELECT {columns} FROM ({events}) WHERE \"$id\" IS NULL"
        );
    }
    let at = quoted(&once.within.map_or_else(|| AT.to_owned(), |within| format!("{AT}{within}")));
    let events = format!("SELECT *, CAST({} AS BIGINT) AS {at}, {id} AS \"$id\" FROM {}", column(once.sequence), quoted(name));
    let before = format!("SELECT *, lag({at}) OVER (PARTITION BY \"$id\" ORDER BY {at}) AS \"$before\" FROM ({events})");
    let far = once.within.map_or_else(String::new, |within| format!(" OR {at} - \"$before\" > {within}"));
    format!("SELECT {} FROM ({before}) WHERE \"$before\" IS NULL OR \"$id\" IS NULL{far}", columns.join(", "))
}
