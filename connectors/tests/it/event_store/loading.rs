//! Tests what a load gives, and that it never passes over a missing event.

use alluvium_connectors::event_store::{Expected, Head, StoreError};
use async_nats::jetstream;
use futures::TryStreamExt;

use super::*;

#[tokio::test]
async fn long_histories_are_read_whole_among_others() {
    for version in VERSIONS {
        let server = Server::start(version);
        let store = store(&server).await;
        let (long, short) = (aggregate("long"), aggregate("short"));
        for block in 0..30 {
            store.append(&long, Expected::Version(block * 100), &events(block * 100..block * 100 + 100)).await.expect("long");
            store.append(&short, Expected::Version(block), &events([block])).await.expect("short");
        }
        // Single messages too, since on 2.10 each block was one.
        for number in 3_000..3_100 {
            store.append(&long, Expected::Version(number), &events([number])).await.expect("long");
        }
        assert_eq!(numbers(&load(&store, &long).await), (0..3_100).collect::<Vec<_>>());
        assert_eq!(numbers(&load(&store, &short).await), (0..30).collect::<Vec<_>>());
        assert!(load(&store, &aggregate("none")).await.is_empty());
        for most in [0, 1, 99, 100, 101, 1_234, 3_099, 3_100, 9_999] {
            let read = store.load(&long, Until::Version(most)).collect().await.expect("some");
            assert_eq!(read.len() as u64, most.min(3_100));
        }
        let streamed: Vec<_> = store.load(&short, Until::End).into_stream().try_collect().await.expect("all");
        assert_eq!(streamed.len(), 30);
    }
}

#[tokio::test]
async fn a_time_selects_what_was_stored_then() {
    for version in VERSIONS {
        let server = Server::start(version);
        let store = store(&server).await;
        let one = aggregate(1);
        store.append(&one, Expected::Any, &events([1, 2])).await.expect("appended");
        store.append(&one, Expected::Any, &events([3])).await.expect("appended");
        let all = load(&store, &one).await;
        for (index, event) in all.iter().enumerate() {
            let then = store.load(&one, Until::Time(event.recorded_at)).collect().await.expect("then");
            assert!(then.len() > index && then.iter().all(|before| before.recorded_at <= event.recorded_at));
        }
        let before = all[0].recorded_at - Duration::from_nanos(1);
        assert!(store.load(&one, Until::Time(before)).collect().await.expect("before").is_empty());
        let between = all[2].recorded_at - Duration::from_nanos(1);
        assert_eq!(numbers(&store.load(&one, Until::Time(between)).collect().await.expect("between")), [1, 2]);
    }
}

#[tokio::test]
async fn missing_and_foreign_messages_are_found() {
    for version in VERSIONS {
        let server = Server::start(version);
        let store = store(&server).await;
        let client = async_nats::connect(server.url()).await.expect("a client");
        let context = jetstream::new(client);
        for (id, count, deleted) in [("few", 5_u64, 3_u64), ("many", 1_300, 1_201), ("first", 3, 1)] {
            let one = aggregate(id);
            let mut sequences = Vec::new();
            for number in 0..count {
                let appended = store.append(&one, Expected::Version(number), &events([number])).await.expect("appended");
                sequences.push(appended.sequence);
            }
            let head = Head { version: deleted, sequence: sequences[deleted as usize - 1] };
            let stream = context.get_stream("EVENTS").await.expect("the stream");
            stream.delete_message(head.sequence).await.expect("deleted");
            let mut loading = store.load(&one, Until::End);
            for version in 1..deleted {
                assert_eq!(loading.next().await.expect("before the gap").map(|event| event.version), Some(version));
            }
            match loading.next().await.expect_err("a gap") {
                StoreError::Gap { expected, found, .. } => assert_eq!((expected, found), (deleted, deleted + 1)),
                other => panic!("expected a gap, found {other}"),
            }
            let error = store.load_after(&one, head, Until::End).collect().await.expect_err("the head is gone");
            assert!(matches!(error, StoreError::Gap { .. }), "{error}");
            let after = Head { version: deleted + 1, sequence: sequences[deleted as usize] };
            let rest = store.load_after(&one, after, Until::End).collect().await.expect("what follows the gap");
            assert_eq!(rest.len() as u64, count - deleted - 1);
        }
        context.publish("events.order.plain", "{}".into()).await.expect("sent").await.expect("stored");
        let error = store.load(&aggregate("plain"), Until::End).collect().await.expect_err("not an event");
        assert!(error.to_string().contains("Event-Type"), "{error}");
    }
}
