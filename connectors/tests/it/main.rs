//! The connectors against the world: one binary, so that it is linked once.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod nats;
mod server;
