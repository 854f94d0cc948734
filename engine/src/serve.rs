//! The servers of a running engine: HTTP.

pub mod http;
