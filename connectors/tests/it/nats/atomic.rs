//! Messages that the server stores as one atomic batch.

use async_nats::HeaderMap;
use async_nats::jetstream::stream::Source as Origin;

use super::*;

/// Publishes a batch of events with these ids and subjects. The server of the tests stores nothing of it before the last one.
async fn publish_batch(context: &Context, batch: &str, events: &[(u64, &str)]) {
    let client = context.client();
    for (place, (id, subject)) in (1..).zip(events) {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", batch);
        headers.insert("Nats-Batch-Sequence", place.to_string().as_str());
        if place < events.len() {
            client.publish_with_headers((*subject).to_owned(), headers, body(*id).into()).await.unwrap();
            continue;
        }
        headers.insert("Nats-Batch-Commit", "1");
        let answer = client.request_with_headers((*subject).to_owned(), headers, body(*id).into()).await.unwrap();
        assert!(!String::from_utf8_lossy(&answer.payload).contains("error"), "{answer:?}");
    }
}

/// A stream with single events and batches, and the offsets within its batches.
async fn stream_of_batches(context: &Context) -> Vec<u64> {
    stream_with(context, stream::Config { allow_atomic_publish: true, ..Default::default() }).await;
    let mut inside = Vec::new();
    let mut last = 0;
    for batch in 0..20 {
        let events: Vec<(u64, &str)> = (last + 1..=last + 5).map(|id| (id, if id % 2 == 0 { "s.a" } else { "s.b" })).collect();
        publish_batch(context, &format!("batch-{batch}"), &events).await;
        inside.extend(last + 2..=last + 5);
        publish(context, last + 6..=last + 7, |_| "s.a".into()).await;
        last += 7;
    }
    inside
}

/// Reads everything in batches of at most two events.
async fn read_in_small_batches(server: &Server, stream: &str, options: &[(&str, &str)]) -> Got {
    let mut config = config(server, stream, options);
    config.limits.max_events = 2;
    read_all(&NatsSource::new(config).unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_commit_falls_into_an_atomic_batch() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let inside = stream_of_batches(&context).await;
    for options in [&[][..], &[("subject", "s.a")], &[("subject", "s.b")]] {
        let got = read_in_small_batches(&server, "S", options).await;
        if options.is_empty() {
            assert_eq!(got.ids(), (1..=140).collect::<Vec<_>>());
        }
        assert!(got.rows.len() >= 50, "{options:?}: {:?}", got.ids());
        let wrong: Vec<&u64> = got.boundaries.iter().filter(|offset| splits(&inside, &got, **offset)).collect();
        assert!(wrong.is_empty(), "{options:?}: {wrong:?}");
        assert!(got.batches > 20 && got.boundaries.len() > 8, "{options:?}: {} {:?}", got.batches, got.boundaries);
    }
}

/// Whether a commit at this offset separates events of one batch.
fn splits(inside: &[u64], got: &Got, offset: u64) -> bool {
    let batch = |sequence: u64| (1..=5).contains(&(sequence % 7)).then_some(sequence / 7);
    let before = got.sequences().into_iter().rfind(|sequence| *sequence < offset).and_then(batch);
    let after = got.sequences().into_iter().find(|sequence| *sequence >= offset).and_then(batch);
    inside.contains(&offset) && before.is_some() && before == after
}

/// If each batch of the reader were exactly full, each would end within an atomic batch.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_batch_ends_with_an_atomic_batch() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let stream = stream_with(&context, stream::Config { allow_atomic_publish: true, ..Default::default() }).await;
    publish(&context, 1..=1, |_| "s.a".into()).await;
    for pair in 1..=30 {
        publish_batch(&context, &format!("pair-{pair}"), &[(2 * pair, "s.a"), (2 * pair + 1, "s.a")]).await;
    }
    // What is stored stays as it is.
    let config = stream::Config { name: "S".into(), subjects: vec!["s.>".into()], ..Default::default() };
    drop(stream);
    context.update_stream(&config).await.unwrap();
    let got = read_in_small_batches(&server, "S", &[]).await;
    assert_eq!((got.ids(), got.boundaries.len()), ((1..=61).collect(), got.batches));
    assert!(got.boundaries.iter().all(|offset| offset.is_multiple_of(2)), "{:?}", got.boundaries);
}

/// Without a look at what the filter leaves out, no commit could fall while events arrive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_leaves_out_the_end_of_each_batch_holds_up_no_commit() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream_with(&context, stream::Config { allow_atomic_publish: true, ..Default::default() }).await;
    for batch in 0..30 {
        let ids = 4 * batch + 1..;
        let events: Vec<(u64, &str)> = ids.zip(["s.a", "s.a", "s.b", "s.b"]).collect();
        publish_batch(&context, &format!("batch-{batch}"), &events).await;
    }
    let got = read_in_small_batches(&server, "S", &[("subject", "s.a")]).await;
    assert_eq!(got.rows.len(), 60);
    assert_eq!(got.boundaries, (1..=30).map(|batch| 4 * batch + 1).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_end_was_deleted_holds_up_nothing() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let stream = stream_with(&context, stream::Config { allow_atomic_publish: true, ..Default::default() }).await;
    publish_batch(&context, "one", &[(1, "s.a"), (2, "s.a"), (3, "s.a")]).await;
    stream.delete_message(3).await.unwrap();
    let source = source(&server, "S", &[]);
    let mut reader = source.read(Start::First).await.unwrap();
    let got = read_to(&mut reader, 4).await;
    assert_eq!((got.ids().as_slice(), got.boundaries.last()), (&[1, 2][..], Some(&4)));
    publish(&context, 4..=4, |_| "s.a".into()).await;
    assert_eq!(read_to(&mut reader, 5).await.boundaries, [5]);
}

/// A server that knows no atomic batches stores their headers like all others. A mirror may hold a batch whose end its origin has lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_stays_without_its_end_is_read_as_it_is() {
    let server = Server::start(Version::Oldest);
    let context = jetstream(&server).await;
    stream(&context).await;
    let origin = Origin { name: "S".into(), ..Default::default() };
    context.create_stream(stream::Config { name: "M".into(), mirror: Some(origin), ..Default::default() }).await.unwrap();
    publish(&context, 1..=1, |_| "s.a".into()).await;
    let mut reader = source(&server, "M", &[]).read(Start::First).await.unwrap();
    assert_eq!(read_to(&mut reader, 2).await.boundaries, [2]);
    for place in ["1", "2"] {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", "torn");
        headers.insert("Nats-Batch-Sequence", place);
        context.publish_with_headers("s.a", headers, body(7).into()).await.unwrap().await.unwrap();
    }
    // It has caught up, so that a commit may follow, though the last batch allows none.
    let got = read_to(&mut reader, 4).await;
    assert_eq!((got.sequences(), got.boundaries.as_slice()), (vec![2, 3], &[][..]));
    publish(&context, 4..=4, |_| "s.a".into()).await;
    assert_eq!(read_to(&mut reader, 5).await.boundaries, [5]);
}
