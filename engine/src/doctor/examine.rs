//! What is wrong with a data folder. Writes nothing there but links of its own, which are gone when it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use alluvium_connectors::Error as Connector;
use alluvium_connectors::dead_letters::seal;
use alluvium_connectors::durable;
use alluvium_connectors::sink::parquet::{ParquetSink, Retention};

use super::{Fault, Remedy, Report};
use crate::dead_letters::all_files;
use crate::error::Error;
use crate::held::Held;
use crate::layout::Layout;
use crate::record::{Record, records_beside, records_in_database};

/// Examines a data folder. `running`: an engine works there, and its database and what readers are shown of a commit are left to it.
///
/// # Errors
/// The disk's.
pub fn examine(layout: &Layout, running: bool) -> Result<Report, Error> {
    let mut report = Report::default();
    let mut records: BTreeMap<String, Record> = BTreeMap::new();
    let beside = records_beside(layout)?;
    for (view, record) in &beside {
        match record {
            Ok(commit) => commit.iter().for_each(|record| newest(&mut records, record)),
            Err(reason) => {
                report.fault(format!("{}: {reason}", layout.record(view).display()), Remedy::WriteRecord(view.clone()))
            }
        }
    }
    // One that is not there is made of the records: a backup of a running engine has none.
    if !running && layout.checkpoints().is_dir() {
        match records_in_database(layout)? {
            Ok(recorded) => {
                for record in &recorded {
                    if !beside.contains_key(&record.view) {
                        let what = format!("{} is missing", layout.record(&record.view).display());
                        report.fault(what, Remedy::WriteRecord(record.view.clone()));
                    }
                    if let Some(beside) = epoch_beside(&beside, &record.view).filter(|epoch| *epoch < record.epoch) {
                        let path = layout.record(&record.view);
                        let what =
                            format!("{} ends at the commit {beside}, and the last one is {}", path.display(), record.epoch);
                        report.fault(what, Remedy::WriteRecord(record.view.clone()));
                    }
                    newest(&mut records, record);
                }
            }
            Err(reason) => report.fault(format!("{}: {reason}", layout.checkpoints().display()), Remedy::RestoreDatabase),
        }
    }
    let held = Held::of(layout, &records)?;
    for (view, path) in &held.missing {
        report.fault(format!("{} is missing", path.display()), Remedy::Rebuild(view.clone()));
    }
    for record in held.records.values() {
        of_view(layout, &held, record, running, &mut report)?;
    }
    dead_letters(layout, &mut report)?;
    if !running {
        report.unnamed = unnamed(layout, &held.records)?;
    }
    report.records = held.records.clone();
    Ok(report)
}

/// The epoch of a view in the record beside it, if that can be read.
fn epoch_beside(beside: &BTreeMap<String, Result<Vec<Record>, String>>, view: &str) -> Option<u64> {
    let records = beside.get(view)?.as_ref().ok()?;
    records.iter().find(|record| record.view == view).map(|record| record.epoch)
}

/// Keeps the newer of two records of a view.
fn newest(records: &mut BTreeMap<String, Record>, record: &Record) {
    if records.get(&record.view).is_none_or(|known| known.epoch < record.epoch) {
        records.insert(record.view.clone(), record.clone());
    }
}

impl Report {
    fn fault(&mut self, what: String, remedy: Remedy) {
        self.faults.push(Fault { what, remedy });
    }

    /// Takes an error of a file that is there; a missing one has been told.
    fn take(&mut self, layout: &Layout, held: &Held, error: Connector, remedy: Remedy) -> Result<(), Error> {
        let (path, message) = match error {
            Connector::Io { error, .. } if error.kind() == ErrorKind::NotFound => return Ok(()),
            Connector::Corrupt { path, message } => (path, message),
            // That a file cannot be read says nothing of what it holds.
            other => return Err(other.into()),
        };
        // The path that the user knows, not that of the link.
        let path = path.strip_prefix(held.layout().root()).map_or_else(|_| path.clone(), |rest| layout.root().join(rest));
        self.fault(format!("{} is damaged: {message}", path.display()), remedy);
        Ok(())
    }
}

