//! A source whose messages may hold several events. These share the message's sequence, and the column `_ordinal` tells them apart. What the
//! options mean for a message is the connectors' to say.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};

/// The column that holds the place of an event in its message.
pub(crate) const ORDINAL: &str = "_ordinal";

/// Whether a message of a source may hold several events.
pub(crate) fn are_declared(stored_as: &str, options: &BTreeMap<String, String>) -> bool {
    let format = options.get("format").map(|format| format.to_ascii_lowercase());
    let of_stream = stored_as.eq_ignore_ascii_case("NATS");
    options.contains_key("batch") || of_stream && matches!(format.as_deref(), Some("arrow" | "cloudevents"))
}

/// Returns the index of the column `_ordinal`. Adds the column if it is not declared.
pub(crate) fn ordinal(fields: &mut Vec<Field>) -> usize {
    fields.iter().position(|field| field.name() == ORDINAL).unwrap_or_else(|| {
        fields.push(Field::new(ORDINAL, DataType::UInt32, false));
        fields.len() - 1
    })
}
