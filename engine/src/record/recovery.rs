//! Reads records without the store, and drops views.

use std::collections::BTreeMap;
use std::fs;

use super::files::io;
use super::{Record, Store, twin};
use crate::error::Error;
use crate::layout::Layout;
use crate::status::{Phase, SourceStatus, ViewStatus};

/// Returns the status of every view at its last commit, read from the twins beside the views. Works beside a running engine.
///
/// # Errors
/// The disk fails.
pub fn read_records(layout: &Layout) -> Result<Vec<ViewStatus>, Error> {
    Ok(newest_records(layout)?.values().map(ViewStatus::of_record).collect())
}

/// Returns the last record of each view, by name, read from the twins beside the views. Works beside a running engine.
///
/// # Errors
/// The disk fails.
pub fn newest_records(layout: &Layout) -> Result<BTreeMap<String, Record>, Error> {
    let mut newest: BTreeMap<String, Record> = BTreeMap::new();
    for record in twin::read_all(layout)?.iter().flat_map(|twin| &twin.commit.records) {
        if newest.get(&record.view).is_none_or(|known| known.epoch < record.epoch) {
            newest.insert(record.view.clone(), record.clone());
        }
    }
    newest.retain(|view, _| layout.record(view).exists());
    Ok(newest)
}

impl ViewStatus {
    /// The status of a view at its last commit.
    #[must_use]
    pub fn of_record(record: &Record) -> ViewStatus {
        let sources = record.positions.iter().map(|(source, position)| {
            let offset = position.offset;
            (source.clone(), SourceStatus { offset, applied: offset, end: offset, ..SourceStatus::default() })
        });
        let mut status = ViewStatus {
            epoch: Some(record.epoch),
            sources: sources.collect(),
            rows: record.size.rows,
            parts: record.size.parts,
            bytes: record.size.bytes,
            committed_ms: Some(record.commit.committed_ms),
            ..ViewStatus::new(&record.view, Phase::Stopped)
        };
        for (source, tally) in record.tallies.iter().filter(|(source, _)| record.positions.contains_key(*source)) {
            status.show_read(source, tally);
        }
        status.warn(
            record.tallies.iter().filter_map(|(source, tally)| Some((source, tally, record.positions.get(source)?.offset))),
        );
        status
    }
}

/// Checks that the version that serves of no other view reads a view.
///
/// # Errors
/// A configuration error that names the reader, and those of [`Store::records`].
pub fn may_be_dropped(store: &Store, view: &str) -> Result<(), Error> {
    let reads =
        |record: &Record| record.definition.as_ref().is_some_and(|definition| definition.reads.iter().any(|read| read == view));
    match store.records()?.into_iter().find(|record| record.view != view && reads(record)) {
        None => Ok(()),
        Some(reader) => Err(Error::config(
            format!("view {view} is read by the version of view {} that serves", reader.view),
            format!("drop it when {} has been rebuilt or dropped; `alluvium plan` shows what keeps it", reader.view),
        )),
    }
}

/// Removes a view: its records first, then its state and its Parquet files. The caller holds the lock of the data folder and has
/// made sure that no SQL file declares the view.
///
/// # Errors
/// The disk fails. A second call completes what a failed one began.
pub fn drop_view(layout: &Layout, store: &Store, view: &str) -> Result<(), Error> {
    // Remove the twin before the record: while the twin exists, opening the store would restore the record.
    let twin = layout.record(view);
    for path in [twin, layout.view(view).join("current")] {
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io("removing", &path, &error)),
        }
    }
    store.forget(view)?;
    for folder in [layout.view(view), layout.states(view)] {
        match fs::remove_dir_all(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(io("removing", &folder, &error)),
        }
    }
    Ok(())
}
