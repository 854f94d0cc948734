//! Publishes the shop's events when they are due: to streams of a NATS server, or to files, a line each.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use tokio_util::sync::CancellationToken;

use super::shop::{Event, Kind};
use crate::error::Error;
use crate::metrics::now_ms;

/// The most events that are published together.
const TOGETHER: usize = 500;
/// Events are looked at this often.
const TICK: Duration = Duration::from_millis(25);

/// Where events go.
#[derive(Debug)]
pub enum Place {
    /// To streams of the server at this address.
    Nats(String),
    /// To files of this folder.
    Files(PathBuf),
}

/// A place that takes events.
#[derive(Debug)]
pub enum Publisher {
    /// A server.
    Nats(Context),
    /// A folder.
    Files(PathBuf),
}

/// The stream of a kind of event.
#[must_use]
pub fn stream(kind: Kind) -> String {
    kind.source().to_ascii_uppercase()
}

/// The file of a kind of event, in the folder of all.
#[must_use]
pub fn file(kind: Kind) -> String {
    format!("{}.jsonl", kind.source())
}

/// The subject of a kind of event.
fn subject(kind: Kind) -> &'static str {
    match kind {
        Kind::Order => "orders.placed",
        Kind::Payment => "payments.received",
        Kind::Shipment => "shipments.sent",
    }
}

impl Publisher {
    /// Makes the streams or the files, empty.
    ///
    /// # Errors
    /// The server does not answer or refuses; the disk fails.
    pub async fn open(place: Place) -> Result<Publisher, Error> {
        match place {
            Place::Files(folder) => {
                std::fs::create_dir_all(&folder).map_err(|error| Error::io("creating", &folder, error))?;
                for kind in Kind::ALL {
                    append(&folder, kind, "")?;
                }
                Ok(Publisher::Files(folder))
            }
            Place::Nats(url) => {
                let client = async_nats::connect(&url).await.map_err(|error| away(&url, &error))?;
                let context = jetstream::new(client);
                for kind in Kind::ALL {
                    let subjects = vec![format!("{}.>", kind.source())];
                    let config = jetstream::stream::Config { name: stream(kind), subjects, ..Default::default() };
                    context.create_stream(config).await.map_err(|error| away(&url, &error))?;
                }
                Ok(Publisher::Nats(context))
            }
        }
    }

    /// Publishes events, each when it is due, until there are no more or `ended` is cancelled. Counts them.
    ///
    /// # Errors
    /// The server does not answer; the disk fails.
    pub async fn publish(
        &self,
        events: impl Iterator<Item = Event> + Send,
        ended: &CancellationToken,
        published: &AtomicU64,
    ) -> Result<(), Error> {
        let mut events = events.peekable();
        loop {
            let now = now_ms();
            let mut due = Vec::new();
            while due.len() < TOGETHER
                && let Some(event) = events.next_if(|event| event.at_ms <= now)
            {
                due.push(event);
            }
            let count = due.len();
            self.send(due).await?;
            published.fetch_add(count as u64, Ordering::Relaxed);
            if events.peek().is_none() || ended.is_cancelled() {
                return Ok(());
            }
            if count < TOGETHER {
                tokio::select! {
                    () = tokio::time::sleep(TICK) => {}
                    () = ended.cancelled() => return Ok(()),
                }
            }
        }
    }

    async fn send(&self, events: Vec<Event>) -> Result<(), Error> {
        match self {
            Publisher::Files(folder) => {
                let mut texts: BTreeMap<Kind, String> = BTreeMap::new();
                for event in events {
                    let text = texts.entry(event.kind).or_default();
                    text.push_str(&event.body);
                    text.push('\n');
                }
                texts.iter().try_for_each(|(kind, text)| append(folder, *kind, text))
            }
            Publisher::Nats(context) => {
                let mut acknowledged = Vec::new();
                for event in events {
                    let sent = context.publish(subject(event.kind), event.body.into()).await;
                    acknowledged.push(sent.map_err(|error| away("nats-server", &error))?);
                }
                for one in acknowledged {
                    one.await.map_err(|error| away("nats-server", &error))?;
                }
                Ok(())
            }
        }
    }
}

fn append(folder: &Path, kind: Kind, text: &str) -> Result<(), Error> {
    let path = folder.join(file(kind));
    let opened = OpenOptions::new().append(true).create(true).open(&path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| Error::io("writing", path, error))
}

fn away(what: &str, error: &dyn std::fmt::Display) -> Error {
    Error::unavailable(format!("publishing events to {what}: {error}"), "start the demo again; --files needs no server")
}
