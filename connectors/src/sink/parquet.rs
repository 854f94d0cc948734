//! A view's Parquet files: parts, snapshots, `current/` and `manifest.json`.
//!
//! ```text
//! data/views/<view>/
//!   parts/<epoch>-<random>-<n>.parquet              immutable, never reused names; the only place where rows are written
//!   snapshots/<epoch>-<millis>-<digest>/*.parquet   hard links to the parts of one commit, and its own manifest.json
//!   current -> snapshots/<...>                      symbolic link, replaced by an atomic rename
//!   manifest.json                                   the snapshot's files, offsets, epoch and fingerprint; atomic rename too
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | `target` | [`ParquetSink`]: the contract of a sink, over all the others |
//! | `writer` | [`ViewWriter`]: row changes to parts |
//! | `parts` | [`Part`], [`PartLayout`] and [`Snapshot`]: what is said of files |
//! | `hashed` | which parts a change touches, and how they are rewritten, split and merged |
//! | `cost` | how many parts are cheapest |
//! | `append` | merging small parts of a view whose rows only arrive |
//! | `part_file` | one Parquet file: its name, writing, reading |
//! | `row_groups` | the row groups of a large part, encoded side by side |
//! | `shape` | the types of a view's rows: what is stored, when two rows are equal, the hash of a row |
//! | `snapshots` | [`publish`], [`read_manifest`] |
//! | `sweep` | what is removed, and when |
//!
//! Nothing here decides what is committed: [`ViewWriter::write`] makes durable files that no one sees yet and gives their list, which
//! becomes a token; the engine records the token; [`publish`] shows it, and can be repeated after a crash. Nothing here reads a clock.

mod append;
mod cost;
mod hashed;
mod parallel;
mod part_file;
mod parts;
mod row_groups;
mod shape;
mod snapshots;
mod sweep;
mod target;
#[cfg(test)]
mod tests;
mod writer;

pub use parts::{Part, PartLayout};
pub use snapshots::{Manifest, read_manifest, read_snapshot};
pub use sweep::Retention;
pub use target::{ParquetSink, token_of};
pub use writer::PartRows;
