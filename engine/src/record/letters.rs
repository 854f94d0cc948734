//! The offsets up to which dead letters have been kept, so that each letter is kept once, however many views read its source, and
//! however often.

use std::collections::BTreeMap;

use alluvium_connectors::Position;
use alluvium_connectors::source::SourceConfig;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::error::Error;

/// The offset up to which the dead letters of a source, of one of its columns, or of a view on it have been kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterOffset {
    /// All letters with a lower sequence have been kept.
    pub offset: u64,
    /// The stream that the offset belongs to. For another stream it does not count.
    pub stream: String,
}

impl DeadLetterOffset {
    /// The offset at a position: all letters before it are kept.
    #[must_use]
    pub fn at(position: &Position) -> DeadLetterOffset {
        DeadLetterOffset { offset: position.offset, stream: position.identity.lineage() }
    }
}

/// Returns the offsets of a stream that lie beyond its end, lowered to that end. The stream has lost its tail and will use those
/// sequences for other events, whose letters have not been kept.
#[must_use]
pub fn lowered(known: &BTreeMap<String, DeadLetterOffset>, stream: &str, end: u64) -> BTreeMap<String, DeadLetterOffset> {
    let beyond = known.iter().filter(|(_, known)| known.stream == stream && known.offset > end);
    beyond.map(|(key, known)| (key.clone(), DeadLetterOffset { offset: end, stream: known.stream.clone() })).collect()
}

/// Returns the key of letters: their source or, with `view`, the view and its fingerprint on that source.
#[must_use]
pub fn dead_letter_key(source: &str, view: Option<(&str, &str)>) -> String {
    match view {
        Some((view, fingerprint)) => format!("{source}/{view}/{fingerprint}"),
        None => source.to_owned(),
    }
}

/// Returns the key of letters about one column of a source. It includes the declared type, since another type accepts other values.
#[must_use]
pub fn column_key(source: &str, column: &str, declared: Option<&SourceConfig>) -> String {
    match declared.and_then(|declared| declared.declared.field_with_name(column).ok()) {
        Some(field) => format!("{source}?{column} {}{}", field.data_type(), if field.is_nullable() { "" } else { " not null" }),
        None => format!("{source}?{column}"),
    }
}

/// Whether a key belongs to a source: to the source itself, one of its columns or a view on it.
pub(super) fn is_of_source(key: &str, source: &str) -> bool {
    key.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// Derives from records the offsets up to which letters are kept at least: each commit keeps the letters of all events that it has
/// applied. For a store that has lost its own offsets; `known` returns those that are left.
///
/// # Errors
/// Those of `known`.
pub(super) fn kept_by(
    records: &[Record],
    known: impl Fn(&str) -> Result<Option<DeadLetterOffset>, Error>,
) -> Result<BTreeMap<String, DeadLetterOffset>, Error> {
    let mut kept: BTreeMap<String, DeadLetterOffset> = BTreeMap::new();
    let mut by_time: Vec<&Record> = records.iter().collect();
    by_time.sort_by_key(|record| record.commit.committed_ms);
    for record in by_time {
        for (source, position) in &record.positions {
            let told = DeadLetterOffset::at(position);
            let version = Some((record.view.as_str(), record.fingerprint.as_str()));
            for key in [dead_letter_key(source, None), dead_letter_key(source, version)] {
                let before = match kept.remove(&key) {
                    Some(before) => Some(before),
                    None => known(&key)?,
                };
                let farther = before.filter(|known| known.stream == told.stream && known.offset > told.offset);
                kept.insert(key, farther.unwrap_or_else(|| told.clone()));
            }
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_beyond_the_end_of_its_stream_is_lowered() {
        let at = |offset, stream: &str| DeadLetterOffset { offset, stream: stream.to_owned() };
        let known = BTreeMap::from([
            ("orders".to_owned(), at(1_501, "ORDERS 1")),
            ("orders?total".to_owned(), at(1_001, "ORDERS 1")),
            ("orders/best/f00".to_owned(), at(1_002, "ORDERS 1")),
            ("orders/old/f01".to_owned(), at(1_501, "ORDERS 0")),
        ]);
        let expected =
            BTreeMap::from([("orders".to_owned(), at(1_001, "ORDERS 1")), ("orders/best/f00".to_owned(), at(1_001, "ORDERS 1"))]);
        assert_eq!(lowered(&known, "ORDERS 1", 1_001), expected);
    }
}
