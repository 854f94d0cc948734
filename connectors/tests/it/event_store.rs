//! Tests the event store against real servers.

mod appending;
mod commands;
mod concurrency;
mod loading;
mod lost_answers;

use std::time::Duration;

use alluvium_connectors::event_store::{AggregateId, EventStore, NewEvent, RecordedEvent, StoreOptions, Until};

use crate::server::{Server, Version};

/// The newest and the oldest supported version.
const VERSIONS: [Version; 2] = [Version::Newest, Version::Oldest];

/// Options for a server that may be away for some seconds.
fn options() -> StoreOptions {
    StoreOptions {
        request_timeout: Duration::from_secs(2),
        give_up_after: Duration::from_secs(60),
        ..StoreOptions::new("EVENTS", "events")
    }
}

async fn store(server: &Server) -> EventStore {
    store_with(&server.url(), options()).await
}

async fn store_with(url: &str, options: StoreOptions) -> EventStore {
    let client = async_nats::connect(url).await.expect("a client");
    EventStore::open(client, options).await.expect("a store")
}

fn aggregate(id: impl ToString) -> AggregateId {
    AggregateId::new("order", id.to_string()).expect("an aggregate")
}

/// Events with these numbers as their data.
fn events(numbers: impl IntoIterator<Item = u64>) -> Vec<NewEvent> {
    numbers.into_iter().map(|number| NewEvent::new("counted", number.to_string())).collect()
}

/// All events of an aggregate. The store has proven that their versions are 1, 2, 3 and so on.
async fn load(store: &EventStore, aggregate: &AggregateId) -> Vec<RecordedEvent> {
    let events = store.load(aggregate, Until::End).collect().await.expect("the events");
    let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
    assert_eq!(versions, (1..=events.len() as u64).collect::<Vec<_>>());
    events
}

/// The data of events, as numbers.
fn numbers(events: &[RecordedEvent]) -> Vec<u64> {
    let text = |event: &RecordedEvent| String::from_utf8(event.data.to_vec()).expect("text");
    events.iter().map(|event| text(event).parse().expect("a number")).collect()
}
