//! Messages of any bytes, subjects and headers among good ones.

use async_nats::HeaderMap;
use fastrand::Rng;

use super::*;
use crate::mutations::{self, mutate, seed};

/// How many messages are mutated where nothing else is said.
const MUTATIONS: u64 = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutated_messages_cost_no_good_event() {
    let mut rng = Rng::with_seed(seed());
    let count = mutations::count("ALLUVIUM_MUTATED_MESSAGES", MUTATIONS) * 4 / 3;
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    let client = context.client();
    let mut good = Vec::new();
    let mut open = std::collections::VecDeque::new();
    for id in 1..=count {
        let mut payload = body(id).into_bytes();
        let mut headers = HeaderMap::new();
        let mut subject = "s.good".to_owned();
        if id % 4 == 0 {
            good.push(id);
        } else {
            mutate(&mut payload, &mut rng);
            subject = format!("s.{}", ["bad", "a.b.c", "\u{e9}", "x-y_z", "$KV", "0"][rng.usize(..6)]);
            // Some that the server or the reader may read a meaning into.
            let name = ["Trace", "Nats-Marker", "KV-Operations", "Nats-Last", "X", "Nats-Msg-Id"][rng.usize(..6)];
            let value = ["", "a b", "DEL", "\u{e9}\u{1F600}", "0"][rng.usize(..5)];
            headers.append(name, if name == "Nats-Msg-Id" { format!("m-{id}") } else { value.to_owned() }.as_str());
            if rng.bool() {
                headers.append(name, "twice");
            }
        }
        let publish = context.publish_with_headers(subject, headers, payload.into()).await.expect("published");
        open.push_back(publish.into_future());
        if open.len() >= 1_000 {
            open.pop_front().expect("one").await.expect("stored");
        }
    }
    for acknowledgement in open {
        acknowledgement.await.expect("stored");
    }
    client.flush().await.expect("flushed");
    let got = read_all(&source(&server, "S", &[])).await;
    assert_eq!((got.events, got.end), (count, count + 1));
    let rows: std::collections::BTreeMap<u64, i64> = got.rows.iter().copied().collect();
    for id in good {
        assert_eq!(rows.get(&id), Some(&(id as i64)), "the good event {id}");
    }
    println!("{} rows, {} dead letters", got.rows.len(), got.dead.len());
    assert!(!got.dead.is_empty());
}
