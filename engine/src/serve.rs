//! The servers of a running engine: HTTP, and the Postgres protocol.

pub mod http;
pub mod limits;
pub mod postgres;
