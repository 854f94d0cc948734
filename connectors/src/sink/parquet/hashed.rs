//! Finds the parts that a change touches, and rewrites them. A rewritten part may be split by hash or merged with its sibling.
//!
//! The parts are the leaves of a binary trie over the hashes of rows. Each part holds the rows whose hash begins with its prefix; together
//! the parts cover all hashes. Only parts that are rewritten anyway are split, or merged with a sibling.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use arrow::array::{Array, BooleanArray, BooleanBufferBuilder, Int64Array, Scalar, UInt32Array};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{and, filter_record_batch, or, take_record_batch};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::Rows;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hashbrown::HashTable;
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::cost::{self, ChangeRate, Cost};
use super::parallel;
use super::part_file::PartFiles;
use super::parts::Part;
use super::shape::Shape;
use crate::Error;
use crate::sink::contract::Delta;

/// Parts of at most this many rows are written by many threads, since these mostly wait for the disk.
const SMALL_ROWS: u64 = 16 << 10;
const SMALL_THREADS: usize = 12;
/// The maximum number of rows to remove from a part for which they are found by their keys, one by one.
const FEW_REMOVALS: usize = 16;
/// The maximum length of a prefix in bits.
const MOST_BITS: u8 = 32;

/// The number of rows of a change that are encoded at once.
const ENCODED_ROWS: usize = 64 << 10;

/// A piece of a change, ready to be applied.
struct Encoded {
    stored: RecordBatch,
    weights: Option<Int64Array>,
    hashes: Vec<u64>,
    /// The encodings for comparing rows; `None` if the changes remove no rows.
    rows: Option<Rows>,
}

impl Encoded {
    fn new(rows: &RecordBatch, weights: Option<Int64Array>, compared: bool, shape: &Shape) -> Result<Encoded, Error> {
        let stored = shape.to_stored(rows)?;
        let rows = if compared { Some(shape.encode(&stored)?) } else { None };
        let hashes = shape.hashes(&stored, rows.as_ref())?;
        Ok(Encoded { stored, weights, hashes, rows })
    }

    /// Returns the encoding of a row for comparison; empty if rows are not compared.
    fn row(&self, row: u32) -> &[u8] {
        self.rows.as_ref().map_or(&[], |rows| rows.row(row as usize).data())
    }
}

/// Splits the changes into pieces and encodes them on all cores. Keeps their order.
fn encode(changes: &[Delta], shape: &Shape) -> Result<Vec<Encoded>, Error> {
    let compared = changes
        .iter()
        .filter_map(|change| change.weights.as_ref())
        .any(|weights| weights.iter().flatten().any(|weight| weight < 0));
    let mut pieces = Vec::new();
    for change in changes {
        let rows = change.rows.num_rows();
        if change.weights.as_ref().is_some_and(|weights| weights.len() != rows || weights.null_count() > 0) {
            return Err(Error::Bug("the weights of a change do not match its rows".to_owned()));
        }
        for start in (0..rows).step_by(ENCODED_ROWS) {
            let length = ENCODED_ROWS.min(rows - start);
            pieces.push((change.rows.slice(start, length), change.weights.as_ref().map(|weights| weights.slice(start, length))));
        }
    }
    pieces.into_par_iter().map(|(rows, weights)| Encoded::new(&rows, weights, compared, shape)).collect()
}

/// The position of a row in the changes.
#[derive(Debug, Clone, Copy)]
struct RowRef {
    change: u32,
    row: u32,
}

/// Parts to rewrite, and the changes to apply to them.
#[derive(Debug, Default)]
struct Job {
    olds: Vec<Part>,
    prefix: u32,
    bits: u8,
    /// The number of bits by which to split: the new parts have prefixes of `bits + split` bits.
    split: u8,
    adds: Vec<RowRef>,
    removes: Vec<RowRef>,
}

impl Job {
    fn rows(&self) -> u64 {
        let rows: u64 = self.olds.iter().map(|part| part.rows).sum();
        (rows + self.adds.len() as u64).saturating_sub(self.removes.len() as u64)
    }