/// Reads all files of one view.
fn of_view(layout: &Layout, held: &Held, record: &Record, running: bool, report: &mut Report) -> Result<(), Error> {
    let view = &record.view;
    let rebuild = || Remedy::Rebuild(view.clone());
    let sink = ParquetSink::new(held.layout().view(view), Retention::default());
    let (size, wrong) = sink.check(&record.sink)?;
    report.files += size.parts;
    report.bytes += size.bytes;
    report.without_checksum += sink.without_checksum(&record.sink)?;
    for error in wrong {
        report.take(layout, held, error, rebuild())?;
    }
    let folder = held.layout().state(view, &record.incarnation);
    for table in &record.state {
        for (index, file) in table.files.iter().enumerate() {
            let checksum = table.checksums.get(index).copied();
            match check_state(&folder.join(file), checksum) {
                Ok(bytes) => {
                    (report.files, report.bytes) = (report.files + 1, report.bytes + bytes);
                    report.without_checksum += u64::from(checksum.is_none());
                }
                Err(error) => report.take(layout, held, error, rebuild())?,
            }
        }
    }
    if !running && held.missing.iter().all(|(missing, _)| missing != view) {
        let sink = ParquetSink::new(layout.view(view), Retention::default());
        if !sink.is_shown(&record.commit, &record.sink, true)? {
            let what = format!("{}: the manifest or current/ do not show the last commit", layout.view(view).display());
            report.fault(what, Remedy::Show(view.clone()));
        }
    }
    Ok(())
}

/// Gives the length of a file whose checksum holds, or that was written without one.
fn check_state(path: &Path, recorded: Option<u32>) -> Result<u64, Connector> {
    let bytes = fs::read(path).map_err(|error| Connector::Io { action: "reading", path: path.to_owned(), error })?;
    if recorded.is_some_and(|recorded| recorded != crc32fast::hash(&bytes)) {
        let message = format!("its {} bytes are not those that were written", bytes.len());
        return Err(Connector::Corrupt { path: path.to_owned(), message });
    }
    Ok(bytes.len() as u64)
}

fn dead_letters(layout: &Layout, report: &mut Report) -> Result<(), Error> {
    for file in all_files(layout)? {
        match seal::check(&file) {
            Ok(sealed) => {
                report.files += 1;
                report.without_checksum += u64::from(!sealed);
                report.bytes += fs::metadata(&file).map_or(0, |metadata| metadata.len());
            }
            // Dropped meanwhile.
            Err(Connector::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
            Err(error @ Connector::Io { .. }) => return Err(error.into()),
            Err(error) => report.fault(error.to_string(), Remedy::MoveAway(file)),
        }
    }
    Ok(())
}

/// State of runs of operators that no record names, and parts that neither a record nor a kept snapshot names.
fn unnamed(layout: &Layout, records: &BTreeMap<String, Record>) -> Result<u64, Error> {
    let mut count = 0;
    for view in durable::names(&layout.root().join("state"))? {
        let recorded = records.get(&view).map(|record| record.incarnation.as_str());
        count += durable::names(&layout.states(&view))?.iter().filter(|name| Some(name.as_str()) != recorded).count() as u64;
    }
    for record in records.values() {
        let root = layout.view(&record.view);
        let sink = ParquetSink::new(root.clone(), Retention::default());
        let mut named: BTreeSet<String> = BTreeSet::new();
        for file in sink.files(&record.sink)? {
            named.extend(file.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
        for snapshot in durable::names(&root.join("snapshots"))? {
            named.extend(durable::names(&root.join("snapshots").join(snapshot))?);
        }
        count += durable::names(&root.join("parts"))?.iter().filter(|name| !named.contains(*name)).count() as u64;
    }
    Ok(count)
}
