//! [`ViewWriter`] turns the net changes of an epoch into new parts.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::append::{self, Size};
use super::cost::ChangeRate;
use super::hashed;
use super::part_file::{PARTS, PartFiles, StoredRows};
use super::parts::{Part, PartLayout};
use super::shape::Shape;
use crate::Error;
use crate::durable;
use crate::sink::contract::Delta;

/// Writes the parts of one view.
///
/// # Contract
/// - The parts that [`ViewWriter::write`] returns hold the previous rows plus the changes, as a multiset (checked by `equal_to_model`;
///   removing a row that does not exist is an error).
/// - The caller commits the result of [`ViewWriter::write`] before the next call. If the commit fails, it drops the writer and opens
///   another one with the parts of the last commit (unchecked).
/// - Files that are neither committed nor in a snapshot are left to [`super::sweep_orphans`].
pub(super) struct ViewWriter {
    view: String,
    pub(super) files: Arc<PartFiles>,
    kind: Kind,
    parts: Vec<Part>,
}

enum Kind {
    Append { merge: Option<Merge> },
    Hashed { rate: ChangeRate },
}

/// A merge of large parts that runs in the background.
struct Merge {
    inputs: Vec<String>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Option<Part>, Error>>,
}

impl fmt::Debug for ViewWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewWriter").field("view", &self.view).field("parts", &self.parts.len()).finish_non_exhaustive()
    }
}

impl ViewWriter {
    /// Opens the view in folder `root`, and creates a missing folder. `parts` are those of the last commit, empty for a new view. Several
    /// writers may share a folder: that of a view and that of its rebuild.
    ///
    /// # Errors
    /// [`Error::Config`] for a column that Parquet cannot hold, with a cast to write instead; [`Error::Corrupt`] for parts that
    /// do not match the layout; [`Error::Io`].
    pub(super) fn open(root: &Path, schema: SchemaRef, layout: PartLayout, parts: Vec<Part>) -> Result<ViewWriter, Error> {
        let shape = Arc::new(Shape::new(schema, &layout)?);
        durable::create_folder(&root.join(PARTS))?;
        let (kind, parts) = match layout {
            PartLayout::Append => (Kind::Append { merge: None }, parts),
            PartLayout::Hashed { .. } => {
                (Kind::Hashed { rate: ChangeRate::default() }, hashed::sorted(parts, &root.join(PARTS))?)
            }
        };
        Ok(ViewWriter {
            view: root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            files: Arc::new(PartFiles::new(root, shape)),
            kind,
            parts,
        })
    }

    /// Writes the parts that the net changes of one epoch touch, as new files under names never used before, and syncs the files and
    /// their folder. Returns all parts after the change: at least one, which is empty if the view has no rows. Readers see none of this
    /// yet.
    ///
    /// # Errors
    /// [`Error::Bug`] for a row to remove that does not exist, [`Error::Corrupt`] for a damaged part, [`Error::Io`]. The writer is
    /// unchanged then.
    pub(super) fn write(&mut self, epoch: u64, changes: &[Delta]) -> Result<Vec<Part>, Error> {
        let parts = match &mut self.kind {
            Kind::Hashed { rate } => hashed::apply(&self.view, &self.files, rate, epoch, &self.parts, changes)?,
            Kind::Append { merge } => append_rows(&self.view, &self.files, merge, epoch, &self.parts, changes)?,
        };
        if parts != self.parts {
            self.files.sync()?;
            self.parts = parts;
        }
        Ok(self.parts.clone())
    }