    fn bytes(&self) -> u64 {
        self.olds.iter().map(|part| part.bytes).sum()
    }

    fn is_touched(&self) -> bool {
        !self.adds.is_empty() || !self.removes.is_empty()
    }
}

/// Returns the first hash of a part's slice.
fn start(prefix: u32, bits: u8) -> u64 {
    if bits == 0 { 0 } else { u64::from(prefix) << (64 - u32::from(bits)) }
}

/// Sorts the parts of a view and checks that they cover the hash space without gap or overlap.
pub(super) fn sorted(mut parts: Vec<Part>, folder: &Path) -> Result<Vec<Part>, Error> {
    parts.sort_by_key(|part| start(part.prefix, part.bits));
    let mut next: u128 = 0;
    for part in &parts {
        let fits = part.bits <= MOST_BITS
            && u64::from(part.prefix) >> part.bits == 0
            && u128::from(start(part.prefix, part.bits)) == next;
        if !fits {
            let message = format!("its list of parts has a gap or an overlap in the hash space at {}", part.file);
            return Err(Error::Corrupt { path: folder.to_owned(), message });
        }
        next += 1 << (64 - u32::from(part.bits));
    }
    if !parts.is_empty() && next != 1 << 64 {
        return Err(Error::Corrupt {
            path: folder.to_owned(),
            message: "its list of parts ends before the end of the hash space".to_owned(),
        });
    }
    Ok(parts)
}

/// Applies changes to the parts of a view and returns the new list of parts, sorted. New files are synced, but their folder is not.
pub(super) fn apply(
    view: &str,
    files: &PartFiles,
    rate: &mut ChangeRate,
    epoch: u64,
    parts: &[Part],
    changes: &[Delta],
) -> Result<Vec<Part>, Error> {
    let encoded = encode(changes, files.shape())?;
    rate.observe(distinct_keys(&encoded));

    let mut touched = jobs_by_part(parts, &encoded)?;
    if parts.is_empty() {
        touched.entry(0).or_default();
    }
    if touched.is_empty() {
        return Ok(parts.to_vec());
    }
    let mut unchanged: BTreeMap<(u8, u32), Part> = BTreeMap::new();
    for (index, part) in parts.iter().enumerate() {
        if !touched.contains_key(&index) {
            unchanged.insert((part.bits, part.prefix), part.clone());
        }
    }
    let total: u64 = parts.iter().map(|part| part.rows).sum();
    let cost = rate.keys().map(|keys| Cost::new(keys, files.shape().stored().fields().len()));
    let mut jobs: BTreeMap<(u8, u32), Job> = touched.into_values().map(|job| ((job.bits, job.prefix), job)).collect();
    merge(&mut jobs, &mut unchanged, cost, total);
    split(&mut jobs, cost, total);

    let jobs: Vec<Job> = jobs.into_values().collect();
    let small = jobs.iter().all(|job| job.rows() <= SMALL_ROWS);
    let run = |job: Job| run(view, files, epoch, &job, &encoded);
    let written = if small { parallel::run(jobs, SMALL_THREADS, run) } else { jobs.into_par_iter().map(run).collect() }?;
    let mut parts: Vec<Part> = unchanged.into_values().chain(written.into_iter().flatten()).collect();
    parts.sort_by_key(|part| start(part.prefix, part.bits));
    Ok(parts)
}

/// Returns the number of keys that a commit changes. For large commits it is only an upper bound, since an exact count is expensive.
fn distinct_keys(encoded: &[Encoded]) -> u64 {
    let all = encoded.iter().map(|change| change.hashes.len()).sum::<usize>();
    if all > 16 << 10 {
        return all as u64;
    }
    let mut hashes: Vec<u64> = encoded.iter().flat_map(|change| change.hashes.iter().copied()).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.len() as u64
}

