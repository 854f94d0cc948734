//! Tests appends whose answers get lost between the server and the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use alluvium_connectors::event_store::{Expected, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Forwards connections to a server. Closes one instead of forwarding the answer to an append.
struct Proxy {
    address: SocketAddr,
    /// How many acknowledgements still to swallow.
    swallow: Arc<AtomicI64>,
}

impl Proxy {
    async fn start(port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = Proxy { address: listener.local_addr().expect("an address"), swallow: Arc::default() };
        let swallow = Arc::clone(&proxy.swallow);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // While the server is away, clients are refused.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                    tokio::spawn(forward(client, server, Arc::clone(&swallow)));
                }
            }
        });
        proxy
    }

    fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}

async fn forward(client: TcpStream, server: TcpStream, swallow: Arc<AtomicI64>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
    });
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from_server.read(&mut buffer).await {
        let acknowledges = buffer[..read].windows(10).any(|part| part == b"{\"stream\":");
        if acknowledges && swallow.fetch_sub(1, Ordering::AcqRel) > 0 {
            break;
        }
        if to_client.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    up.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_asked_for_and_nothing_is_stored_twice() {
    for version in VERSIONS {
        let server = Server::start(version);
        let proxy = Proxy::start(server.port()).await;
        let quick = StoreOptions { request_timeout: Duration::from_millis(300), ..options() };
        let (store, direct) = (store_with(&proxy.url(), quick).await, store(&server).await);
        let one = aggregate(1);
        let mut expected = 0;
        for lost in 0..6 {
            for count in [1, 3] {
                proxy.swallow.store(lost % 3, Ordering::Release);
                let mode = if lost < 3 { Expected::Version(expected) } else { Expected::Any };
                let appended = store.append(&one, mode, &events(expected..expected + count)).await.expect("appended");
                assert_eq!((appended.first_version, appended.version), (expected + 1, expected + count));
                expected += count;
                assert_eq!(direct.head(&one).await.expect("a head").version, expected);
            }
        }
        assert_eq!(numbers(&load(&direct, &one).await), (0..expected).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stays_away_leaves_the_result_unknown() {
    let mut server = Server::start(Version::Newest);
    let quick =
        StoreOptions { request_timeout: Duration::from_millis(200), give_up_after: Duration::from_millis(600), ..options() };
    let store = store_with(&server.url(), quick).await;
    let one = aggregate(1);
    store.append(&one, Expected::Any, &events([0])).await.expect("appended");
    server.stop();
    let second = events([1, 2]);
    let error = store.append(&one, Expected::Version(1), &second).await.expect_err("away");
    assert!(matches!(error, StoreError::Unknown { repeatable: false, .. }), "{error}");
    assert!(matches!(store.load(&one, Until::End).collect().await, Err(StoreError::Unavailable { .. })));
    server.resume();
    // The client has kept the messages and sends them late. Appending the same events again stores them once all the same.
    loop {
        match store.append(&one, Expected::Version(1), &second).await {
            Ok(appended) => break assert_eq!(appended.version, 3),
            Err(StoreError::Unknown { .. } | StoreError::Unavailable { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(numbers(&load(&store, &one).await), [0, 1, 2]);
}
