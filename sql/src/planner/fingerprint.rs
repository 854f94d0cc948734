//! When a view has to be rebuilt: a digest of everything that decides its rows and the format of its state.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::datatypes::Field;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::LogicalPlan;
use xxhash_rust::xxh3::xxh3_128;

use crate::declarations::Source;

/// Raised when existing state can no longer be read, or when the same plan gives other rows.
const STATE_FORMAT: u32 = 5;

/// Source options that decide which events there are and how they are read, for all columns or as `option.column`. Other options
/// say how to reach the events.
const DECIDING_OPTIONS: [&str; 20] = [
    "subject",
    "format",
    "on_bad_member",
    "epoch",
    "null_text",
    "delimiter",
    "quote",
    "header",
    "envelope",
    "key",
    "op",
    "before",
    "after",
    "deleted",
    "decimals",
    "truncate",
    "deduplicate",
    "deduplicate_within",
    "message",
    "batch",
];

/// Returns the fingerprint of a view: its optimized plan, and each relation read, with its own fingerprint and the columns that
/// have to fit.
pub(crate) fn of_view<'a>(batch: &LogicalPlan, read: impl IntoIterator<Item = (&'a str, &'a str, Vec<&'a Field>)>) -> String {
    let mut text = format!("state format {STATE_FORMAT}\n{}\n", batch.display_indent_schema());
    // NULL equality decides rows but is not displayed: EXCEPT treats NULL as equal to NULL, NOT EXISTS does not.
    let _ = batch.apply_with_subqueries(|plan| {
        if let LogicalPlan::Join(join) = plan {
            let _ = writeln!(text, "{:?}", join.null_equality);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    for (name, fingerprint, columns) in read {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}: {fingerprint}");
        for column in columns {
            let _ = writeln!(text, "{} {} {}", column.name(), column.data_type(), column.is_nullable());
        }
    }
    digest(&text)
}

/// Returns the fingerprint of a source: where its events come from, not how they are reached. The plans that scan its columns cover
/// them. Of a schema in a file of its own, the content counts and not the name.
pub(crate) fn of_source(source: &Source, schema_digest: &dyn Fn(&BTreeMap<String, String>) -> Option<String>) -> String {
    let mut text = format!("{}\n{}\n", source.stored_as, source.location_without_user());
    let relative = source.stored_as != "NATS" && !source.location.starts_with(['/', '-']) && !source.location.contains("://");
    if relative && source.schema.field_with_name("_subject").is_ok() {
        text.push_str("files are named from the project's folder\n");
    }
    for (name, value) in &source.options {
        if DECIDING_OPTIONS.contains(&name.split_once('.').map_or(name.as_str(), |(option, _)| option)) {
            let _ = writeln!(text, "{name}: {value:?}");
        }
    }
    if let Some(schema) = schema_digest(&source.options) {
        let _ = writeln!(text, "schema: {schema}");
    }
    digest(&text)
}

fn digest(text: &str) -> String {
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
