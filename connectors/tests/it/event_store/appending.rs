//! Tests what an append stores, and what it refuses.

use alluvium_connectors::event_store::{EventStore, Expected, HeaderNames, NewEvent, StoreError, StoreOptions};
use async_nats::jetstream::{self, stream};

use super::*;

fn conflict(error: &StoreError) -> (u64, u64) {
    match error {
        StoreError::Conflict { expected, actual, .. } => (*expected, *actual),
        other => panic!("expected a conflict, found {other}"),
    }
}

#[tokio::test]
async fn versions_count_the_events_and_a_conflict_names_both() {
    for version in VERSIONS {
        let server = Server::start(version);
        let (store, other) = (store(&server).await, store(&server).await);
        assert_eq!(store.has_atomic_batches(), version == Version::Newest);
        let (one, two) = (aggregate(1), aggregate(2));

        let appended = store.append(&one, Expected::MustNotExist, &events(1..=3)).await.expect("the first events");
        assert_eq!((appended.first_version, appended.version), (1, 3));
        let error = store.append(&one, Expected::MustNotExist, &events([9])).await.expect_err("exists");
        assert_eq!(conflict(&error), (0, 3));
        assert!(error.to_string().contains("expected version 0, but the version is 3"), "{error}");
        let appended = other.append(&two, Expected::Any, &events([1])).await.expect("another aggregate");
        assert_eq!(appended.version, 1);

        // The other store has not met the aggregate, or has met an earlier version.
        let appended = other.append(&one, Expected::Version(3), &events([4])).await.expect("the next event");
        assert_eq!((appended.first_version, appended.version), (4, 4));
        let error = store.append(&one, Expected::Version(3), &events([9, 9])).await.expect_err("another writer was faster");
        assert_eq!(conflict(&error), (3, 4));
        let error = store.append(&one, Expected::Version(7), &events([9])).await.expect_err("there is no version 7");
        assert_eq!(conflict(&error), (7, 4));
        let appended = store.append(&one, Expected::Any, &events([5, 6])).await.expect("any version");
        assert_eq!((appended.first_version, appended.version), (5, 6));
        assert_eq!(store.head(&one).await.expect("a head").version, 6);
        assert_eq!(numbers(&load(&other, &one).await), [1, 2, 3, 4, 5, 6]);
        assert_eq!(numbers(&load(&store, &two).await), [1]);
    }
}

#[tokio::test]
async fn the_same_events_are_stored_once() {
    for version in VERSIONS {
        let server = Server::start(version);
        let (store, other) = (store(&server).await, store(&server).await);
        let one = aggregate(1);
        let first = events([1, 2]);
        let appended = store.append(&one, Expected::Version(0), &first).await.expect("the first time");
        assert_eq!(store.append(&one, Expected::Version(0), &first).await.expect("again"), appended);
        assert_eq!(other.append(&one, Expected::Version(0), &first).await.expect("by another process"), appended);
        // Others that share an id are others.
        let mut others = events([1, 2, 3]);
        others[0].id.clone_from(&first[0].id);
        for other in [&others[..2], &others] {
            let error = store.append(&one, Expected::Version(0), other).await.expect_err("a conflict");
            assert_eq!(conflict(&error), (0, 2));
        }
        assert_eq!(numbers(&load(&store, &one).await), [1, 2]);
        let error = store.append(&one, Expected::Version(u64::MAX), &first).await.expect_err("a conflict");
        assert_eq!(conflict(&error), (u64::MAX, 2));
    }
}

