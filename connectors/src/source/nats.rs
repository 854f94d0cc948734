//! A JetStream stream as a source.
