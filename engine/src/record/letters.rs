//! Up to where dead letters have been kept, so that each is kept once, whoever reads its source and however often.

use std::collections::BTreeMap;

use alluvium_connectors::Position;
use alluvium_connectors::source::SourceConfig;
use serde::{Deserialize, Serialize};

use super::Record;
use crate::error::Error;

/// Up to where the dead letters of a source, or of a view on a source, have been kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterOffset {
    /// Letters with a lower sequence have been kept.
    pub offset: u64,
    /// Of which stream: another one begins again.
    pub stream: String,
}

impl DeadLetterOffset {
    /// Letters before this position are kept.
    #[must_use]
    pub fn at(position: &Position) -> DeadLetterOffset {
        DeadLetterOffset { offset: position.offset, stream: position.identity.lineage() }
    }
}

/// What letters are counted under: their source, or a view and its fingerprint on that source.
#[must_use]
pub fn dead_letter_key(source: &str, view: Option<(&str, &str)>) -> String {
    match view {
        Some((view, fingerprint)) => format!("{source}/{view}/{fingerprint}"),
        None => source.to_owned(),
    }
}

/// Names the letters of a source as they are found with some of its columns decoded: an event can be bad in one column only.
#[must_use]
pub fn decoded_key(source: &SourceConfig) -> String {
    let columns = source.columns.iter().filter_map(|column| source.declared.fields().get(*column));
    let columns: Vec<String> = columns
        .map(|field| format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "" } else { " not null" }))
        .collect();
    format!("{}?{}", source.name, columns.join(","))
}

/// Up to where letters are kept at least, as the records of commits tell: each commit keeps those of all that it has applied. For a
/// store that has lost its own account of it, of which `known` gives what is left.
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
