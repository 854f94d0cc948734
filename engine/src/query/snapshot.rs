//! Chooses the commit of each view to read.
//!
//! Views that read each other are committed together, but their manifests are replaced one after the other. So the manifests are read
//! again until those of one pipeline have one epoch. If an engine commits too fast for that, or died between two manifests, the older
//! epoch is read from the kept snapshots.
//!
//! # Contract
//! - All views of one pipeline are read at one epoch (checked by the tests, against a writer in a thread).
//! - Every file is open when [`Snapshots::take`] returns.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alluvium_connectors::sink::parquet::{Manifest, read_manifest, read_snapshot};

use super::open_files::OpenFiles;
use crate::error::Error;
use crate::layout::Layout;

/// How often, and how far apart, manifests are read again before an older epoch is chosen.
const AGREE_TRIES: u32 = 20;
const AGREE_PAUSE: Duration = Duration::from_millis(2);
/// How often to start over because a file was removed meanwhile.
const OPEN_TRIES: u32 = 20;

/// One commit of each view.
#[derive(Debug)]
pub struct Snapshots {
    manifests: Vec<Manifest>,
}

impl Snapshots {
    /// Chooses a commit of each of `views` and opens its files.
    ///
    /// # Errors
    /// The disk fails, or [`crate::error::Kind::Unavailable`] if the views of a pipeline have no common epoch.
    pub async fn take(layout: &Layout, views: &BTreeSet<String>) -> Result<(Snapshots, OpenFiles), Error> {
        for _ in 0..OPEN_TRIES {
            let manifests = consistent(layout, views).await?;
            let opened = manifests.iter().try_fold(OpenFiles::default(), |mut files, manifest| {
                files.add(&manifest.view, &layout.view(&manifest.view), manifest)?;
                Ok(files)
            });
            match opened {
                Ok(files) => return Ok((Snapshots { manifests }, files)),
                Err(Error::Connector(alluvium_connectors::Error::Io { error, .. }))
                    if error.kind() == std::io::ErrorKind::NotFound =>
                {
                    tokio::time::sleep(AGREE_PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
        // Replaced files are kept for a while, so files that are missing each time are gone for good.
        Err(Error::corrupt(
            format!("the files that a manifest below {} names are not there", layout.views().display()),
            "`alluvium run` shows the last commit again when it starts, or says what is damaged",
        ))
    }

    /// The manifests, one for each committed view.
    #[must_use]
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }
}

/// Returns the names of all views that have been committed.
///
/// # Errors
/// The disk fails.
pub fn views(layout: &Layout) -> Result<BTreeSet<String>, Error> {
    let folder = layout.views();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(Error::io("reading", folder, error)),
    };
    let published = entries.flatten().filter(|entry| entry.path().join("manifest.json").is_file());
    Ok(published.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

async fn consistent(layout: &Layout, views: &BTreeSet<String>) -> Result<Vec<Manifest>, Error> {
    let mut manifests = read_all(layout, views)?;
    for _ in 0..AGREE_TRIES {
        if disagreeing(&manifests).is_empty() {
            return Ok(manifests);
        }
        tokio::time::sleep(AGREE_PAUSE).await;
        manifests = read_all(layout, views)?;
    }
    for (pipeline, epoch) in disagreeing(&manifests) {
        for manifest in manifests.iter_mut().filter(|manifest| manifest.epoch != epoch && pipeline.contains(&manifest.view)) {
            *manifest = read_snapshot(&layout.view(&manifest.view), epoch)?.ok_or_else(|| {
                Error::unavailable(
                    format!(
                        "the views {} are at different commits, and commit {epoch} of {} is no longer kept",
                        names(&pipeline),
                        manifest.view
                    ),
                    "try again; if it stays so, `alluvium run` publishes the last commit of all of them when it starts",
                )
            })?;
        }
    }
    Ok(manifests)
}

fn read_all(layout: &Layout, views: &BTreeSet<String>) -> Result<Vec<Manifest>, Error> {
    let read = |view: &String| -> Result<Option<Manifest>, Error> {
        // The name of the folder counts, whatever the manifest calls the view.
        Ok(read_manifest(&layout.view(view))?.map(|manifest| Manifest { view: view.clone(), ..manifest }))
    };
    views.iter().filter_map(|view| read(view).transpose()).collect()
}

/// Returns the pipelines whose views are at different epochs, each with its oldest epoch.
fn disagreeing(manifests: &[Manifest]) -> Vec<(BTreeSet<String>, u64)> {
    let mut pipelines: BTreeMap<BTreeSet<String>, Vec<u64>> = BTreeMap::new();
    for manifest in manifests {
        let pipeline: BTreeSet<String> = manifest.committed_with.iter().cloned().chain([manifest.view.clone()]).collect();
        pipelines.entry(pipeline).or_default().push(manifest.epoch);
    }
    let oldest = |epochs: Vec<u64>| {
        let (min, max) = (epochs.iter().copied().min()?, epochs.iter().copied().max()?);
        (min != max).then_some(min)
    };
    pipelines.into_iter().filter_map(|(pipeline, epochs)| Some((pipeline, oldest(epochs)?))).collect()
}

fn names(views: &BTreeSet<String>) -> String {
    views.iter().cloned().collect::<Vec<_>>().join(", ")
}
