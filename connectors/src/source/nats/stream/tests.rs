//! Comparing positions with streams, and deleted sequences.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn facts(created: &str, first: u64, end: u64) -> Facts {
    Facts {
        created: created.into(),
        extent: Extent { first, end },
        mean_bytes: 0,
        max_inactive: None,
        only_overwritten: false,
        retention: RetentionPolicy::Limits,
    }
}

fn event(sequence: u64, payload_hash: u64) -> LastEvent {
    LastEvent { sequence, timestamp_ns: 5, payload_hash }
}

fn position(offset: u64) -> StreamPosition {
    StreamPosition { offset, stream: "S".into(), created: "t0".into(), last: Some(event(offset - 1, 7)), seen: None }
}

#[test]
fn the_same_stream_passes() {
    judge("S", &position(10), &facts("t0", 1, 10), Some(&event(9, 7))).unwrap();
    judge("S", &position(10), &facts("t0", 1, 50), Some(&event(9, 7))).unwrap();
    // Events that were read have expired.
    judge("S", &position(10), &facts("t0", 10, 50), None).unwrap();
    judge("S", &position(10), &facts("t0", 10, 10), None).unwrap();
}

#[test]
fn another_stream_does_not() {
    let refused = |facts: Facts, found: Option<LastEvent>, words: &str| {
        let message = judge("S", &position(10), &facts, found.as_ref()).unwrap_err();
        assert!(message.contains(words), "{message}");
    };
    refused(facts("t1", 1, 10), Some(event(9, 7)), "was recreated");
    refused(facts("t0", 1, 9), None, "lost its end");
    refused(facts("t0", 1, 20), Some(event(9, 8)), "another event");
    let other_time = LastEvent { timestamp_ns: 6, ..event(9, 7) };
    refused(facts("t0", 1, 20), Some(other_time), "another event");
    assert!(judge("T", &position(10), &facts("t0", 1, 20), None).unwrap_err().contains("stream S"));
}

#[test]
fn holes_cover_ranges() {
    let mut holes = Holes::default();
    assert!(!holes.cover(&(1..2)));
    holes.replace(vec![9, 3, 4, 5, 8]);
    assert!(holes.cover(&(3..6)) && holes.cover(&(4..5)) && holes.cover(&(8..10)));
    assert_eq!(holes.first_not_in(&(3..9)), Some(6));
    assert_eq!(holes.first_not_in(&(2..4)), Some(2));
    assert_eq!(holes.first_not_in(&(9..11)), Some(10));
    assert_eq!(holes.first_not_in(&(10..11)), Some(10));
}

#[test]
fn patterns_overlap_where_a_subject_matches_both() {
    for (one, other) in [("orders.>", "orders.placed"), ("*.placed", "orders.*"), ("a.*.c", "a.b.>"), (">", "x"), ("a", "a")] {
        assert!(overlap(one, other) && overlap(other, one), "{one} {other}");
    }
    for (one, other) in [("orders.>", "orders"), ("orders.>", "order.>"), ("a.*", "a.b.c"), ("a.b", "a.c"), ("*", "a.b")] {
        assert!(!overlap(one, other) && !overlap(other, one), "{one} {other}");
    }
}
