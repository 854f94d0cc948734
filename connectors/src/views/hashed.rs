//! Which parts a change touches, and how they are written again: split by hash, merged, or as they are.
//!
//! The parts are the leaves of a binary trie over the hashes of rows: each holds those that begin with its prefix, and together
//! they hold all. Splitting and merging are local, and happen only to parts that are written anyway.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use arrow::array::{Array, BooleanArray, BooleanBufferBuilder, UInt32Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::record_batch::RecordBatch;
use arrow::row::Rows;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::cost::{self, ChangeRate, Cost};
use super::part_file::PartFiles;
use super::{Change, Part, parallel};
use crate::Error;

/// Parts of at most this many rows are written by many threads, which wait for the disk most of the time.
const SMALL_ROWS: u64 = 16 << 10;
const SMALL_THREADS: usize = 12;
/// More bits than this a prefix cannot have.
const MOST_BITS: u8 = 32;

/// A change, ready to be applied.
struct Encoded {
    stored: RecordBatch,
    rows: Rows,
    hashes: Vec<u64>,
}

/// A row of a change.
#[derive(Debug, Clone, Copy)]
struct RowRef {
    change: u32,
    row: u32,
}

/// Parts to read, and what becomes of them.
#[derive(Debug, Default)]
struct Job {
    olds: Vec<Part>,
    prefix: u32,
    bits: u8,
    /// Bits that the new parts have more than `bits`.
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

/// The first hash of a part's slice.
fn start(prefix: u32, bits: u8) -> u64 {
    if bits == 0 { 0 } else { u64::from(prefix) << (64 - u32::from(bits)) }
}

/// Checks that the parts of a view hold the whole space of hashes, each slice once, and sorts them.
pub(super) fn sorted(mut parts: Vec<Part>, folder: &Path) -> Result<Vec<Part>, Error> {
    parts.sort_by_key(|part| start(part.prefix, part.bits));
    let mut next: u128 = 0;
    for part in &parts {
        let fits = part.bits <= MOST_BITS && u64::from(part.prefix) >> part.bits == 0 && u128::from(start(part.prefix, part.bits)) == next;
        if !fits {
            let message = format!("the list of parts does not hold every hash once: see {}", part.file);
            return Err(Error::Corrupt { path: folder.to_owned(), message });
        }
        next += 1 << (64 - u32::from(part.bits));
    }
    if !parts.is_empty() && next != 1 << 64 {
        return Err(Error::Corrupt { path: folder.to_owned(), message: "the last slice of its list of parts is missing".to_owned() });
    }
    Ok(parts)
}

/// Applies changes to the parts of a view; gives the parts after, sorted. New files are synced, their names are not.
pub(super) fn apply(
    view: &str,
    files: &PartFiles,
    rate: &mut ChangeRate,
    epoch: u64,
    parts: &[Part],
    changes: &[Change],
) -> Result<Vec<Part>, Error> {
    let encoded = changes
        .iter()
        .map(|change| {
            let stored = files.shape().to_stored(&change.rows)?;
            let rows = files.shape().encode(&stored)?;
            let hashes = files.shape().hashes(&stored, Some(&rows))?;
            Ok(Encoded { stored, rows, hashes })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    rate.observe(distinct_keys(&encoded));

    let mut touched = jobs_by_part(parts, changes, &encoded)?;
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
    let threads = if small { SMALL_THREADS } else { std::thread::available_parallelism().map_or(1, usize::from) };
    let written = parallel::run(jobs, threads, |job| run(view, files, epoch, &job, &encoded))?;
    let mut parts: Vec<Part> = unchanged.into_values().chain(written.into_iter().flatten()).collect();
    parts.sort_by_key(|part| start(part.prefix, part.bits));
    Ok(parts)
}

/// Keys that a commit changes, or a guess where counting them would cost as much as changing them.
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

/// Sorts the changed rows by the part (its index) that each falls in.
fn jobs_by_part(parts: &[Part], changes: &[Change], encoded: &[Encoded]) -> Result<HashMap<usize, Job>, Error> {
    let starts: Vec<u64> = parts.iter().map(|part| start(part.prefix, part.bits)).collect();
    let mut jobs: HashMap<usize, Job> = HashMap::new();
    for (change, (weighted, encoded)) in changes.iter().zip(encoded).enumerate() {
        let weights = weighted.weights.as_ref();
        if weights.is_some_and(|weights| weights.len() != encoded.hashes.len() || weights.null_count() > 0) {
            return Err(Error::Bug("a change whose weights do not fit its rows".to_owned()));
        }
        for (row, hash) in encoded.hashes.iter().enumerate() {
            let weight = weights.map_or(1, |weights| weights.value(row));
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

/// Joins neighbours that are better off as one part, longest prefixes first.
fn merge(jobs: &mut BTreeMap<(u8, u32), Job>, unchanged: &mut BTreeMap<(u8, u32), Part>, cost: Option<Cost>, total: u64) {
    for bits in (1..=MOST_BITS).rev() {
        let touched: Vec<u32> = jobs.range((bits, 0)..=(bits, u32::MAX)).map(|((_, prefix), _)| *prefix).collect();
        for prefix in touched {
            // Gone when it was merged with the one before it.
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

/// Decides which parts are written as several.
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
    let mut rows = Vec::new();
    for old in &job.olds {
        for batch in files.read(old)? {
            let batch = batch?;
            rows.push(if removals.left == 0 { batch } else { removals.take_from(batch, files)? });
        }
    }
    // What is not in the old part may have come and gone in one epoch.
    let mut adds = job.adds.clone();
    if removals.left > 0 {
        adds.retain(|add| !removals.take(changes[add.change as usize].rows.row(add.row as usize).as_ref()));
    }
    if let Some(missing) = removals.first_left() {
        let parts: Vec<_> = job.olds.iter().map(|part| part.file.as_str()).collect();
        let row = describe(&changes[missing.change as usize].stored, missing.row as usize);
        return Err(Error::Bug(format!(
            "view {view}, epoch {epoch}: a row to remove is not in part {}: {row}",
            if parts.is_empty() { "(none yet)".to_owned() } else { parts.join(", ") }
        )));
    }
    for (change, encoded) in changes.iter().enumerate() {
        let indexes: UInt32Array = adds.iter().filter(|add| add.change as usize == change).map(|add| add.row).collect();
        if !indexes.is_empty() {
            rows.push(take_record_batch(&encoded.stored, &indexes).map_err(|error| Error::Bug(error.to_string()))?);
        }
    }
    if job.split == 0 {
        return Ok(vec![files.write(epoch, job.prefix, job.bits, &rows)?]);
    }
    write_split(files, epoch, job, rows)
}

fn write_split(files: &PartFiles, epoch: u64, job: &Job, rows: Vec<RecordBatch>) -> Result<Vec<Part>, Error> {
    let bits = job.bits + job.split;
    let pieces = 1_usize << job.split;
    let mut split: Vec<Vec<RecordBatch>> = vec![Vec::new(); pieces];
    for batch in rows {
        let mut indexes: Vec<Vec<u32>> = vec![Vec::new(); pieces];
        for (row, hash) in files.shape().hashes(&batch, None)?.into_iter().enumerate() {
            indexes[(hash >> (64 - u32::from(bits))) as usize & (pieces - 1)].push(position(row)?);
        }
        for (piece, indexes) in indexes.into_iter().enumerate() {
            if !indexes.is_empty() {
                let rows = take_record_batch(&batch, &UInt32Array::from(indexes)).map_err(|error| Error::Bug(error.to_string()))?;
                split[piece].push(rows);
            }
        }
    }
    let jobs: Vec<(usize, Vec<RecordBatch>)> = split.into_iter().enumerate().collect();
    let threads = if job.rows() >> job.split <= SMALL_ROWS { SMALL_THREADS } else { 1 };
    parallel::run(jobs, threads, |(piece, rows)| files.write(epoch, (job.prefix << job.split) | piece as u32, bits, &rows))
}

/// The rows that a part has to lose, as a multiset.
struct Removals<'a> {
    changes: &'a [Encoded],
    /// A row, and how many times it is still to be removed.
    rows: HashTable<(RowRef, u64)>,
    left: u64,
}

impl<'a> Removals<'a> {
    fn new(changes: &'a [Encoded], removes: &[RowRef]) -> Removals<'a> {
        let mut rows: HashTable<(RowRef, u64)> = HashTable::with_capacity(removes.len());
        let bytes = |at: &RowRef| changes[at.change as usize].rows.row(at.row as usize);
        for remove in removes {
            let row = bytes(remove);
            rows.entry(xxh3_64(row.as_ref()), |(at, _)| bytes(at).as_ref() == row.as_ref(), |(at, _)| xxh3_64(bytes(at).as_ref()))
                .and_modify(|(_, times)| *times += 1)
                .or_insert((*remove, 1));
        }
        Removals { changes, rows, left: removes.len() as u64 }
    }

    /// Whether this row is to be removed; counts it as removed.
    fn take(&mut self, row: &[u8]) -> bool {
        let changes = self.changes;
        let found = self.rows.find_mut(xxh3_64(row), |(at, _)| changes[at.change as usize].rows.row(at.row as usize).as_ref() == row);
        match found {
            Some((_, times)) if *times > 0 => {
                *times -= 1;
                self.left -= 1;
                true
            }
            _ => false,
        }
    }

    /// The rows that stay.
    fn take_from(&mut self, batch: RecordBatch, files: &PartFiles) -> Result<RecordBatch, Error> {
        let rows = files.shape().encode(&batch)?;
        let mut keep = BooleanBufferBuilder::new(batch.num_rows());
        let before = self.left;
        for row in &rows {
            keep.append(!self.take(row.as_ref()));
        }
        if self.left == before {
            return Ok(batch);
        }
        filter_record_batch(&batch, &BooleanArray::new(keep.finish(), None)).map_err(|error| Error::Bug(error.to_string()))
    }

    fn first_left(&self) -> Option<RowRef> {
        self.rows.iter().find(|(_, times)| *times > 0).map(|(at, _)| *at)
    }
}

/// A row in words, cut off where it is long.
fn describe(batch: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::default().with_null("NULL");
    let mut text = String::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let value = ArrayFormatter::try_new(column, &options).map(|formatter| formatter.value(row).to_string());
        text.push_str(&format!("{}{} = {}", if text.is_empty() { "" } else { ", " }, field.name(), value.unwrap_or_default()));
    }
    text.chars().take(300).collect()
}
