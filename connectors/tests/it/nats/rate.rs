//! Compares the speed of the reader with that of a bare client that discards its messages. Prints the result; fails only if events are
//! missing.

use std::time::Instant;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use futures::StreamExt;

use super::*;

/// The number of events to read. Set `ALLUVIUM_RATE_EVENTS` to a larger number for meaningful figures.
const EVENTS: u64 = 50_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_beside_a_bare_client() {
    let events = std::env::var("ALLUVIUM_RATE_EVENTS").map_or(EVENTS, |text| text.parse().expect("a number of events"));
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let stream = stream(&context).await;
    publish(&context, 1..=events, |_| "s.a".into()).await;
    let mut config = config(&server, "S", &[]);
    config.columns = vec![0, 1, 2];
    config.limits = BatchLimits::default();
    let source = NatsSource::new(config).unwrap();
    for round in 1..=3 {
        let bare = bare(&server, events).await;
        let begun = Instant::now();
        let mut reader = source.read(Start::First).await.unwrap();
        let (mut read, mut batches) = (0, 0);
        while read < events {
            if let Read::Batch(batch) = next(&mut reader).await.unwrap() {
                assert_eq!(batch.start, read + 1);
                read += batch.rows.num_rows() as u64;
                batches += 1;
            }
        }
        let ours = events as f64 / begun.elapsed().as_secs_f64();
        assert_eq!((read, reader.restarts()), (events, 0));
        println!("round {round}: bare {bare:.0}/s, decoded {ours:.0}/s in {batches} batches, ratio {:.2}", ours / bare);
    }
    drop(stream);
}

async fn bare(server: &Server, events: u64) -> f64 {
    let client = async_nats::ConnectOptions::new().subscription_capacity(80_000).connect(server.url()).await.unwrap();
    let stream = jetstream::new(client).get_stream("S").await.unwrap();
    let config = pull::Config { ack_policy: AckPolicy::None, memory_storage: true, ..Default::default() };
    let begun = Instant::now();
    let consumer = stream.create_consumer(config).await.unwrap();
    let mut messages =
        consumer.stream().max_messages_per_batch(20_000).heartbeat(Duration::from_secs(5)).messages().await.unwrap();
    for _ in 0..events {
        messages.next().await.unwrap().unwrap();
    }
    events as f64 / begun.elapsed().as_secs_f64()
}
