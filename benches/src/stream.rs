//! Fills a JetStream stream as fast as it takes events, and drains it with a client that does nothing with them.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer, stream};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use miette::{IntoDiagnostic, Result, miette};

/// The largest number of published messages without an acknowledgement.
const WINDOW: usize = 4000;
/// The number of messages that one pull asks for, as in the engine's reader.
const PULLED: usize = 20_000;

/// A client with a runtime of its own.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    context: jetstream::Context,
    client: async_nats::Client,
}

impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) fn connect(url: &str) -> Result<Client> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().into_diagnostic()?;
        let options = async_nats::ConnectOptions::new().subscription_capacity(4 * PULLED);
        let connected = async { options.connect(url).await.map(|client| (jetstream::new(client.clone()), client)) };
        let (context, client) = runtime.block_on(connected).into_diagnostic()?;
        Ok(Client { context, client, runtime })
    }

    /// Creates a stream with the server's default configuration, which stores it in files.
    ///
    /// # Errors
    /// Those of the server.
    pub(crate) fn make(&self, name: &str) -> Result<()> {
        let config = stream::Config { name: name.to_owned(), subjects: vec![format!("{name}.>")], ..Default::default() };
        self.runtime.block_on(self.context.create_stream(config)).into_diagnostic()?;
        Ok(())
    }

    /// Publishes bodies in order. Returns once all are acknowledged.
    ///
    /// # Errors
    /// Those of the server.
    pub(crate) fn publish(&self, name: &str, bodies: impl Iterator<Item = String>) -> Result<()> {
        let subject = format!("{name}.placed");
        self.runtime.block_on(async {
            let mut waiting = FuturesUnordered::new();
            for body in bodies {
                let published = self.context.publish(subject.clone(), body.into()).await.into_diagnostic()?;
                waiting.push(published.into_future());
                if waiting.len() >= WINDOW {
                    while waiting.len() > WINDOW / 2 {
                        waiting.next().await.transpose().into_diagnostic()?;
                    }
                }
            }
            while let Some(acknowledged) = waiting.next().await {
                acknowledged.into_diagnostic()?;
            }
            self.client.flush().await.into_diagnostic()
        })
    }

    /// Reads a stream to its end and does nothing with it. Returns how long that took.
    ///
    /// # Errors
    /// Those of the server, or if the stream ends too early.
    pub(crate) fn drain(&self, name: &str, events: u64) -> Result<Duration> {
        self.runtime.block_on(async {
            let began = Instant::now();
            let stream = self.context.get_stream(name).await.into_diagnostic()?;
            let config = consumer::pull::Config {
                ack_policy: consumer::AckPolicy::None,
                memory_storage: true,
                num_replicas: 1,
                ..Default::default()
            };
            let consumer = stream.create_consumer(config).await.into_diagnostic()?;
            let messages = consumer.stream().max_messages_per_batch(PULLED).heartbeat(Duration::from_secs(5)).messages();
            let mut messages = messages.await.into_diagnostic()?;
            let mut bytes = 0;
            for read in 0..events {
                match messages.next().await {
                    Some(message) => bytes += message.into_diagnostic()?.payload.len(),
                    None => return Err(miette!("the stream ended after {read} messages")),
                }
            }
            let took = began.elapsed();
            std::hint::black_box(bytes);
            Ok(took)
        })
    }
}
