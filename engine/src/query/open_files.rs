//! A read-only object store of Parquet files that are already open, so that a query can read a part to its end after a later commit has
//! removed it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path as FilePath;

use alluvium_connectors::sink::parquet::{CheckedFile, Manifest, Part};
use bytes::Bytes;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetRange, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use url::Url;

use crate::error::Error;

const NAME: &str = "open files";
const ROOT: &str = "alluvium://snapshot/";

/// The URL under which the store is registered.
#[must_use]
pub fn url() -> Url {
    // ROOT is a constant, and the tests parse it.
    Url::parse(ROOT).unwrap_or_else(|_| unreachable!("{ROOT} is a URL"))
}

/// The open files, by their path in the store.
#[derive(Debug, Default)]
pub struct OpenFiles {
    files: BTreeMap<Path, (CheckedFile, ObjectMeta)>,
    views: BTreeMap<String, Vec<Path>>,
}

impl OpenFiles {
    /// Opens the files of one commit of a view.
    ///
    /// # Errors
    /// The disk fails; `NotFound` if a file is gone.
    pub fn add(&mut self, view: &str, folder: &FilePath, manifest: &Manifest) -> Result<(), Error> {
        self.add_beside(view, folder, manifest, None)
    }

    /// Does the same, and takes from `known`, which holds a commit of the same view alone, the files that are open there.
    ///
    /// # Errors
    /// As [`OpenFiles::add`].
    pub fn add_beside(
        &mut self,
        view: &str,
        folder: &FilePath,
        manifest: &Manifest,
        known: Option<&OpenFiles>,
    ) -> Result<(), Error> {
        self.add_parts(view, folder, &manifest.parts, known)
    }

    /// Does the same with some parts of a view, under any name.
    ///
    /// # Errors
    /// As [`OpenFiles::add`].
    pub(super) fn add_parts<'p>(
        &mut self,
        view: &str,
        folder: &FilePath,
        parts: impl IntoIterator<Item = &'p Part>,
        known: Option<&OpenFiles>,
    ) -> Result<(), Error> {
        // A view's name may hold characters that a path of the store may not.
        let prefix = format!("view{}", self.views.len());
        let paths = self.views.entry(view.to_owned()).or_default();
        for part in parts {
            // The manifest also holds absolute paths, which are wrong once the folder has moved.
            let location = Path::from_iter([prefix.as_str(), part.file.as_str()]);
            if let Some(open) = known.and_then(|known| known.files.get(&location)) {
                self.files.insert(location.clone(), open.clone());
                paths.push(location);
                continue;
            }
            let path = folder.join("parts").join(&part.file);
            let file = CheckedFile::open(&path, part)?;
            let metadata = file.file().metadata().map_err(|error| Error::io("reading", &path, error))?;
            let modified = metadata.modified().map_err(|error| Error::io("reading", &path, error))?;
            let meta = ObjectMeta {
                location: location.clone(),
                last_modified: modified.into(),
                size: metadata.len(),
                e_tag: None,
                version: None,
            };
            self.files.insert(location.clone(), (file, meta));
            paths.push(location);
        }
        Ok(())
    }

    /// Takes the files of a view that are open in another store, under another name.
    pub(super) fn take(&mut self, name: &str, from: &OpenFiles, view: &str) {
        let prefix = format!("view{}", self.views.len());
        let paths = self.views.entry(name.to_owned()).or_default();
        for known in from.views.get(view).into_iter().flatten() {
            let (Some((file, meta)), Some(last)) = (from.files.get(known), known.filename()) else { continue };
            let location = Path::from_iter([prefix.as_str(), last]);
            let meta = ObjectMeta { location: location.clone(), ..meta.clone() };
            self.files.insert(location.clone(), (file.clone(), meta));
            paths.push(location);
        }
    }

    /// The URLs of a view's files in the store.
    #[must_use]
    pub fn urls_of(&self, view: &str) -> Vec<String> {
        self.views.get(view).into_iter().flatten().map(|path| format!("{ROOT}{path}")).collect()
    }
}

impl fmt::Display for OpenFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

#[async_trait::async_trait]
impl ObjectStore for OpenFiles {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let (file, meta) = self
            .files
            .get(location)
            .ok_or_else(|| StoreError::NotFound { path: location.to_string(), source: "not opened".into() })?;
        options.check_preconditions(meta)?;
        let all = GetRange::Bounded(0..meta.size);
        let range = if meta.size == 0 { 0..0 } else { options.range.unwrap_or(all).as_range(meta.size).map_err(generic)? };
        let payload = if options.head {
            GetResultPayload::Stream(stream::empty().boxed())
        } else {
            let (file, range) = (file.clone(), range.clone());
            let read = async move { tokio::task::spawn_blocking(move || read(&file, range)).await? };
            GetResultPayload::Stream(stream::once(read).boxed())
        };
        Ok(GetResult { payload, meta: meta.clone(), range, attributes: Default::default() })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = prefix.cloned().unwrap_or_default();
        let found: Vec<_> = self
            .files
            .values()
            .filter(|(_, meta)| meta.location.prefix_matches(&prefix))
            .map(|(_, meta)| Ok(meta.clone()))
            .collect();
        stream::iter(found).boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(read_only())
    }

    async fn put_opts(&self, _location: &Path, _payload: PutPayload, _options: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(&self, _location: &Path, _options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        locations.map(|_| Err(read_only())).boxed()
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}

fn read(file: &CheckedFile, range: std::ops::Range<u64>) -> Result<Bytes> {
    file.range(range).map_err(generic)
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Generic { store: NAME, source: Box::new(error) }
}

fn read_only() -> StoreError {
    StoreError::NotSupported { source: "a snapshot is only read".into() }
}