/// Groups the changed rows by the index of the part they fall in.
fn jobs_by_part(parts: &[Part], changes: &[Encoded]) -> Result<HashMap<usize, Job>, Error> {
    let starts: Vec<u64> = parts.iter().map(|part| start(part.prefix, part.bits)).collect();
    let mut jobs: HashMap<usize, Job> = HashMap::new();
    for (change, encoded) in changes.iter().enumerate() {
        for (row, hash) in encoded.hashes.iter().enumerate() {
            let weight = encoded.weights.as_ref().map_or(1, |weights| weights.value(row));
            if weight == 0 {
                continue;
            }
            let index = starts.partition_point(|start| start <= hash).saturating_sub(1);
            let job = jobs.entry(index).or_insert_with(|| match parts.get(index) {
                Some(part) => Job { olds: vec![part.clone()], prefix: part.prefix, bits: part.bits, ..Job::default() },
                None => Job::default(),
            });
            let at = RowRef { change: position(change)?, row: position(row)? };
            let rows = if weight > 0 { &mut job.adds } else { &mut job.removes };
            rows.extend(std::iter::repeat_n(at, usize::try_from(weight.unsigned_abs()).unwrap_or(usize::MAX)));
        }
    }
    Ok(jobs)
}

fn position(index: usize) -> Result<u32, Error> {
    u32::try_from(index).map_err(|_| Error::Bug("a change of more than 4 billion rows".to_owned()))
}

/// Merges sibling parts if that pays off, longest prefixes first.
fn merge(jobs: &mut BTreeMap<(u8, u32), Job>, unchanged: &mut BTreeMap<(u8, u32), Part>, cost: Option<Cost>, total: u64) {
    for bits in (1..=MOST_BITS).rev() {
        let touched: Vec<u32> = jobs.range((bits, 0)..=(bits, u32::MAX)).map(|((_, prefix), _)| *prefix).collect();
        for prefix in touched {
            // The job is gone if it was merged with its predecessor.
            let Some(job) = jobs.get(&(bits, prefix)) else { continue };
            let other = (bits, prefix ^ 1);
            let pays = if let Some(sibling) = jobs.get(&other) {
                let rows = job.rows() + sibling.rows();
                job.bytes() + sibling.bytes() <= cost::MAX_BYTES
                    && cost.is_some_and(|cost| cost.of(rows as f64 / total.max(1) as f64, jobs.len() - 2).merge(rows))
            } else if let Some(sibling) = unchanged.get(&other) {
                job.rows() + sibling.rows < cost::MIN_ROWS / 2
            } else {
                false
            };
            if !pays {
                continue;
            }
            let Some(mut job) = jobs.remove(&(bits, prefix)) else { continue };
            if let Some(sibling) = jobs.remove(&other) {
                job.olds.extend(sibling.olds);
                job.adds.extend(sibling.adds);
                job.removes.extend(sibling.removes);
            }
            job.olds.extend(unchanged.remove(&other));
            job.olds.sort_by_key(|part| start(part.prefix, part.bits));
            (job.prefix, job.bits) = (prefix >> 1, bits - 1);
            jobs.insert((job.bits, job.prefix), job);
        }
    }
}

/// Decides which parts to split.
fn split(jobs: &mut BTreeMap<(u8, u32), Job>, cost: Option<Cost>, total: u64) {
    let others = jobs.len().saturating_sub(1);
    for job in jobs.values_mut().filter(|job| job.is_touched()) {
        let rows = job.rows();
        let forced = cost::forced_split(rows, job.bytes());
        let wanted = cost.map_or(0, |cost| cost.of((rows as f64 / total.max(1) as f64).min(1.0), others).split(rows, job.bits));
        job.split = forced.max(wanted).min(MOST_BITS - job.bits);
    }
}

