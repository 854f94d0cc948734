//! A consistent copy of a data folder, taken from a running engine or a stopped one. It is a data folder itself: restoring it is a copy back.
//!
//! Of a running engine it has the records beside the views, from which the next start makes the checkpoint database anew; of a stopped one the
//! database as well. A rebuild that is under way is not in it. SQL files and settings are not in it either: they are the user's.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use alluvium_connectors::dead_letters::{DeadLetterFolder, seal, span_of};
use alluvium_connectors::durable;
use alluvium_connectors::sink::Sink;
use alluvium_connectors::sink::parquet::{ParquetSink, Retention};

use crate::dead_letters::all_files;
use crate::error::Error;
use crate::held::{Held, files, together};
use crate::layout::Layout;
use crate::record::{Record, Store, copy_folder, records_beside, write_beside};

/// What a copy holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Views.
    pub views: usize,
    /// Files, without links and manifests.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Copies the last commits of a data folder to `target`, which must not be there, or be an empty folder. `running`: an engine works there.
/// Every file is compared with its checksum on the way. The copy takes the name `target` when all of it is there and synced.
///
/// # Errors
/// A target that holds something; a file that is missing or damaged; the disk's. Nothing is left of a copy that fails.
pub fn backup(layout: &Layout, target: &Path, running: bool) -> Result<Copied, Error> {
    let target = std::path::absolute(target).map_err(|error| Error::io("finding", target, error))?;
    if fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some()) || target.is_file() {
        return Err(Error::config(
            format!("{} is there already", target.display()),
            "name a folder that is not there, or an empty one",
        ));
    }
    let above = target.parent().unwrap_or(Path::new("/"));
    durable::create_folder(above)?;
    let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let unfinished = above.join(format!(".{name}.{}.unfinished", durable::unique()));
    let copied = copy(layout, &Layout::new(&unfinished), running).and_then(|copied| {
        // What readers are shown holds absolute paths.
        fs::rename(&unfinished, &target).map_err(|error| Error::io("renaming", &unfinished, error))?;
        durable::sync_folder(above)?;
        show(&Layout::new(&target))?;
        Ok(copied)
    });
    if copied.is_err() {
        let _ = fs::remove_dir_all(&unfinished);
    }
    copied
}

fn copy(layout: &Layout, target: &Layout, running: bool) -> Result<Copied, Error> {
    if !running {
        // As at a start: a kill may have left a commit in the database of which the records beside the views do not know.
        let store = Store::open(layout)?;
        let staged = store.records()?.into_iter().flat_map(|record| record.dead_letters).collect();
        DeadLetterFolder::open(&layout.dead_letters())?.recover(&staged)?;
    }
    for (view, record) in records_beside(layout)? {
        if let Err(reason) = record {
            return Err(damaged(format!("the record of view {view}: {reason}")));
        }
    }
    let mut letters = all_files(layout)?;
    let held = Held::take(layout)?;
    if held.records.is_empty() {
        return Err(Error::config(
            format!("nothing has been committed in {}", layout.root().display()),
            "`alluvium run` commits; -C and --data name another folder",
        ));
    }
    // Of letters that were kept meanwhile, those that the commits know of.
    for file in all_files(layout)? {
        if !letters.contains(&file) && is_of(&file, held.records.values()) {
            letters.push(file);
        }
    }
    if let Some((view, path)) = held.missing.first() {
        return Err(damaged(format!("view {view}: {} is missing", path.display())));
    }
    let mut copied = Copied { views: held.records.len(), ..Copied::default() };
    for record in held.records.values() {
        copy_view(&held, target, record, &mut copied)?;
    }
    let pipelines: BTreeSet<Vec<String>> = held.records.values().map(together).collect();
    for views in pipelines {
        let records: Vec<Record> = views.iter().filter_map(|view| held.records.get(view).cloned()).collect();
        write_beside(target, &records)?;
    }
    durable::create_folder(&target.dead_letters())?;
    for file in &letters {
        copy_letters(file, target, &mut copied)?;
    }
    durable::sync_folder(&target.dead_letters())?;
    if !running && layout.checkpoints().is_dir() {
        copy_folder(&layout.checkpoints(), &target.checkpoints()).map_err(|(path, error)| Error::io("copying", path, error))?;
    }
    durable::sync_folder(target.root())?;
    Ok(copied)
}

/// Copies the files of a view, each compared with its checksum.
fn copy_view(held: &Held, target: &Layout, record: &Record, copied: &mut Copied) -> Result<(), Error> {
    let view = &record.view;
    let (size, wrong) = ParquetSink::new(held.layout().view(view), Retention::default()).check(&record.sink)?;
    if let Some(error) = wrong.first() {
        return Err(damaged(format!("view {view}: {error}")));
    }
    copied.bytes += size.bytes;
    for (from, to) in files(held.layout(), target, record)? {
        durable::create_folder(to.parent().unwrap_or(&to))?;
        let bytes = fs::read(&from).map_err(|error| Error::io("reading", &from, error))?;
        let checksum = recorded(record, &from);
        if checksum.is_some_and(|checksum| checksum != crc32fast::hash(&bytes)) {
            return Err(damaged(format!("view {view}: {} is not as it was written", from.display())));
        }
        if checksum.is_some() {
            copied.bytes += bytes.len() as u64;
        }
        write(&to, &bytes)?;
        copied.files += 1;
    }
    // Made also for a view without state.
    durable::create_folder(&target.state(view, &record.incarnation))?;
    let folders = [target.view(view).join("parts"), target.state(view, &record.incarnation)];
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        durable::sync_folder(folder)?;
    }
    Ok(())
}

/// The recorded checksum of a state file.
fn recorded(record: &Record, file: &Path) -> Option<u32> {
    let name = file.file_name()?.to_str()?;
    let of_table = |table: &crate::record::TableRecord| {
        let index = table.files.iter().position(|file| file == name)?;
        table.checksums.get(index).copied()
    };
    record.state.iter().find_map(of_table)
}

/// Whether all letters of a file are of events that some commit has passed.
fn is_of<'a>(file: &Path, mut records: impl Iterator<Item = &'a Record>) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    records.any(|record| {
        record.positions.iter().any(|(source, position)| span_of(name, source).is_some_and(|span| *span.end() < position.offset))
    })
}

fn copy_letters(file: &Path, target: &Layout, copied: &mut Copied) -> Result<(), Error> {
    match seal::check(file) {
        // Dropped meanwhile.
        Err(alluvium_connectors::Error::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(damaged(error.to_string())),
        Ok(_) => {}
    }
    let (Some(name), Ok(bytes)) = (file.file_name(), fs::read(file)) else { return Ok(()) };
    write(&target.dead_letters().join(name), &bytes)?;
    (copied.files, copied.bytes) = (copied.files + 1, copied.bytes + bytes.len() as u64);
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut file = durable::create_new(path)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| Error::io("writing", path, error))
}

/// Shows readers the commits of a copy.
fn show(target: &Layout) -> Result<(), Error> {
    for record in crate::record::newest_records(target)?.values() {
        ParquetSink::new(target.view(&record.view), Retention::default()).publish(&record.commit, &record.sink)?;
    }
    Ok(())
}

fn damaged(message: String) -> Error {
    Error::corrupt(message, "`alluvium doctor` says what is wrong and what can be done; a copy of damage is no backup")
}