#[tokio::test]
async fn plain_clients_read_the_headers() {
    let server = Server::start(Version::Newest);
    let context = jetstream::new(async_nats::connect(server.url()).await.expect("a client"));
    let names = [
        (HeaderNames::Event, ["Event-Id", "Event-Type", "Event-Version", "Event-Correlation-Id", "Event-Causation-Id"]),
        (HeaderNames::CloudEvents, ["ce-id", "ce-type", "ce-aggregateversion", "ce-correlationid", "ce-causationid"]),
    ];
    for (header_names, expected) in names {
        let name = format!("{header_names:?}");
        let store = store_with(&server.url(), StoreOptions { header_names, ..StoreOptions::new(&name, &name) }).await;
        let mut event = NewEvent::new("order.placed", "{}");
        (event.correlation_id, event.causation_id) = (Some("c1".into()), Some("c2".into()));
        event.metadata.insert("Tenant".into(), "acme".into());
        store.append(&aggregate(1), Expected::MustNotExist, &[event.clone()]).await.expect("appended");

        let stream = context.get_stream(&name).await.expect("the stream");
        let message = stream.get_raw_message(1).await.expect("the message");
        assert_eq!(message.subject.as_str(), format!("{name}.order.1"));
        let values = expected.map(|name| message.headers.get_last(name).expect(name).as_str());
        assert_eq!(values, [event.id.as_str(), "order.placed", "1", "c1", "c2"]);
        assert_eq!(message.headers.get_last("Tenant").expect("metadata").as_str(), "acme");
        let read = load(&store, &aggregate(1)).await.remove(0);
        assert_eq!((read.id, read.metadata, read.data), (event.id, event.metadata, event.data));
        assert_eq!((read.correlation_id.as_deref(), read.causation_id.as_deref()), (Some("c1"), Some("c2")));
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refused_whole() {
    for version in VERSIONS {
        let server = Server::start(version);
        let store = store(&server).await;
        let one = aggregate(1);
        let twice = events([1, 2]).into_iter().map(|event| NewEvent { id: "same".into(), ..event }).collect();
        let large = vec![NewEvent::new("small", "1"), NewEvent::new("large", vec![b'x'; 2 << 20])];
        for refused in [Vec::new(), twice, events(0..1_001), large] {
            let error = store.append(&one, Expected::Any, &refused).await.expect_err("refused");
            assert!(matches!(error, StoreError::Config(_)), "{error}");
        }
        assert_eq!(store.append(&one, Expected::MustNotExist, &events([1])).await.expect("nothing is stored").version, 1);
        let most = store.append(&one, Expected::Version(1), &events(0..1_000)).await;
        assert_eq!(most.expect("the most").version, 1_001);
        assert_eq!(load(&store, &one).await.len(), 1_001);
    }
}

#[tokio::test]
async fn a_stream_that_loses_events_is_refused() {
    let server = Server::start(Version::Newest);
    let client = async_nats::connect(server.url()).await.expect("a client");
    let context = jetstream::new(client.clone());
    let base = || stream::Config { subjects: vec!["events.>".into()], allow_direct: true, ..stream::Config::default() };
    let unfit = [
        stream::Config { max_messages_per_subject: 5, ..base() },
        stream::Config { retention: stream::RetentionPolicy::WorkQueue, ..base() },
        stream::Config { max_age: Duration::from_secs(3_600), ..base() },
        stream::Config { max_messages: 1_000, ..base() },
        stream::Config { allow_direct: false, ..base() },
        stream::Config { no_ack: true, ..base() },
        stream::Config { subjects: vec!["events.order.>".into()], ..base() },
    ];
    for config in unfit {
        context.create_stream(stream::Config { name: "EVENTS".into(), ..config }).await.expect("a stream");
        let error = EventStore::open(client.clone(), options()).await.expect_err("unfit");
        assert!(matches!(&error, StoreError::Config(message) if message.contains("EVENTS")), "{error}");
        context.delete_stream("EVENTS").await.expect("deleted");
    }
    // Without allow_atomic, one message carries several events.
    context.create_stream(stream::Config { name: "EVENTS".into(), ..base() }).await.expect("a stream");
    let store = EventStore::open(client, options()).await.expect("fit");
    assert!(!store.has_atomic_batches());
    store.append(&aggregate(1), Expected::Any, &events([1, 2])).await.expect("appended");
    assert_eq!(numbers(&load(&store, &aggregate(1)).await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_batches_at_once_than_a_server_takes_are_all_stored() {
    for version in VERSIONS {
        let server = Server::start(version);
        let store = store(&server).await;
        let mut appends = Vec::new();
        for id in 0..200 {
            let store = store.clone();
            appends.push(tokio::spawn(async move { store.append(&aggregate(id), Expected::MustNotExist, &events(0..10)).await }));
        }
        for append in appends {
            assert_eq!(append.await.expect("a task").expect("appended").version, 10);
        }
        for id in 0..200 {
            assert_eq!(numbers(&load(&store, &aggregate(id)).await), (0..10).collect::<Vec<_>>());
        }
    }
}
