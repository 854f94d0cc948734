//! Reads records in the present form and in that of the first release, which kept the parts of a view in the record itself.

use std::collections::BTreeMap;

use alluvium_connectors::Position;
use alluvium_connectors::sink::parquet::{Part, PartLayout, token_of};
use alluvium_connectors::sink::{CommitFacts, Size, Token};
use serde::Deserialize;

use super::{Definition, Record, TableRecord, Tally};

/// The members of both forms.
#[derive(Deserialize)]
pub(super) struct StoredRecord {
    format: u32,
    view: String,
    epoch: u64,
    incarnation: String,
    fingerprint: String,
    positions: BTreeMap<String, Position>,
    state: Vec<TableRecord>,
    snapshot: StoredSnapshot,
    sink: Option<Token>,
    size: Option<Size>,
    layout: Option<PartLayout>,
    dead_letters: Vec<String>,
    #[serde(default)]
    tallies: BTreeMap<String, Tally>,
    definition: Option<Definition>,
}

#[derive(Deserialize)]
struct StoredSnapshot {
    #[serde(flatten)]
    commit: CommitFacts,
    #[serde(default)]
    parts: Vec<Part>,
}

impl TryFrom<StoredRecord> for Record {
    type Error = String;

    fn try_from(stored: StoredRecord) -> Result<Record, String> {
        let (sink, size) = match (stored.sink, stored.size, stored.layout) {
            (Some(sink), Some(size), _) => (sink, size),
            (None, _, Some(layout)) => token_of(layout, stored.snapshot.parts).map_err(|error| error.to_string())?,
            _ => return Err("it does not say what its sink holds".into()),
        };
        Ok(Record {
            format: stored.format,
            view: stored.view,
            epoch: stored.epoch,
            incarnation: stored.incarnation,
            fingerprint: stored.fingerprint,
            positions: stored.positions,
            state: stored.state,
            commit: stored.snapshot.commit,
            sink,
            size,
            dead_letters: stored.dead_letters,
            tallies: stored.tallies,
            definition: stored.definition,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// A record as the first release wrote it.
    const FIRST: &str = r#"{"format":1,"view":"revenue","epoch":7,"incarnation":"ab12-17","fingerprint":"ab12cd",
        "positions":{"orders":{"offset":42,"identity":{"kind":"nats","stream":"ORDERS","created":"2026-11-01T00:00:00.000000001Z",
            "last":{"sequence":41,"timestamp_ns":1793491200000000001,"payload_hash":18446744073709551615}}}},
        "state":[{"table":"0","files":["7.arrow"],"checksums":[9],"batches":[[3,0,0]]}],
        "layout":{"kind":"hashed","columns":[0]},
        "snapshot":{"view":"revenue","epoch":7,
            "parts":[{"file":"0000000007-a-0.parquet","rows":5,"bytes":900,"prefix":0,"bits":1},
                     {"file":"0000000006-a-1.parquet","rows":4,"bytes":800,"prefix":1,"bits":1}],
            "offsets":{"orders":42},"fingerprint":"ab12cd","committed_ms":1793491200123,"committed_with":["revenue"]},
        "dead_letters":["orders-1-2-ff.parquet"]}"#;

    #[test]
    fn a_record_of_the_first_release_is_read() {
        let record: Record = serde_json::from_str(FIRST).unwrap();
        assert_eq!(record.size, Size { rows: 9, parts: 2, bytes: 1_700 });
        assert_eq!(record.positions["orders"].offset, 42);
        assert_eq!((record.commit.committed_ms, record.commit.offsets["orders"]), (1_793_491_200_123, 42));
        let first: serde_json::Value = serde_json::from_str(FIRST).unwrap();
        let token: serde_json::Value = record.sink.content().unwrap();
        assert_eq!((&token["layout"], &token["parts"]), (&first["layout"], &first["snapshot"]["parts"]));
        let again: Record = serde_json::from_str(&serde_json::to_string(&record).unwrap()).unwrap();
        assert_eq!(again, record);
    }

    #[test]
    fn a_record_without_a_sink_is_refused() {
        let json = FIRST.replace("\"layout\"", "\"other\"");
        assert!(serde_json::from_str::<Record>(&json).unwrap_err().to_string().contains("sink"));
    }
}
