//! Tests of the program as users run it: with the real binary, a real nats-server and real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod as_they_are;
mod avro;
mod bad_events;
mod batches;
mod changes;
mod check_formats;
mod cli;
mod console;
mod crash;
mod crash_deep;
mod damage;
mod demo;
mod dev;
mod doctor;
mod duckdb;
mod edits;
mod exhausted;
mod file_kinds;
mod files;
mod gaps;
mod guarantees;
mod http_changes;
mod http_queries;
mod infer;
mod many;
mod memory;
mod mistakes;
mod mutations;
mod orders;
mod outage;
mod postgres;
mod query;
mod readers;
mod rebuild;
mod recovery;
#[path = "../../../connectors/src/decode/tests/registry_server.rs"]
mod registry_server;
mod rehearsal;
mod retry;
mod sample;
mod schemas;
mod secrets;
mod served;
#[path = "../../../connectors/tests/it/server.rs"]
mod server;
mod signals;
mod supervision;
mod table_changes;
mod table_changes_nats;
mod verify;
mod view_tests;
