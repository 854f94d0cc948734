//! The sink that keeps a view as Parquet files: parts, snapshots, `current/` and `manifest.json`.
//!
//! ```text
//! data/views/<view>/
//!   parts/<epoch>-<random>-<n>.parquet              immutable, under names that are never reused; the only copies of the rows
//!   snapshots/<epoch>-<millis>-<digest>/*.parquet   hard links to the parts of one commit, and its own manifest.json
//!   current -> snapshots/<...>                      symbolic link, replaced by an atomic rename
//!   manifest.json                                   the snapshot's files, offsets, epoch and fingerprint; replaced atomically too
//! ```
//!
//! | module | what it holds |
//! | --- | --- |
//! | `target` | [`ParquetSink`]: implements the contract of a sink with the other modules |
//! | `writer` | [`ViewWriter`]: turns row changes into parts |
//! | `parts` | [`Part`], [`PartLayout`] and [`Snapshot`]: descriptions of files |
//! | `hashed` | finds the parts that a change touches, and rewrites, splits and merges them |
//! | `cost` | computes the cheapest number of parts |
//! | `append` | chooses the small parts to merge in an insert-only view |
//! | `checked` | checksums of files: taken while they are written, compared while they are read |
//! | `part_file` | names, writes and reads one Parquet file |
//! | `row_groups` | encodes the row groups of a large part in parallel |
//! | `shape` | the stored types of a view's rows, the equality of rows and their hash |
//! | `snapshots` | [`publish`], [`read_manifest`] |
//! | `sweep` | removes files that are no longer needed |
//!
//! Nothing here decides what is committed. [`ViewWriter::write`] writes durable files that no reader sees yet, and returns their list,
//! which becomes a token. The engine records the token. [`publish`] makes it visible, and can be repeated after a crash. Nothing here
//! reads a clock.

mod append;
mod checked;
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

pub use checked::CheckedFile;
pub use parts::{Part, PartLayout};
pub use shape::hash_of_key;
pub use snapshots::{Manifest, read_manifest, read_snapshot};
pub use sweep::Retention;
pub use target::{ParquetSink, token_of};
pub use writer::PartRows;
