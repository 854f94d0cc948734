//! Integration tests of the connectors. They are one binary, so that it is linked only once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod event_store;
mod mutated_formats;
mod mutations;
mod nats;
mod server;
