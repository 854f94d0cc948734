//! How far a source has been read, and what proves that it is still the source that was read.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Error;

/// The offset of each partition of a source, and the source's identity. Recorded in checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next sequence to read of partition 0 (exclusive end of what has been read): all there is to say of a source with one
    /// partition. The first event of a partition has sequence 1.
    pub offset: u64,
    /// The same of every other partition that has been read, by its number.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub partitions: BTreeMap<u32, u64>,
    /// Which source this is, and the last event that was read from it.
    pub identity: Identity,
}

impl Position {
    /// A position in a source with one partition.
    #[must_use]
    pub fn new(offset: u64, identity: Identity) -> Position {
        Position { offset, partitions: BTreeMap::new(), identity }
    }

    /// The next sequence to read of a partition; 1 where nothing of it has been read.
    #[must_use]
    pub fn offset_of(&self, partition: u32) -> u64 {
        match partition {
            0 => self.offset,
            other => self.partitions.get(&other).copied().unwrap_or(1),
        }
    }

    /// Whether every partition has been read at least as far as in `other`. Says nothing of identities.
    #[must_use]
    pub fn reaches(&self, other: &Position) -> bool {
        self.offset >= other.offset && other.partitions.iter().all(|(partition, offset)| self.offset_of(*partition) >= *offset)
    }

    /// The sum of all offsets, as a measure of progress: the offset, where there is one partition.
    #[must_use]
    pub fn progress(&self) -> u64 {
        self.offset + self.partitions.values().sum::<u64>()
    }
}

/// What a checkpoint keeps of a source to know it again. Opaque to all but the kind of source that made it.
///
/// It is a JSON object. Its member `kind` names the kind of source. The members `stream` and `created`, where they exist, say which
/// source it is. All others say how far it was read, in the source's own terms, and may differ between two positions in one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    kind: String,
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl Identity {
    /// An identity of a kind of source, with the members of `content`.
    ///
    /// # Errors
    /// [`Error::Bug`] where `content` does not serialize as a JSON object.
    pub fn new<T: Serialize>(kind: &str, content: &T) -> Result<Identity, Error> {
        match serde_json::to_value(content) {
            Ok(Value::Object(members)) => Ok(Identity { kind: kind.to_owned(), members }),
            Ok(other) => Err(Error::Bug(format!("the identity of a source of kind {kind} is no object: {other}"))),
            Err(error) => Err(Error::Bug(format!("the identity of a source of kind {kind}: {error}"))),
        }
    }

    /// The kind of source, as its records name it: `nats`, `file`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The content, as [`Identity::new`] was given it; none where another kind of source made it or it cannot be read.
    #[must_use]
    pub fn content<T: DeserializeOwned>(&self, kind: &str) -> Option<T> {
        if self.kind != kind {
            return None;
        }
        serde_json::from_value(Value::Object(self.members.clone())).ok()
    }

    /// Whether both are of one source, as far as can be told without looking at events.
    #[must_use]
    pub fn same_source(&self, other: &Identity) -> bool {
        let same = |member| self.members.get(member) == other.members.get(member);
        self.kind == other.kind && same("stream") && same("created")
    }

    /// A name of the source that stays the same for as long as [`Identity::same_source`] holds.
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

/// The last event read: compared with what the source holds there now, to notice a source that was made anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastEvent {
    /// Its sequence.
    pub sequence: u64,
    /// Its time, nanoseconds since the epoch; 0 for files.
    pub timestamp_ns: i64,
    /// xxh3-64 of its payload.
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
