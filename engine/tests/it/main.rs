//! The program as its users run it: the real binary, a real nats-server, real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cli;
