//! What `alluvium dev` needs beside the engine.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`watch`] | finds files of a project that were saved |
//! | [`servers`] | starts the nats-server that a project declares, with its streams, where none answers |
//!
//! It runs nothing and prints nothing: that is `cli::dev`.

pub mod servers;
pub mod watch;
