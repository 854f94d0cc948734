//! What a running engine answers to the outside: over HTTP.

pub mod http;
