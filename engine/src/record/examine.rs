//! What is recorded, read without mending anything: for those who say what they would do.

use std::collections::BTreeMap;
use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use alluvium_connectors::durable;

use super::database::Database;
use super::{Record, twin};
use crate::error::Error;
use crate::layout::Layout;

/// By view, the records of the commit beside it, or what is wrong with them. A view's folder without a record is not there.
///
/// # Errors
/// The disk's.
pub fn records_beside(layout: &Layout) -> Result<BTreeMap<String, Result<Vec<Record>, String>>, Error> {
    let mut all = BTreeMap::new();
    for view in durable::names(&layout.views())? {
        if let Some(read) = twin::read(&layout.record(&view))? {
            all.insert(view, read.map(|commit| commit.map_or_else(Vec::new, |commit| commit.records)));
        }
    }
    Ok(all)
}

/// The records of the checkpoint database, or what is wrong with it. A copy is opened: opening one writes. Nobody may have it open.
///
/// # Errors
/// The disk's.
pub fn records_in_database(layout: &Layout) -> Result<Result<Vec<Record>, String>, Error> {
    let folder = layout.checkpoints();
    if !folder.is_dir() {
        return Ok(Err("it is missing".to_owned()));
    }
    let copy = layout.held(std::process::id(), &durable::unique());
    let copied = copy_folder(&folder, &copy);
    let read = copied.map(|()| {
        std::panic::catch_unwind(AssertUnwindSafe(|| Database::of_copy(layout, &copy)))
            .unwrap_or_else(|_| Err("sled panicked over it".to_owned()))
    });
    let removed = fs::remove_dir_all(&copy);
    let read = read.map_err(|(path, error)| Error::io("copying", path, error))?;
    removed.map_err(|error| Error::io("removing", copy, error))?;
    Ok(read)
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// The file that could not be copied, and why.
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(at(&source))?;
            fs::File::open(&target).and_then(|file| file.sync_all()).map_err(at(&target))?;
        }
    }
    durable::sync_folder(to).map_err(|error| (to.to_owned(), std::io::Error::other(error)))
}
