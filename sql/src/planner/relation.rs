//! What a query can read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::fingerprint;
use crate::declarations::{Changes, Once, Source, Watermark};
use crate::plan::{Node, Op, RelationKind, ViewPlan};

/// A relation that a query can read: a source, or a view that has been planned already.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) kind: RelationKind,
    pub(crate) schema: SchemaRef,
    /// Of a source: its events are changes of rows, and it stands for the rows as they are now.
    pub(crate) changes: Option<Changes>,
    /// Of a source: its events may come more than once, and it stands for the first of each.
    pub(crate) once: Option<Once>,
    /// Of a source: its messages may hold several events, which share a sequence.
    pub(crate) batches: bool,
    pub(crate) retracts: bool,
    pub(crate) key: Option<Vec<usize>>,
    /// Whether its rows come in the order of one source's events.
    pub(crate) by_arrival: bool,
    /// The watermark, of a source that declares one.
    pub(crate) watermark: Option<Watermark>,
    /// The sources with a watermark that its rows come from.
    pub(crate) timed: BTreeSet<String>,
    /// Changes whenever the relation's rows may change.
    pub(crate) fingerprint: String,
}

impl Relation {
    pub(crate) fn of_source(source: &Source, schema_digest: &dyn Fn(&BTreeMap<String, String>) -> Option<String>) -> Relation {
        Relation {
            kind: RelationKind::Source,
            schema: Arc::clone(&source.schema),
            changes: source.changes.clone(),
            once: source.once.clone(),
            batches: source.batches,
            retracts: false,
            key: None,
            by_arrival: true,
            watermark: source.watermark,
            timed: source.watermark.iter().map(|_| source.name.clone()).collect(),
            fingerprint: fingerprint::of_source(source, schema_digest),
        }
    }

    /// Returns the relation of rows with a schema and nothing else that is known of them.
    pub(crate) fn of_rows(schema: SchemaRef, retracts: bool) -> Relation {
        Relation {
            kind: RelationKind::View,
            schema,
            changes: None,
            once: None,
            batches: false,
            retracts,
            key: None,
            by_arrival: false,
            watermark: None,
            timed: BTreeSet::new(),
            fingerprint: String::new(),
        }
    }

    /// Returns the columns that tell the events of a source apart, and in which they rise.
    pub(crate) fn order_of_events(&self) -> &'static [&'static str] {
        if self.batches { &["_sequence", "_ordinal"] } else { &["_sequence"] }
    }

    /// Returns the relation with all columns nullable.
    pub(crate) fn with_nullable_columns(self) -> Relation {
        let fields: Vec<_> = self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        Relation { schema: Arc::new(Schema::new(fields)), ..self }
    }

    /// Returns the relation of a view that reads `relations`.
    pub(crate) fn of_view(plan: &ViewPlan, timed: BTreeSet<String>, relations: &BTreeMap<String, Relation>) -> Relation {
        Relation {
            kind: RelationKind::View,
            schema: Arc::clone(&plan.schema),
            changes: None,
            once: None,
            batches: false,
            retracts: plan.root.retracts,
            key: plan.root.key.clone(),
            by_arrival: by_arrival(&plan.root, relations),
            watermark: None,
            timed,
            fingerprint: plan.fingerprint.clone(),
        }
    }
}

/// Checks whether a view emits rows in the order of one source's events: the rows of such a relation, filtered and projected.
fn by_arrival(node: &Node, relations: &BTreeMap<String, Relation>) -> bool {
    match (&node.op, node.inputs.as_slice()) {
        (Op::Scan { relation, .. }, _) => relations.get(relation).is_some_and(|relation| relation.by_arrival),
        (Op::Linear { .. }, [input]) => by_arrival(input, relations),
        _ => false,
    }
}
