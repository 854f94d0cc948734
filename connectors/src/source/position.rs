//! How far a source has been read, and how to recognize it as the same source.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

/// The offset of each partition of a source, and the source's identity. Recorded in checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next sequence to read of partition 0. The first event of a partition has sequence 1.
    pub offset: u64,
    /// The next sequence to read of every other partition that has been read, by partition number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<u32, u64>,
    /// Identifies the source, and the last event that was read from it.
    pub identity: Identity,
}

impl Position {
    /// Creates a position in a source with one partition.
    #[must_use]
    pub fn new(offset: u64, identity: Identity) -> Position {
        Position { offset, partitions: BTreeMap::new(), identity }
    }

    /// Returns the next sequence to read of a partition; 1 if nothing of it has been read.
    #[must_use]
    pub fn offset_of(&self, partition: u32) -> u64 {
        match partition {
            0 => self.offset,
            other => self.partitions.get(&other).copied().unwrap_or(1),
        }
    }

    /// Checks whether every partition has been read at least as far as in `other`. Does not compare identities.
    #[must_use]
    pub fn reaches(&self, other: &Position) -> bool {
        self.offset >= other.offset && other.partitions.iter().all(|(partition, offset)| self.offset_of(*partition) >= *offset)
    }

    /// Returns the sum of all offsets as a measure of progress.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.offset + self.partitions.values().sum::<u64>()
    }
}

/// What a checkpoint stores to recognize a source. Only the kind of source that created it interprets it.
///
/// It is a JSON object. Its member `kind` names the kind of source. The members `stream` and `created`, if present, identify the source.
/// All others describe the position in the source's own terms, and may differ between two positions in the same source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    kind: String,
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl Identity {
    /// Creates an identity for a kind of source, with the members of `content`.
    ///
    /// # Errors
    /// [`Error::Bug`] if `content` does not serialize as a JSON object.
    pub fn new<T: Serialize>(kind: &str, content: &T) -> Result<Identity, Error> {
        match serde_json::to_value(content) {
            Ok(Value::Object(members)) => Ok(Identity { kind: kind.to_owned(), members }),
            Ok(other) => Err(Error::Bug(format!("the identity of a source of kind {kind} is no object: {other}"))),
            Err(error) => Err(Error::Bug(format!("the identity of a source of kind {kind}: {error}"))),
        }
    }

    /// Returns the kind of source, as in records: `nats`, `file`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the content that was passed to [`Identity::new`]. Returns `None` if another kind of source created it or it cannot be
    /// parsed.
    #[must_use]
    pub fn content<T: DeserializeOwned>(&self, kind: &str) -> Option<T> {
        if self.kind != kind {
            return None;
        }
        serde_json::from_value(Value::Object(self.members.clone())).ok()
    }

    /// Checks whether both belong to the same source, as far as can be told without comparing events.
    #[must_use]
    pub fn same_source(&self, other: &Identity) -> bool {
        let same = |member| self.members.get(member) == other.members.get(member);
        self.kind == other.kind && same("stream") && same("created")
    }

    /// Returns a name of the source that is the same for all identities of [`Identity::same_source`].
    #[must_use]
    pub fn lineage(&self) -> String {
        let member = |name| self.members.get(name).and_then(Value::as_str);
        match (member("stream"), member("created")) {
            (Some(stream), Some(created)) => format!("{stream} {created}"),
            (Some(stream), None) => stream.to_owned(),
            _ => self.kind.clone(),
        }
    }
}

/// The last event read. Compared with the source's current event at its sequence, to notice a source that was recreated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEvent {
    /// Its sequence.
    pub sequence: u64,
    /// Its time in nanoseconds since the epoch; 0 for files.
    pub timestamp_ns: i64,
    /// The xxh3-64 hash of its payload.
    pub payload_hash: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// Positions as the first release recorded them.
    const RECORDED: [&str; 4] = [
        r#"{"offset":42,"identity":{"kind":"nats","stream":"ORDERS","created":"2026-11-01T00:00:00.000000001Z","last":{"sequence":41,"timestamp_ns":1793491200000000001,"payload_hash":18446744073709551615}}}"#,
        r#"{"offset":1,"identity":{"kind":"nats","stream":"ORDERS","created":"2026-11-01T00:00:00.000000001Z","last":null}}"#,
        r#"{"offset":7,"identity":{"kind":"file","file":"a.jsonl","byte":120,"lines_before":3,"last":{"sequence":6,"timestamp_ns":0,"payload_hash":9}}}"#,
        r#"{"offset":1,"identity":{"kind":"file","file":null,"byte":0,"lines_before":0,"last":null}}"#,
    ];

    fn read(json: &str) -> Position {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn positions_of_the_first_release_are_read_and_written_alike() {
        for json in RECORDED {
            let written = serde_json::to_value(read(json)).unwrap();
            assert_eq!(written, serde_json::from_str::<Value>(json).unwrap());
        }
    }

    #[test]
    fn a_source_is_known_by_its_stream_and_creation_time() {
        let [nats, unread, file, no_file] = RECORDED.map(|json| read(json).identity);
        assert!(nats.same_source(&unread) && file.same_source(&no_file) && !nats.same_source(&file));
        assert_eq!(nats.lineage(), "ORDERS 2026-11-01T00:00:00.000000001Z");
        assert_eq!(file.lineage(), "file");
        for (from, to) in [("ORDERS", "OTHERS"), ("000000001Z", "000000002Z")] {
            let other = read(&RECORDED[0].replace(from, to)).identity;
            assert!(!nats.same_source(&other) && nats.lineage() != other.lineage());
        }
    }

    #[test]
    fn positions_are_compared_by_partition() {
        let position = |offset, partitions: &[(u32, u64)]| Position {
            partitions: partitions.iter().copied().collect(),
            ..Position::new(offset, read(RECORDED[3]).identity)
        };
        assert!(position(5, &[]).reaches(&position(5, &[])) && !position(4, &[]).reaches(&position(5, &[])));
        assert!(position(5, &[(1, 3)]).reaches(&position(5, &[])));
        assert!(!position(9, &[(1, 3)]).reaches(&position(5, &[(1, 4)])));
        assert!(position(9, &[]).reaches(&position(5, &[(1, 1)])), "a partition that was not read stands at 1");
        let json = serde_json::to_value(position(5, &[(1, 3)])).unwrap();
        assert_eq!(serde_json::from_value::<Position>(json).unwrap(), position(5, &[(1, 3)]));
        assert_eq!(position(5, &[(1, 3)]).progress(), 8);
    }
}
