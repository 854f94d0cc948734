//! The newest commit of each view, open between requests: its files, and a session in which queries over it are planned. A commit is opened
//! once, however many requests read it, and a newer one opens only the parts that are new.
//!
//! A commit that nobody reads is released after a while, so that the files that it holds open do not keep the disk full.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use alluvium_connectors::sink::parquet::{Manifest, Part, hash_of_key, read_manifest};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::prelude::SessionContext;

use super::open_files::{self, OpenFiles};
use crate::error::Error;
use crate::layout::Layout;

/// How often to start over because a file was removed meanwhile.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(2);

/// The newest commits that requests have asked for, by view.
#[derive(Debug)]
pub struct NewestCommits {
    layout: Layout,
    open: Mutex<BTreeMap<String, Kept>>,
}

#[derive(Debug)]
struct Kept {
    commit: Arc<OpenCommit>,
    used: Instant,
}

/// Tells two manifests of a view apart without reading them: each is a file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ManifestFile {
    inode: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl ManifestFile {
    /// That of the newest commit of a view; `None` if it has none.
    pub(super) fn of(layout: &Layout, view: &str) -> Result<Option<ManifestFile>, Error> {
        let path = layout.view(view).join("manifest.json");
        match std::fs::metadata(&path) {
            Ok(found) => Ok(Some(ManifestFile { inode: found.ino(), seconds: found.mtime(), nanoseconds: found.mtime_nsec() })),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(Error::io("reading", path, error)),
        }
    }
}

/// One commit of a view, open.
pub struct OpenCommit {
    /// What it is.
    pub manifest: Manifest,
    file: ManifestFile,
    files: Arc<OpenFiles>,
    context: SessionContext,
    schema: SchemaRef,
}

impl std::fmt::Debug for OpenCommit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenCommit")
            .field("view", &self.manifest.view)
            .field("epoch", &self.manifest.epoch)
            .finish_non_exhaustive()
    }
}

impl NewestCommits {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(layout: Layout) -> NewestCommits {
        NewestCommits { layout, open: Mutex::default() }
    }

    /// The paths of the data folder.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the newest commit of a view, open; `None` if it has none.
    ///
    /// # Errors
    /// The disk fails, or files that the manifest names are gone for good.
    pub async fn of(&self, view: &str) -> Result<Option<Arc<OpenCommit>>, Error> {
        let mut tries = 0;
        loop {
            let Some(file) = ManifestFile::of(&self.layout, view)? else { return Ok(None) };
            if let Some(commit) = self.kept(view, file) {
                return Ok(Some(commit));
            }
            let Some(manifest) = read_manifest(&self.layout.view(view))? else { return Ok(None) };
            match self.open(Manifest { view: view.to_owned(), ..manifest }, file).await {
                Ok(commit) => return Ok(Some(self.keep(commit))),
                Err(Error::Connector(alluvium_connectors::Error::Io { error, .. }))
                    if error.kind() == std::io::ErrorKind::NotFound && tries < TRIES =>
                {
                    tries += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Releases the commits that nobody has asked for during `idle`.
    pub fn release(&self, idle: Duration) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, kept| kept.used.elapsed() < idle);
    }

    fn kept(&self, view: &str, file: ManifestFile) -> Option<Arc<OpenCommit>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = open.get_mut(view).filter(|kept| kept.commit.file == file)?;
        kept.used = Instant::now();
        Some(Arc::clone(&kept.commit))
    }

    fn keep(&self, commit: OpenCommit) -> Arc<OpenCommit> {
        let commit = Arc::new(commit);
        let kept = Kept { commit: Arc::clone(&commit), used: Instant::now() };
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(commit.manifest.view.clone(), kept);
        commit
    }

    async fn open(&self, manifest: Manifest, file: ManifestFile) -> Result<OpenCommit, Error> {
        let before =
            self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&manifest.view).map(|kept| Arc::clone(&kept.commit));
        let mut files = OpenFiles::default();
        let known = before.as_ref().map(|commit| commit.files.as_ref());
        files.add_beside(&manifest.view, &self.layout.view(&manifest.view), &manifest, known)?;
        let files = Arc::new(files);
        let context = super::session(false)?;
        context.register_object_store(&open_files::url(), Arc::clone(&files) as Arc<dyn datafusion::object_store::ObjectStore>);
        // A new version of a view may have other columns.
        let schema = match before.filter(|before| before.manifest.fingerprint == manifest.fingerprint) {
            Some(before) => Arc::clone(&before.schema),
            None => super::table(&context, &manifest.view, files.urls_of(&manifest.view), None).await?.schema(),
        };
        Ok(OpenCommit { manifest, file, files, context, schema })
    }
}