fn run(view: &str, files: &PartFiles, epoch: u64, job: &Job, changes: &[Encoded]) -> Result<Vec<Part>, Error> {
    let mut removals = Removals::new(changes, &job.removes);
    let mut pieces = Vec::new();
    for old in &job.olds {
        for batch in files.read(old)? {
            let batch = batch?;
            let rows = if removals.left == 0 { batch } else { removals.take_from(batch, files)? };
            pieces.push(Piece { rows, hashes: None });
        }
    }
    // A row to remove that is not in the old parts may have been added in this epoch.
    let mut adds = job.adds.clone();
    if removals.left > 0 {
        adds.retain(|add| !removals.take(changes[add.change as usize].row(add.row)));
    }
    if let Some(missing) = removals.first_left() {
        let parts: Vec<_> = job.olds.iter().map(|part| part.file.as_str()).collect();
        let row = describe(&changes[missing.change as usize].stored, missing.row as usize);
        return Err(Error::Bug(format!(
            "view {view}, epoch {epoch}: a row to remove is not in part {}: {row}",
            if parts.is_empty() { "(none yet)".to_owned() } else { parts.join(", ") }
        )));
    }
    adds.sort_unstable_by_key(|add| (add.change, add.row));
    for adds in adds.chunk_by(|add, next| add.change == next.change) {
        let encoded = &changes[adds[0].change as usize];
        let indexes: UInt32Array = adds.iter().map(|add| add.row).collect();
        let rows = take_record_batch(&encoded.stored, &indexes).map_err(|error| Error::Bug(error.to_string()))?;
        pieces.push(Piece { rows, hashes: Some(adds.iter().map(|add| encoded.hashes[add.row as usize]).collect()) });
    }
    if job.split == 0 {
        let rows: Vec<RecordBatch> = pieces.into_iter().map(|piece| piece.rows).collect();
        return Ok(vec![files.write(epoch, job.prefix, job.bits, &rows)?]);
    }
    write_split(files, epoch, job, pieces)
}

/// Rows of a new part, with their hashes if known.
struct Piece {
    rows: RecordBatch,
    hashes: Option<Vec<u64>>,
}

fn write_split(files: &PartFiles, epoch: u64, job: &Job, pieces: Vec<Piece>) -> Result<Vec<Part>, Error> {
    let bits = job.bits + job.split;
    let parts = 1_usize << job.split;
    let split = pieces.into_par_iter().map(|piece| {
        let hashes = piece.hashes.map_or_else(|| files.shape().hashes(&piece.rows, None), Ok)?;
        let mut indexes: Vec<Vec<u32>> = vec![Vec::new(); parts];
        for (row, hash) in hashes.into_iter().enumerate() {
            indexes[(hash >> (64 - u32::from(bits))) as usize & (parts - 1)].push(position(row)?);
        }
        let rows = indexes.into_iter().map(|indexes| take_record_batch(&piece.rows, &UInt32Array::from(indexes)));
        rows.collect::<Result<Vec<_>, _>>().map_err(|error| Error::Bug(error.to_string()))
    });
    let split: Vec<Vec<RecordBatch>> = split.collect::<Result<_, Error>>()?;
    let mut jobs: Vec<(usize, Vec<RecordBatch>)> = (0..parts).map(|part| (part, Vec::new())).collect();
    for rows in split {
        for ((_, part), rows) in jobs.iter_mut().zip(rows) {
            part.extend((rows.num_rows() > 0).then_some(rows));
        }
    }
    let write =
        |(part, rows): (usize, Vec<RecordBatch>)| files.write(epoch, (job.prefix << job.split) | part as u32, bits, &rows);
    if job.rows() >> job.split <= SMALL_ROWS {
        parallel::run(jobs, SMALL_THREADS, write)
    } else {
        jobs.into_par_iter().map(write).collect()
    }
}

/// The multiset of rows to remove from a part.
struct Removals<'a> {
    changes: &'a [Encoded],
    /// Each row, and how many more times to remove it.
    rows: HashTable<(RowRef, u64)>,
    left: u64,
}

