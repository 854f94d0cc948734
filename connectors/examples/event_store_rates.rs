//! Measures the event store on a server of its own: appends beside a plain client that publishes the same messages with the same condition,
//! and loads by the number of events an aggregate has. Prints both. `oldest` as the argument measures on server 2.10.

use std::error::Error;
use std::time::{Duration, Instant};

use alluvium_connectors::event_store::{
    AggregateId, CommandHandler, Decider, EventStore, Expected, HandlerOptions, NewEvent, StoreOptions, Until,
};
use async_nats::jetstream::{self, stream};
use async_nats::{Client, HeaderMap, HeaderValue};
use futures::future::try_join_all;
use serde::{Deserialize, Serialize};
use server::{Server, Version};
use time::format_description::well_known::Rfc3339;

#[path = "../tests/it/server.rs"]
mod server;

type Failure = Box<dyn Error + Send + Sync>;

/// How many writers append at once, each to aggregates of its own.
const WRITERS: usize = 32;
/// How many events each writer appends in a round.
const EVENTS: u64 = 1_000;
/// How often appends are measured; the median of the rounds counts.
const ROUNDS: usize = 7;
/// How many aggregates are loaded, and how many loads are measured.
const AGGREGATES: u64 = 5;
const LOADS: usize = 3_000;
/// The body of an event.
const BODY: &str =
    r#"{"customer":"c-00012345","country":"DE","total":123.25,"note":"as usual, at the door, thank you very much"}"#;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let oldest = std::env::args().any(|argument| argument == "oldest");
    let server = Server::start(if oldest { Version::Oldest } else { Version::Newest });
    let client = async_nats::connect(server.url()).await?;
    println!("server {}", client.server_info().version);

    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let plain = plain(&client, &format!("PLAIN{round}")).await?;
        let store = store(&client, &format!("STORE{round}")).await?;
        println!("appends a second: plain {plain:.0}, event store {store:.0}, ratio {:.2}", store / plain);
        ratios.push(store / plain);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2} (goal: at least 0.8)", ratios[ratios.len() / 2]);

    let few = History::write(&client, "FEW", 100).await?;
    let many = History::write(&client, "MANY", 100_000).await?;
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    for index in 0..LOADS {
        // In turn, so that whatever else runs on the machine meets both.
        of_few.push(few.load(index as u64 % AGGREGATES).await?);
        of_many.push(many.load(index as u64 % AGGREGATES).await?);
    }
    let (few_99, many_99) = (percentiles("100", &mut of_few), percentiles("100,000", &mut of_many));
    println!("ratio of the 99th percentiles {:.2} (goal: at most 1.5)", many_99 / few_99);
    let begun = Instant::now();
    let events = many.store.load(&history(0)?, Until::End).collect().await?;
    println!("{} events without a snapshot: {:.2} s", events.len(), begun.elapsed().as_secs_f64());
    Ok(())
}

/// Publishes as a service would that writes the headers itself. Returns events a second.
async fn plain(client: &Client, name: &str) -> Result<f64, Failure> {
    let context = jetstream::new(client.clone());
    let config = stream::Config {
        name: name.to_owned(),
        subjects: vec![format!("{name}.*.*")],
        allow_direct: true,
        allow_atomic_publish: client.is_server_compatible(2, 12, 0),
        ..stream::Config::default()
    };
    context.create_stream(config).await?;
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let (context, subject) = (context.clone(), format!("{name}.order.{writer}"));
        tokio::spawn(async move {
            let mut last = 0;
            for version in 1..=EVENTS {
                let mut headers = HeaderMap::new();
                headers.insert("Event-Id", nuid::next().as_str());
                headers.insert("Event-Type", "order.placed");
                headers.insert("Event-Version", HeaderValue::from(version));
                headers.insert("Event-Schema-Version", "1");
                headers.insert("Event-Time", time::OffsetDateTime::now_utc().format(&Rfc3339)?);
                headers.insert("Nats-Expected-Stream", subject.split('.').next().unwrap_or_default());
                headers.insert("Nats-Expected-Last-Subject-Sequence", HeaderValue::from(last));
                last = context.publish_with_headers(subject.clone(), headers, BODY.into()).await?.await?.sequence;
            }
            Ok::<(), Failure>(())
        })
    });
    try_join_all(writers).await?.into_iter().collect::<Result<(), _>>()?;
    Ok((WRITERS as u64 * EVENTS) as f64 / begun.elapsed().as_secs_f64())
}

/// Appends by the event store. Returns events a second.
async fn store(client: &Client, name: &str) -> Result<f64, Failure> {
    let store = EventStore::open(client.clone(), StoreOptions::new(name, name)).await?;
    let begun = Instant::now();
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            let aggregate = AggregateId::new("order", writer.to_string())?;
            for version in 0..EVENTS {
                let event = NewEvent::new("order.placed", BODY);
                store.append(&aggregate, Expected::Version(version), &[event]).await?;
            }
            Ok::<(), Failure>(())
        })
    });
    try_join_all(writers).await?.into_iter().collect::<Result<(), _>>()?;
    Ok((WRITERS as u64 * EVENTS) as f64 / begun.elapsed().as_secs_f64())
}

/// Aggregates with a number of events and some more after their snapshot.
struct History {
    store: EventStore,
    handler: CommandHandler<Counter>,
}

impl History {
    /// Writes events of all aggregates in turn, a snapshot of each, and then up to 99 events more.
    async fn write(client: &Client, name: &str, events: u64) -> Result<History, Failure> {
        let store = EventStore::open(client.clone(), StoreOptions::new(name, name)).await?;
        let handler = CommandHandler::open(store.clone(), Counter, HandlerOptions::default()).await?;
        for version in 0..events / 100 {
            for aggregate in 0..AGGREGATES {
                let block: Vec<_> = (0..100).map(|_| NewEvent::new("Counted", "{}")).collect();
                store.append(&history(aggregate)?, Expected::Version(100 * version), &block).await?;
            }
        }
        for aggregate in 0..AGGREGATES {
            handler.state(&aggregate.to_string(), Until::End).await?;
        }
        for more in 0..99 {
            for aggregate in 0..AGGREGATES {
                if more < 99 * aggregate / (AGGREGATES - 1) {
                    store.append(&history(aggregate)?, Expected::Any, &[NewEvent::new("Counted", "{}")]).await?;
                }
            }
        }
        Ok(History { store, handler })
    }

    async fn load(&self, aggregate: u64) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let (count, version) = self.handler.state(&aggregate.to_string(), Until::End).await?;
        match count == version {
            true => Ok(begun.elapsed()),
            false => Err(format!("{count} events at version {version}").into()),
        }
    }
}

fn history(aggregate: u64) -> Result<AggregateId, Failure> {
    Ok(AggregateId::new("counter", aggregate.to_string())?)
}

/// Prints the percentiles of some times, and returns the 99th in milliseconds.
fn percentiles(events: &str, times: &mut [Duration]) -> f64 {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("loads at {events} events: median {:.2} ms, 95th {:.2} ms, 99th {:.2} ms", at(50), at(95), at(99));
    at(99)
}

/// Counts its events.
struct Counter;

#[derive(Serialize, Deserialize)]
enum Event {
    Counted {},
}

impl Decider for Counter {
    const AGGREGATE_TYPE: &'static str = "counter";
    type State = u64;
    type Command = ();
    type Event = Event;
    type Rejection = ();

    fn decide(&self, _: &u64, (): ()) -> Result<Vec<Event>, ()> {
        Ok(vec![Event::Counted {}])
    }

    fn evolve(&self, count: u64, _: &Event) -> u64 {
        count + 1
    }
}
