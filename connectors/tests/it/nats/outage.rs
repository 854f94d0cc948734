//! Servers that go away and come back, or do not run at first.

use alluvium_connectors::source::{Contact, Source};

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_read_on() {
    for version in VERSIONS {
        for options in [&[][..], &[("subject", "s.a")]] {
            let mut server = Server::start(version);
            let context = jetstream(&server).await;
            stream(&context).await;
            publish(&context, 1..=30_000, |_| "s.a".into()).await;
            let mut reader = source(&server, "S", options).read(Start::First).await.unwrap();
            let mut got = Got::default();
            while got.end < 10_000 {
                if let Read::Batch(batch) = next(&mut reader).await.unwrap() {
                    got.add(&batch);
                }
            }
            server.stop();
            // The reader still returns what had arrived before, until it notices that the server is gone.
            let begun = std::time::Instant::now();
            while reader.restarts() == 0 {
                assert!(begun.elapsed() < LIMIT, "the reader does not notice");
                if let Ok(read) = tokio::time::timeout(Duration::from_millis(20), reader.next()).await
                    && let Read::Batch(batch) = read.unwrap()
                {
                    got.add(&batch);
                }
            }
            server.resume();
            let context = jetstream(&server).await;
            publish(&context, 30_001..=30_100, |_| "s.a".into()).await;
            while got.end < 30_101 {
                if let Read::Batch(batch) = next(&mut reader).await.unwrap() {
                    got.add(&batch);
                }
            }
            assert_eq!(got.sequences(), (1..=30_100).collect::<Vec<_>>());
            assert!(reader.restarts() >= 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_deleted_by_others_is_made_anew() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let stream = stream(&context).await;
    let mut reader = source(&server, "S", &[]).read(Start::First).await.unwrap();
    publish(&context, 1..=10, |_| "s.a".into()).await;
    read_to(&mut reader, 11).await;
    let names: Vec<_> = futures::TryStreamExt::try_collect(stream.consumer_names()).await.unwrap();
    for name in names {
        stream.delete_consumer(&name).await.unwrap();
    }
    publish(&context, 11..=20, |_| "s.a".into()).await;
    assert_eq!(read_to(&mut reader, 21).await.sequences(), (11..=20).collect::<Vec<_>>());
    assert_eq!(reader.restarts(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_unavailable() {
    let mut server = Server::start(Version::Newest);
    server.stop();
    let source = source(&server, "S", &[("connect_timeout", "2s")]);
    for error in [source.extent().await.unwrap_err(), source.read(Start::First).await.unwrap_err()] {
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    }
    // Once the server runs, the same source reads from it.
    server.resume();
    let context = jetstream(&server).await;
    stream(&context).await;
    publish(&context, 1..=10, |_| "s.a".into()).await;
    assert_eq!(read_all(&source).await.events, 10);
}

async fn until(source: &impl Source, wanted: impl Fn(&Contact) -> bool) {
    let begun = std::time::Instant::now();
    while !wanted(&source.contact()) {
        assert!(begun.elapsed() < LIMIT, "{:?}", source.contact());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contact_is_lost_with_the_server_and_found_again() {
    for version in VERSIONS {
        let mut server = Server::start(version);
        let context = jetstream(&server).await;
        stream(&context).await;
        publish(&context, 1..=10, |_| "s.a".into()).await;
        let source = source(&server, "S", &[]);
        assert!(!Source::contact(&source).connected && !Source::contact(&source).is_lost(), "nobody has asked yet");
        let mut reader = source.read(Start::First).await.unwrap();
        read_to(&mut reader, 11).await;
        assert!(Source::contact(&source).connected);
        server.stop();
        until(&source, Contact::is_lost).await;
        let lost = Source::contact(&source);
        assert!(lost.answered.is_some() && lost.reason.is_some(), "{lost:?}");
        server.resume();
        until(&source, |contact| contact.connected).await;
        assert_eq!(Source::contact(&source).reason, None);
        publish(&jetstream(&server).await, 11..=20, |_| "s.a".into()).await;
        assert_eq!(read_to(&mut reader, 21).await.sequences(), (11..=20).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_nobody_reads_is_not_lost_for_ever() {
    let mut server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    publish(&context, 1..=10, |_| "s.a".into()).await;
    let source = source(&server, "S", &[]);
    let mut reader = source.read(Start::First).await.unwrap();
    read_to(&mut reader, 11).await;
    drop(reader);
    server.stop();
    until(&source, Contact::is_lost).await;
    server.resume();
    until(&source, |contact| !contact.is_lost()).await;
    // Nobody has looked at the stream since.
    assert!(!Source::contact(&source).connected);
    let mut reader = source.read(Start::First).await.unwrap();
    read_to(&mut reader, 11).await;
    assert!(Source::contact(&source).connected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_the_stream_no_longer_holds_is_no_lost_contact() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let held = stream(&context).await;
    publish(&context, 1..=10, |_| "s.a".into()).await;
    let source = source(&server, "S", &[]);
    let mut reader = source.read(Start::First).await.unwrap();
    let before = reader.position().clone();
    read_to(&mut reader, 11).await;
    held.purge().sequence(5).await.unwrap();
    let error = source.read(Start::At(before)).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::StreamChanged { .. }), "{error}");
    // Another reader goes on.
    assert!(source.contact().connected, "{:?}", source.contact());
}