impl OpenCommit {
    /// Names this commit of the view and no other, also across rebuilds and data folders.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(&self.manifest)
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The hash of the rows with these values, by column, if it decides their part. See [`Part::may_hold`].
    ///
    /// # Errors
    /// Only a bug.
    pub fn hash_of(&self, values: &BTreeMap<usize, ScalarValue>) -> Result<Option<u64>, Error> {
        let Some(hashed_by) = &self.manifest.hashed_by else { return Ok(None) };
        let columns = if hashed_by.is_empty() { (0..self.schema.fields().len()).collect() } else { hashed_by.clone() };
        let Some(key) = columns.iter().map(|column| values.get(column)).collect::<Option<Vec<_>>>() else { return Ok(None) };
        let arrays = key.into_iter().map(ScalarValue::to_array).collect::<Result<Vec<_>, _>>()?;
        Ok(hash_of_key(&arrays)?)
    }

    /// The rows of the parts that `wanted` chooses, as a query that can be extended.
    ///
    /// # Errors
    /// Only a bug.
    pub async fn rows(&self, wanted: impl Fn(&Part) -> bool) -> Result<DataFrame, Error> {
        let urls = self.files.urls_of(&self.manifest.view);
        let chosen: Vec<String> =
            urls.into_iter().zip(&self.manifest.parts).filter(|(_, part)| wanted(part)).map(|(url, _)| url).collect();
        let table: Arc<dyn TableProvider> = if chosen.is_empty() {
            Arc::new(datafusion::datasource::empty::EmptyTable::new(Arc::clone(&self.schema)))
        } else {
            super::table(&self.context, &self.manifest.view, chosen, Some(&self.schema)).await?
        };
        Ok(self.context.read_table(table)?)
    }
}

/// The rows of two commits, as queries that can be joined to one. A commit's own files are in a store of its own, which another's query does not
/// see.
///
/// # Errors
/// Only a bug.
pub(super) async fn rows_of_both(before: &OpenCommit, after: &OpenCommit) -> Result<(DataFrame, DataFrame), Error> {
    let sides = [("before", before), ("after", after)];
    let mut files = OpenFiles::default();
    for (name, commit) in sides {
        files.take(name, &commit.files, &commit.manifest.view);
    }
    let context = super::session(false)?;
    let files = Arc::new(files);
    context.register_object_store(&open_files::url(), Arc::clone(&files) as Arc<dyn datafusion::object_store::ObjectStore>);
    let table = async |name: &str, commit: &OpenCommit| {
        let table = super::table(&context, name, files.urls_of(name), Some(&commit.schema)).await?;
        Ok::<_, Error>(context.read_table(table)?)
    };
    Ok((table("before", before).await?, table("after", after).await?))
}

/// Names the commit of a manifest: its epoch, its time, and the version of the view.
#[must_use]
pub fn name_of(manifest: &Manifest) -> String {
    let version = &manifest.fingerprint[..manifest.fingerprint.floor_char_boundary(12)];
    format!("{}-{:x}-{version}", manifest.epoch, manifest.committed_ms)
}