    /// Returns the parts as of the last write.
    #[must_use]
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl Drop for ViewWriter {
    fn drop(&mut self) {
        if let Kind::Append { merge: Some(merge) } = &mut self.kind {
            merge.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Returns the rows of a view's parts, part by part.
///
/// # Errors
/// [`Error::Config`] as in [`ViewWriter::open`]. The iterator returns [`Error::Io`] and [`Error::Corrupt`].
pub(super) fn read_parts(root: &Path, schema: SchemaRef, parts: &[Part]) -> Result<PartRows, Error> {
    let shape = Arc::new(Shape::new(schema, &PartLayout::Append)?);
    Ok(PartRows::new(Arc::new(PartFiles::new(root, shape)), parts.to_vec()))
}

/// Iterates over the rows of a view's parts, as record batches with the view's schema. Ends after the first error.
#[derive(Debug)]
pub struct PartRows {
    files: Arc<PartFiles>,
    parts: std::vec::IntoIter<Part>,
    reading: Option<StoredRows>,
}

impl PartRows {
    pub(super) fn new(files: Arc<PartFiles>, parts: Vec<Part>) -> PartRows {
        PartRows { files, parts: parts.into_iter(), reading: None }
    }

    fn step(&mut self) -> Result<Option<RecordBatch>, Error> {
        loop {
            if let Some(batch) = self.reading.as_mut().and_then(Iterator::next) {
                return self.files.shape().to_view(&batch?).map(Some);
            }
            match self.parts.next() {
                Some(part) => self.reading = Some(self.files.read(&part)?),
                None => return Ok(None),
            }
        }
    }
}

impl Iterator for PartRows {
    type Item = Result<RecordBatch, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if matches!(step, Some(Err(_))) {
            (self.parts, self.reading) = (Vec::new().into_iter(), None);
        }
        step
    }
}

fn append_rows(
    view: &str,
    files: &Arc<PartFiles>,
    merge: &mut Option<Merge>,
    epoch: u64,
    parts: &[Part],
    changes: &[Delta],
) -> Result<Vec<Part>, Error> {
    let mut parts = parts.to_vec();
    if let Some(done) = merge.take_if(|merge| merge.thread.is_finished()) {
        let merged =
            done.thread.join().map_err(|_| Error::Bug(format!("view {view}: the thread that merges parts panicked")))??;
        replace(&mut parts, &done.inputs, merged);
    }
    let mut added = Vec::with_capacity(changes.len());
    for change in changes {
        if let Some(weights) = &change.weights
            && let Some(weight) = weights.iter().find(|weight| *weight != Some(1))
        {
            return Err(Error::Bug(format!("view {view}, epoch {epoch}: weight {weight:?} for an insert-only view")));
        }
        if change.rows.num_rows() > 0 {
            added.push(change.rows.clone());
        }
    }
    let new_rows: usize = added.iter().map(RecordBatch::num_rows).sum();
    if new_rows > 0 || parts.is_empty() {
        parts.retain(|part| part.rows > 0);
        // The estimated size of the new part, until it is decided whether it is written alone or merged at once.
        let guess = added.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() as u64 / 2;
        let busy = |part: &Part| merge.as_ref().is_some_and(|merge| merge.inputs.contains(&part.file));
        let idle: Vec<Part> = parts.iter().filter(|part| !busy(part)).cloned().collect();
        let mut sizes: Vec<Size> = idle.iter().map(|part| Size { rows: part.rows, bytes: part.bytes }).collect();
        sizes.push(Size { rows: new_rows as u64, bytes: guess });
        let chosen = append::parts_to_merge(&sizes);
        let rows: u64 = chosen.iter().map(|index| sizes[*index].rows).sum();
        let bytes: u64 = chosen.iter().map(|index| sizes[*index].bytes).sum();
        let mut inputs: Vec<Part> = chosen.iter().filter_map(|index| idle.get(*index)).cloned().collect();
        let at_once = rows <= append::AT_ONCE_ROWS && bytes <= append::AT_ONCE_BYTES;
        if at_once && chosen.last() == Some(&idle.len()) {
            let added = added.iter().map(|rows| files.shape().to_stored(rows)).collect::<Result<_, _>>()?;
            let merged = merge_parts(files, epoch, &inputs, added, None)?;
            replace(&mut parts, &inputs.into_iter().map(|part| part.file).collect::<Vec<_>>(), merged);
        } else {
            let new = files.write_rows(epoch, &added)?;
            if chosen.last() == Some(&idle.len()) {
                inputs.push(new.clone());
            }
            parts.push(new);
            if merge.is_none() && inputs.len() > 1 {
                *merge = Some(start_merge(files, epoch, inputs)?);
            }
        }
    }
    Ok(parts)
}

/// Replaces the inputs of a merge by the merged part, at the position of the first input.
fn replace(parts: &mut Vec<Part>, inputs: &[String], merged: Option<Part>) {
    let Some(merged) = merged else { return };
    let first = parts.iter().position(|part| inputs.contains(&part.file)).unwrap_or(parts.len());
    parts.insert(first, merged);
    let merged = parts[first].file.clone();
    parts.retain(|part| part.file == merged || !inputs.contains(&part.file));
}

/// Merges the rows of several parts, followed by `more`, into one part. Returns `None` if told to stop.
fn merge_parts(
    files: &PartFiles,
    epoch: u64,
    inputs: &[Part],
    more: Vec<RecordBatch>,
    stop: Option<&AtomicBool>,
) -> Result<Option<Part>, Error> {
    let stopped = || stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
    let expected =
        inputs.iter().map(|part| part.rows as usize).sum::<usize>() + more.iter().map(RecordBatch::num_rows).sum::<usize>();
    let mut failed = None;
    let stored = inputs.iter().flat_map(|part| match files.read(part) {
        Ok(rows) => Box::new(rows) as Box<dyn Iterator<Item = Result<RecordBatch, Error>>>,
        Err(error) => Box::new(std::iter::once(Err(error))),
    });
    let rows = stored.chain(more.into_iter().map(Ok)).take_while(|_| {
        let stop = stopped();
        failed = failed.or(stop.then_some(()));
        !stop
    });
    let part = files.write_from(epoch, 0, 0, expected, rows)?;
    if failed.is_some() {
        durable::remove_file(&files.path(&part))?;
        return Ok(None);
    }
    Ok(Some(part))
}

fn start_merge(files: &Arc<PartFiles>, epoch: u64, inputs: Vec<Part>) -> Result<Merge, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let names = inputs.iter().map(|part| part.file.clone()).collect();
    let (files, told) = (Arc::clone(files), Arc::clone(&stop));
    let thread = thread::Builder::new()
        .name("merge-parts".to_owned())
        .spawn(move || merge_parts(&files, epoch, &inputs, Vec::new(), Some(&told)))
        .map_err(|error| Error::Bug(format!("cannot start a thread to merge parts: {error}")))?;
    Ok(Merge { inputs: names, stop, thread })
}
