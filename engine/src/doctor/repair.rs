//! Does what a report says. The caller holds the lock of the data folder.

use std::collections::BTreeSet;
use std::fs;

use alluvium_connectors::durable;
use alluvium_connectors::sink::Sink;
use alluvium_connectors::sink::parquet::{ParquetSink, Retention};

use super::{Remedy, Report};
use crate::error::Error;
use crate::layout::Layout;
use crate::record::Store;

/// How often a folder is examined at most. What is mended first can show what to mend next: a database that opens again names commits that
/// are not shown yet. Each fault is mended once, so few passes are enough.
const PASSES: usize = 4;

/// Repairs what `found` says and examines the folder again, until nothing is left to mend or a pass has changed nothing. Returns the last
/// report.
///
/// # Errors
/// Those of `examine` and [`repair`].
pub fn mend(layout: &Layout, mut found: Report, mut examine: impl FnMut() -> Result<Report, Error>) -> Result<Report, Error> {
    for _ in 0..PASSES {
        repair(layout, &found)?;
        let again = examine()?;
        let changed = again.faults != found.faults;
        found = again;
        if found.unmended().next().is_none() || !changed {
            break;
        }
    }
    Ok(found)
}

/// Mends what can be mended, and has the rest rebuilt by the next run.
///
/// # Errors
/// The disk's, and those of [`Store::open`]. What was done before stays done; it can be begun again.
fn repair(layout: &Layout, report: &Report) -> Result<(), Error> {
    // Opening it sets a damaged database aside and makes it anew, and writes records beside views that are missing or behind.
    let store = Store::open(layout)?;
    let remedies: BTreeSet<&Remedy> = report.faults.iter().map(|fault| &fault.remedy).collect();
    for remedy in remedies {
        match remedy {
            Remedy::RestoreDatabase | Remedy::Leave(_) => {}
            Remedy::WriteRecord(view) => {
                if let Some(record) = store.record(view)? {
                    let together: Vec<_> = store.records()?.into_iter().filter(|one| is_of_commit(one, &record)).collect();
                    store.write_twins(&together)?;
                }
            }
            Remedy::Show(view) => {
                // The report may be of a database that could not be read.
                if let Some(record) = store.record(view)?.as_ref().or(report.records.get(view)) {
                    ParquetSink::new(layout.view(view), Retention::default()).publish(&record.commit, &record.sink)?;
                }
            }
            Remedy::Rebuild(view) => store.request_rebuild(view)?,
            Remedy::MoveAway(file) => {
                let folder = layout.dead_letters().join(".damaged");
                durable::create_folder(&folder)?;
                if let Some(name) = file.file_name() {
                    fs::rename(file, folder.join(name)).map_err(|error| Error::io("moving away", file, error))?;
                }
            }
        }
    }
    Ok(())
}

/// Whether two records are of one commit.
fn is_of_commit(one: &crate::record::Record, other: &crate::record::Record) -> bool {
    one.epoch == other.epoch && one.commit.committed_with == other.commit.committed_with
}
