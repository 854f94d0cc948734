//! Tests many writers at once, with the server killed under them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use alluvium_connectors::event_store::{Expected, StoreError};

use super::*;

const WRITERS: u64 = 32;
const AGGREGATES: usize = 100;
/// How long the writers write.
const DURATION: Duration = Duration::from_secs(6);
/// How often the server is killed meanwhile.
const KILLS: u32 = 3;

/// One writer: appends one to three events to an aggregate at the version that it believes it has. Returns what was acknowledged.
async fn write(url: String, writer: u64, stop: Arc<AtomicBool>, written: Arc<AtomicU64>) -> (Vec<(usize, u64, String)>, u64) {
    let store = store_with(&url, StoreOptions { request_timeout: Duration::from_millis(500), ..options() }).await;
    let mut random = fastrand::Rng::with_seed(writer);
    let (mut versions, mut accepted, mut conflicts) = ([0_u64; AGGREGATES], Vec::new(), 0);
    while !stop.load(Ordering::Acquire) {
        let index = random.usize(..AGGREGATES);
        let new = events(0..random.u64(1..=3));
        match store.append(&aggregate(index), Expected::Version(versions[index]), &new).await {
            Ok(appended) => {
                assert_eq!(appended.first_version, versions[index] + 1);
                versions[index] = appended.version;
                written.fetch_add(1, Ordering::Relaxed);
                accepted.extend((appended.first_version..).zip(new).map(|(version, event)| (index, version, event.id)));
            }
            Err(StoreError::Conflict { expected, actual, .. }) => {
                assert!(expected == versions[index] && actual != expected);
                versions[index] = actual;
                conflicts += 1;
            }
            // The request that asks for the version, while the server is away.
            Err(StoreError::Unavailable { .. }) => tokio::time::sleep(Duration::from_millis(20)).await,
            Err(other) => panic!("writer {writer}: {other}"),
        }
    }
    (accepted, conflicts)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_version_is_missing_or_doubled_and_no_accepted_event_is_lost() {
    for version in VERSIONS {
        let mut server = Server::start_with(version, "");
        let first = store(&server).await;
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let writing = |writer| tokio::spawn(write(server.url(), writer, Arc::clone(&stop), Arc::clone(&written)));
        let writers: Vec<_> = (0..WRITERS).map(writing).collect();
        let begun = Instant::now();
        for kill in 1..=KILLS {
            // Some appends, then a kill in the middle of others.
            let before = written.load(Ordering::Relaxed);
            while written.load(Ordering::Relaxed) < before + 200 || begun.elapsed() < DURATION * kill / (KILLS + 1) {
                tokio::time::sleep(Duration::from_millis(5)).await;
                assert!(begun.elapsed() < Duration::from_secs(120), "the writers write");
            }
            server.stop();
            server.resume();
        }
        tokio::time::sleep(DURATION.saturating_sub(begun.elapsed())).await;
        stop.store(true, Ordering::Release);

        let mut accepted = BTreeMap::new();
        let mut conflicts = 0;
        for writer in writers {
            let (of_writer, conflicts_of_writer) = writer.await.expect("a writer");
            conflicts += conflicts_of_writer;
            for (index, version, id) in of_writer {
                assert!(accepted.insert((index, version), id).is_none(), "version {version} of {index} was given twice");
            }
        }
        let mut stored = 0;
        for index in 0..AGGREGATES {
            for event in load(&first, &aggregate(index)).await {
                stored += 1;
                let id = accepted.remove(&(index, event.version));
                assert_eq!(id.as_deref(), Some(event.id.as_str()), "version {} of {index}", event.version);
            }
        }
        assert_eq!(accepted.len(), 0, "accepted events are lost: {accepted:?}");
        println!("{version:?}: {stored} events, {conflicts} conflicts");
        assert!(stored > 1_000 && conflicts > 10, "{stored} events, {conflicts} conflicts");
    }
}
