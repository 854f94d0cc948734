//! Random queries over random events.
