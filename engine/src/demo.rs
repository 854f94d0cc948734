//! The events and the project of `alluvium demo`.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`shop`] | a shop's events: orders, payments and shipments, some late, some twice, some broken |
//! | [`events`] | publishes them to a NATS server, or appends them to files |
//! | [`folder`] | writes the project: sources and six views |
//!
//! Nothing here runs a view: that is the engine, as for any project.

pub mod events;
pub mod folder;
pub mod shop;
