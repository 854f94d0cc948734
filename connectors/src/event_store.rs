//! An event store on JetStream: a library for services that write events and handle commands. It needs no engine.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `store`, `options` | [`EventStore`]: opens the stream, appends, loads |
//! | `aggregate`, `event` | [`AggregateId`] and its subject; [`NewEvent`], [`RecordedEvent`], [`Expected`], [`Until`] |
//! | `append` | appends exactly once, whatever becomes of the answers |
//! | `load`, `bulk` | [`Loading`]: reads an aggregate's messages in order, and proves that none is missing |
//! | `stream`, `heads` | requests to the server; the versions that this process has seen last |
//! | `headers`, `packed`, `message` | how events are written as messages |
//! | `decider`, `upcast`, `given` | what a kind of aggregate is: [`Decider`], [`Upcasters`], and tests of it: [`Given`] |
//! | `handler`, `command`, `loaded`, `bucket` | [`CommandHandler`]: decides about commands; snapshots |
//!
//! # Event sourcing
//!
//! The state of an aggregate, such as an order, is not stored. Its events are, and the state follows from them. Each aggregate has one
//! subject, `<prefix>.<type>.<id>`, and its events have the versions 1, 2, 3 and so on. A writer says which version it has decided on, and the
//! server compares: of two writers, the slower one has a conflict and decides again ([`Expected`]).
//!
//! The version of an aggregate counts its events. The server compares sequences of the stream instead, so the store knows which sequence a
//! version has: from the last append or load, or from one read of the last message. Each message has its version as a header. A load proves
//! that the versions have no gap and that none is there twice; otherwise it fails with [`StoreError::Gap`].
//!
//! Several events are appended whole or not at all. From server 2.12 on, and with `allow_atomic` set on the stream, they are an atomic batch of
//! one message each. Otherwise one message carries them: a body `{"events": [{"id", "type", "version", "data", ...}]}` and a header
//! `Event-Count`. Plain clients and Alluvium's sources read both. For the second form, declare a column and unnest it:
//!
//! ```sql
//! CREATE EXTERNAL TABLE order_messages (
//!   total DECIMAL(12, 2),
//!   events STRUCT<type VARCHAR, version BIGINT, data STRUCT<total DECIMAL(12, 2)>>[],
//!   _subject VARCHAR, _headers MAP(VARCHAR, VARCHAR)
//! ) STORED AS NATS LOCATION 'nats://127.0.0.1:4222/ORDERS';
//! ```
//!
//! The server's answer can be lost. Then the store asks the leader of the stream what follows the version that it expected. Every attempt has the
//! same condition, so an attempt that arrives late is stored instead of a later one, never beside it.
//!
//! # Snapshot
//!
//! A snapshot is the state at a version, so that a load reads only the events after it. [`CommandHandler`] writes one to a key-value bucket
//! every [`HandlerOptions::snapshot_every`] events. It has the version of the state's schema ([`Decider::STATE_SCHEMA`]): each
//! version has its own snapshots, so that two releases of a service can run at once, and a new one begins with the events. A load compares the event at the snapshot's version with the stream, and ignores a snapshot that knows
//! events which the stream does not have. The bucket can be deleted while no handler runs; single keys must not be deleted, since outcomes of
//! commands are there too.
//!
//! # Temporal query
//!
//! [`Until::Version`] and [`Until::Time`] load what the store held then: "as of yesterday 15:00". The time is that at which the server stored
//! an event, which never decreases, and not the time that its writer gave it. If the newest snapshot is younger, the load begins at the first
//! event.
//!
//! # Idempotent consumer
//!
//! A consumer is idempotent if a message that comes twice has the effect of one. [`CommandHandler::handle`] is, for ever: a command whose id
//! was handled before has the first outcome again, whichever process asks, and whatever the state is by now.
//!
//! The outcome is found in the events themselves, by their causation id. A command that is rejected, or accepted without events, leaves a
//! message without an event on the aggregate's subject: headers `Command-Id`, `Command-Outcome` and `Aggregate-Version`, and no `Event-Type`.
//! It changes no version. So the subject's order alone decides which outcome was the first. Views leave such messages out by
//! `WHERE _headers['Event-Type'] IS NOT NULL`. Before a snapshot is written, the outcomes of all commands up to it are written to the bucket,
//! one key each, and a load that begins at a snapshot asks for the key of its command.
//!
//! # Correlation and causation
//!
//! The causation id of an event is the id of the command or the event that caused it directly. The correlation id is that of the whole
//! business process, handed on from command to event to command. The handler sets both: the command's id, and [`Command::correlation_id`] or,
//! for a command that begins a process, its own id.
//!
//! # Upcasting
//!
//! Stored events are never changed. An event has the version of its data's schema, and [`Upcasters`] bring old data to the newest schema while
//! it is read, one step each.
//!
//! # Example
//! ```no_run
//! use alluvium_connectors::event_store::{
//!     Command, CommandHandler, CommandOutcome, Decider, EventStore, HandlerOptions, StoreOptions,
//! };
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone)]
//! enum Ask {
//!     Place { total: u32 },
//!     Cancel,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! enum Event {
//!     #[serde(rename = "order.placed")]
//!     Placed { total: u32 },
//!     #[serde(rename = "order.cancelled")]
//!     Cancelled,
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Order {
//!     open: bool,
//! }
//!
//! struct Orders;
//!
//! impl Decider for Orders {
//!     const AGGREGATE_TYPE: &'static str = "order";
//!     type State = Order;
//!     type Command = Ask;
//!     type Event = Event;
//!     type Rejection = String;
//!
//!     fn decide(&self, order: &Order, ask: Ask) -> Result<Vec<Event>, String> {
//!         match ask {
//!             Ask::Place { total } if !order.open => Ok(vec![Event::Placed { total }]),
//!             Ask::Cancel if order.open => Ok(vec![Event::Cancelled]),
//!             Ask::Place { .. } => Err("the order is placed already".into()),
//!             Ask::Cancel => Err("there is no order to cancel".into()),
//!         }
//!     }
//!
//!     fn evolve(&self, _: Order, event: &Event) -> Order {
//!         Order { open: matches!(event, Event::Placed { .. }) }
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = async_nats::connect("nats://127.0.0.1:4222").await?;
//! let store = EventStore::open(client, StoreOptions::new("ORDERS", "orders")).await?;
//! let orders = CommandHandler::open(store, Orders, HandlerOptions::default()).await?;
//!
//! let handled = orders.handle("42", Command::new("command-1", Ask::Place { total: 12 })).await?;
//! assert!(matches!(handled.outcome, CommandOutcome::Accepted { version: 1, .. }));
//! // The same command again: the same outcome, and no second event.
//! let handled = orders.handle("42", Command::new("command-1", Ask::Place { total: 12 })).await?;
//! assert!(handled.repeated);
//! # Ok(())
//! # }
//! ```

mod aggregate;
mod append;
mod bucket;
mod bulk;
mod command;
mod decider;
mod error;
mod event;
mod given;
mod handler;
mod headers;
mod heads;
mod load;
mod loaded;
mod message;
mod options;
mod packed;
mod store;
mod stream;
mod upcast;

pub use aggregate::{AggregateId, Head, InvalidName};
pub use command::{Command, CommandOutcome, Handled};
pub use decider::Decider;
pub use error::StoreError;
pub use event::{Appended, Expected, NewEvent, RecordedEvent, Until};
pub use given::{Given, Then};
pub use handler::{CommandHandler, HandlerOptions};
pub use headers::HeaderNames;
pub use load::Loading;
pub use options::StoreOptions;
pub use store::EventStore;
pub use upcast::Upcasters;