impl<'a> Removals<'a> {
    fn new(changes: &'a [Encoded], removes: &[RowRef]) -> Removals<'a> {
        let mut rows: HashTable<(RowRef, u64)> = HashTable::with_capacity(removes.len());
        let bytes = |at: &RowRef| changes[at.change as usize].row(at.row);
        for remove in removes {
            let row = bytes(remove);
            rows.entry(xxh3_64(row), |(at, _)| bytes(at) == row, |(at, _)| xxh3_64(bytes(at)))
                .and_modify(|(_, times)| *times += 1)
                .or_insert((*remove, 1));
        }
        Removals { changes, rows, left: removes.len() as u64 }
    }

    /// Checks whether to remove this row. If so, counts it as removed.
    fn take(&mut self, row: &[u8]) -> bool {
        let changes = self.changes;
        let found = self.rows.find_mut(xxh3_64(row), |(at, _)| changes[at.change as usize].row(at.row) == row);
        match found {
            Some((_, times)) if *times > 0 => {
                *times -= 1;
                self.left -= 1;
                true
            }
            _ => false,
        }
    }

    /// Returns the rows of a batch that remain.
    fn take_from(&mut self, batch: RecordBatch, files: &PartFiles) -> Result<RecordBatch, Error> {
        let failed = |error: ArrowError| Error::Bug(format!("rows of a part cannot be compared: {error}"));
        // The comparison kernels do not support every type, so fall back to comparing the encodings of all rows.
        let candidates = match self.candidates(&batch, files.shape()) {
            Ok(Some(candidates)) => candidates,
            Ok(None) | Err(_) => (0..position(batch.num_rows())?).collect(),
        };
        let few = candidates.len() < batch.num_rows();
        let candidates = UInt32Array::from(candidates);
        let rows = if few {
            files.shape().encode(&take_record_batch(&batch, &candidates).map_err(failed)?)?
        } else {
            files.shape().encode(&batch)?
        };
        let mut keep = BooleanBufferBuilder::new(batch.num_rows());
        keep.append_n(batch.num_rows(), true);
        let before = self.left;
        for (row, index) in rows.iter().zip(candidates.values()) {
            if self.take(row.as_ref()) {
                keep.set_bit(*index as usize, false);
            }
        }
        if self.left == before {
            return Ok(batch);
        }
        filter_record_batch(&batch, &BooleanArray::new(keep.finish(), None)).map_err(failed)
    }

    /// Returns the rows, in order, whose key equals that of a row to remove. Encoding only these is much cheaper if a large part loses few
    /// rows. Returns `None` if finding them by key is not possible or not cheaper.
    fn candidates(&self, batch: &RecordBatch, shape: &Shape) -> Result<Option<Vec<u32>>, ArrowError> {
        let columns = shape.comparable_keys();
        if columns.is_empty() || self.rows.len() > FEW_REMOVALS {
            return Ok(None);
        }
        let mut found: Option<BooleanArray> = None;
        for (removal, _) in self.rows.iter().filter(|(_, times)| *times > 0) {
            let removed = &self.changes[removal.change as usize].stored;
            let mut same: Option<BooleanArray> = None;
            for column in columns {
                let key = Scalar::new(removed.column(*column).slice(removal.row as usize, 1));
                let equal = not_distinct(batch.column(*column), &key)?;
                same = Some(same.map_or(Ok(equal.clone()), |same| and(&same, &equal))?);
            }
            if let Some(same) = same {
                found = Some(found.map_or(Ok(same.clone()), |found| or(&found, &same))?);
            }
        }
        Ok(found.map(|found| found.values().set_indices_u32().collect()))
    }

    fn first_left(&self) -> Option<RowRef> {
        self.rows.iter().find(|(_, times)| *times > 0).map(|(at, _)| *at)
    }
}

/// Formats a row for an error message, truncated to 300 characters.
fn describe(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut text = String::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let value = ArrayFormatter::try_new(column, &options).map(|formatter| formatter.value(row).to_string());
        text.push_str(&format!("{}{} = {}", if text.is_empty() { "" } else { ", " }, field.name(), value.unwrap_or_default()));
    }
    text.chars().take(300).collect()
}
