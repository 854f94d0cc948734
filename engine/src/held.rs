//! The files of the last commits, held by hard links in a folder of their own: an engine that goes on removes its names for them, and the
//! files stay as long as the folder does. For those who read all of a data folder: `doctor` and `backup`.
//!
//! Views that are committed together are held at one commit; pipelines that have nothing to do with each other may be held a moment apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use alluvium_connectors::durable;
use alluvium_connectors::sink::parquet::{ParquetSink, Retention};

use crate::error::Error;
use crate::layout::Layout;
use crate::record::{Record, newest_records};

/// How often a pipeline is tried again that has committed meanwhile.
const TRIES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(2);

/// Commits with their files.
#[derive(Debug)]
pub struct Held {
    layout: Layout,
    /// By view.
    pub records: BTreeMap<String, Record>,
    /// Files that a record names and that are not there, by view.
    pub missing: Vec<(String, PathBuf)>,
}

impl Held {
    /// Holds the last commit of each view, as the records beside the views say it.
    ///
    /// # Errors
    /// The disk's; [`crate::error::Kind::Unavailable`] where a pipeline commits faster than its files can be linked.
    pub fn take(layout: &Layout) -> Result<Held, Error> {
        let records = newest_records(layout)?;
        Held::of(layout, &records)
    }

    /// The same of these records, which are the last ones as far as the caller knows.
    ///
    /// # Errors
    /// As [`Held::take`].
    pub fn of(layout: &Layout, records: &BTreeMap<String, Record>) -> Result<Held, Error> {
        remove_left_over(layout)?;
        let root = layout.held(std::process::id(), &durable::unique());
        fs::create_dir_all(&root).map_err(|error| Error::io("making", &root, error))?;
        let mut held = Held { layout: Layout::new(root), records: BTreeMap::new(), missing: Vec::new() };
        let together: BTreeSet<Vec<String>> = records.values().map(together).collect();
        for views in together {
            held.pipeline(layout, records, &views)?;
        }
        Ok(held)
    }

    /// The paths of what is held, as in a data folder; only what records name is there.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Holds the views of a pipeline at one commit.
    fn pipeline(&mut self, layout: &Layout, known: &BTreeMap<String, Record>, views: &[String]) -> Result<(), Error> {
        let of_these = |all: &BTreeMap<String, Record>| -> BTreeMap<String, Record> {
            all.iter().filter(|(view, _)| views.contains(view)).map(|(view, record)| (view.clone(), record.clone())).collect()
        };
        let mut records = of_these(known);
        for _ in 0..TRIES {
            let missing = self.link(layout, &records)?;
            let newer = of_these(&newest_records(layout)?);
            let epochs = |records: &BTreeMap<String, Record>| records.values().map(|record| record.epoch).collect::<Vec<_>>();
            // A record that only the caller knows has no newer one.
            if missing.is_empty() || newer.is_empty() || epochs(&newer) <= epochs(&records) {
                self.records.append(&mut records);
                self.missing.extend(missing);
                return Ok(());
            }
            records = newer;
            thread::sleep(PAUSE);
        }
        Err(Error::unavailable(
            format!("the views {} are committed faster than their files can be held", views.join(", ")),
            "try again, or with the engine stopped",
        ))
    }

    /// Links what these records name; gives what is not there.
    fn link(&self, layout: &Layout, records: &BTreeMap<String, Record>) -> Result<Vec<(String, PathBuf)>, Error> {
        let mut missing = Vec::new();
        for (view, record) in records {
            for (from, to) in files(layout, &self.layout, record)? {
                let folder = to.parent().unwrap_or(&to);
                fs::create_dir_all(folder).map_err(|error| Error::io("making", folder, error))?;
                match fs::hard_link(&from, &to) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((view.clone(), from)),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    linked => linked.map_err(|error| Error::io("linking", from, error))?,
                }
            }
        }
        Ok(missing)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(self.layout.root()) {
            tracing::debug!(%error, "removing links");
        }
    }
}

/// The views that are committed together with a record's.
pub(crate) fn together(record: &Record) -> Vec<String> {
    let mut views = record.commit.committed_with.clone();
    if !views.contains(&record.view) {
        views.push(record.view.clone());
    }
    views.sort();
    views
}

/// The files that a record names in one folder, and where they are in another.
pub(crate) fn files(from: &Layout, to: &Layout, record: &Record) -> Result<Vec<(PathBuf, PathBuf)>, Error> {
    let view = &record.view;
    let of = |layout: &Layout| ParquetSink::new(layout.view(view), Retention::default());
    let mut all: Vec<(PathBuf, PathBuf)> = of(from).files(&record.sink)?.into_iter().zip(of(to).files(&record.sink)?).collect();
    let (state, copy) = (from.state(view, &record.incarnation), to.state(view, &record.incarnation));
    let names: BTreeSet<&String> = record.state.iter().flat_map(|table| &table.files).collect();
    all.extend(names.into_iter().map(|name| (state.join(name), copy.join(name))));
    Ok(all)
}

/// Removes what a process left that was killed.
fn remove_left_over(layout: &Layout) -> Result<(), Error> {
    for (path, process) in layout.all_held() {
        if !Path::new("/proc").join(process.to_string()).exists() {
            fs::remove_dir_all(&path).map_err(|error| Error::io("removing", path, error))?;
        }
    }
    Ok(())
}
