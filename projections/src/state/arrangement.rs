//! Rows arranged by a key: all rows of some buckets are found without a look at the others.
//!
//! An arrangement is a list of immutable segments and two indexes in memory. `buckets` finds the rows of a bucket; `content`, only
//! where rows leave by their content, finds a row by all its columns. A row that leaves is marked as dead, and what has to become
//! durable of that is its place (`departures`), so that a commit writes what has changed and nothing else.
//!
//! Where rows leave by their content, each different row is there once, with a weight, and the order says nothing. Otherwise the rows
//! of a bucket come in the order of their arrival, after a restart too.

mod departures;
mod merging;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array, new_empty_array};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use self::departures::Departures;
use self::segment::Segment;
use super::buckets::Buckets;
use super::keys::{KeyEncoder, Keys, spread};
use super::log::bare;
use super::segment::Place;
use super::table::adopt;
use super::{BatchId, MAX_BATCH_BYTES, MAX_BATCH_ROWS, TableCheckpoint, Tables, compact};
use crate::consolidate::{Net, net};
use crate::delta::Delta;
use crate::error::Error;

/// The places of the rows of one bucket, in the order of the segments.
#[derive(Debug)]
struct Bucket {
    hash: u32,
    places: Places,
}

#[derive(Debug)]
enum Places {
    One(Place),
    /// A vector behind a pointer: most buckets of a large arrangement hold one row.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<Place>>),
}

impl Places {
    fn as_slice(&self) -> &[Place] {
        match self {
            Places::One(place) => std::slice::from_ref(place),
            Places::Many(places) => places,
        }
    }
}

/// A row that can leave, by the hash of all its columns.
#[derive(Debug, Clone, Copy)]
struct WholeRow {
    hash: u32,
    place: Place,
}

/// Rows by bucket.
///
/// # Contract
/// A place is valid until the arrangement changes (unchecked).
#[derive(Debug)]
pub(crate) struct Arrangement {
    name: String,
    /// Of the rows that are put in, without metadata.
    rows: SchemaRef,
    /// Of the segments: the same, and a column of weights where rows can leave.
    stored: SchemaRef,
    by: Buckets,
    segments: Vec<Option<Segment>>,
    free: Vec<usize>,
    /// Slots in the order of the segments.
    order: Vec<usize>,
    buckets: HashTable<Bucket>,
    /// Where rows can leave.
    departures: Option<Departures>,
    /// Where they leave by their content.
    content: Option<Content>,
    next_id: u64,
    /// Rows written or killed since the last [`Arrangement::end_epoch`].
    changed: usize,
}

/// What it takes to find a row by its content.
#[derive(Debug)]
struct Content {
    encoder: KeyEncoder,
    rows: HashTable<WholeRow>,
}

/// Whether rows of an arrangement can leave, and how that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Rows only arrive.
    Never,
    /// Whoever takes a row out knows where it is.
    ByPlace,
    /// By all its columns, as a net change.
    ByContent,
}

impl Leave {
    /// How rows of an input leave, which can be taken back or expire.
    pub(crate) fn of(retracts: bool, expires: bool) -> Leave {
        match (retracts, expires) {
            (true, _) => Leave::ByContent,
            (false, true) => Leave::ByPlace,
            (false, false) => Leave::Never,
        }
    }
}

impl Arrangement {
    /// # Errors
    /// [`Error::Plan`] where rows have to be compared and a column cannot be.
    pub(crate) fn new(name: String, schema: &SchemaRef, by: Buckets, leave: Leave) -> Result<Self, Error> {
        let rows = bare(schema);
        let mut fields: Vec<Arc<Field>> = rows.fields().to_vec();
        let departures = (leave != Leave::Never).then(|| Departures::new(format!("{name}-departures")));
        let content = if leave == Leave::ByContent {
            fields.push(Arc::new(Field::new("__weight", DataType::Int64, false)));
            Some(Content { encoder: KeyEncoder::new(rows.fields())?, rows: HashTable::new() })
        } else {
            None
        };
        Ok(Self {
            name,
            rows,
            stored: Arc::new(Schema::new(fields)),
            by,
            segments: Vec::new(),
            free: Vec::new(),
            order: Vec::new(),
            buckets: HashTable::new(),
            departures,
            content,
            next_id: 0,
            changed: 0,
        })
    }

    /// The rows' own schema.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.rows
    }

    /// In which buckets rows are.
    pub(crate) fn by(&self) -> &Buckets {
        &self.by
    }

    /// Net changes of rows that leave by their content.
    ///
    /// # Errors
    /// [`Error::Bug`] where they do not.
    pub(crate) fn net(&self, deltas: &[Delta]) -> Result<Net, Error> {
        match &self.content {
            Some(content) => net(&self.rows, &content.encoder, deltas),
            None => Err(Error::Bug(format!("rows of {} are not told apart", self.name))),
        }
    }

    /// Whether rows leave by their content.
    pub(crate) fn rows_leave(&self) -> bool {
        self.content.is_some()
    }

    /// How many rows a bucket has, each counted once.
    pub(crate) fn count(&self, bucket: u32) -> usize {
        self.places(bucket).len()
    }

    /// The places of a bucket's rows.
    pub(crate) fn places(&self, bucket: u32) -> &[Place] {
        self.buckets.find(spread(bucket), |entry| entry.hash == bucket).map_or(&[], |entry| entry.places.as_slice())
    }

    /// The places of all rows.
    pub(crate) fn all_places(&self) -> Vec<Place> {
        let of_segment = |slot: &usize| {
            let (slot, segment) = (*slot, self.segment(*slot));
            (0..segment.len()).filter(|row| segment.is_alive(*row)).map(move |row| Place::new(slot, row))
        };
        self.order.iter().flat_map(of_segment).collect()
    }

    /// The weight of the row at a place.
    pub(crate) fn weight(&self, place: Place) -> i64 {
        if self.content.is_none() {
            return 1;
        }
        self.segment(place.slot()).rows.column(self.rows.fields().len()).as_primitive::<Int64Type>().value(place.row())
    }

    /// The rows at some places.
    pub(crate) fn gather(&self, places: &[Place]) -> Result<RecordBatch, Error> {
        let columns = self.columns(0..self.rows.fields().len(), places)?;
        let options = RecordBatchOptions::new().with_row_count(Some(places.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.rows), columns, &options)?)
    }

    /// Some columns of the rows at some places.
    pub(crate) fn columns(&self, columns: impl IntoIterator<Item = usize>, places: &[Place]) -> Result<Vec<ArrayRef>, Error> {
        let columns = columns.into_iter();
        if places.is_empty() {
            return Ok(columns.map(|column| new_empty_array(self.stored.field(column).data_type())).collect());
        }
        // Only the segments concerned, numbered in the order in which they are met.
        let mut number = vec![u32::MAX; self.segments.len()];
        let mut slots: Vec<usize> = Vec::new();
        let mut indices = Vec::with_capacity(places.len());
        for place in places {
            let seen = &mut number[place.slot()];
            if *seen == u32::MAX {
                *seen = slots.len() as u32;
                slots.push(place.slot());
            }
            indices.push((*seen as usize, place.row()));
        }
        columns
            .map(|column| {
                let arrays: Vec<&dyn Array> = slots.iter().map(|slot| self.segment(*slot).rows.column(column).as_ref()).collect();
                Ok(interleave(&arrays, &indices)?)
            })
            .collect()
    }

    /// The rows at some places, each as many times as it is there. With `by_content` they come in an order that their content alone
    /// decides, so that what is computed from them does not depend on how they came in.
    pub(crate) fn repeated(&self, places: &[Place], by_content: bool) -> Result<RecordBatch, Error> {
        let rows = self.gather(places)?;
        let Some(content) = &self.content else { return Ok(rows) };
        let mut order: Vec<u32> = (0..places.len() as u32).collect();
        if by_content {
            let keys = content.encoder.encode(rows.columns(), rows.num_rows())?;
            order.sort_unstable_by(|one, other| keys.get(*one as usize).cmp(keys.get(*other as usize)));
        }
        let all_once = places.iter().all(|place| self.weight(*place) == 1);
        if all_once && !by_content {
            return Ok(rows);
        }
        let times = |row: u32| std::iter::repeat_n(row, self.weight(places[row as usize]).max(0) as usize);
        let indices = UInt32Array::from_iter_values(order.into_iter().flat_map(times));
        let columns: Vec<ArrayRef> =
            rows.columns().iter().map(|column| Ok(take(column, &indices, None)?)).collect::<Result<_, Error>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.rows), columns, &options)?)
    }

    /// Adds rows at the end, where they do not leave by their content; `buckets` are theirs.
    pub(crate) fn append(&mut self, rows: &RecordBatch, buckets: &[u32]) -> Result<(), Error> {
        assert!(self.content.is_none(), "rows that leave by their content are told apart");
        self.add(rows.columns(), rows.num_rows(), buckets, &[])
    }

    /// Takes rows out, where they leave by their place; `places` are all different.
    ///
    /// # Errors
    /// [`Error::Bug`] where they do not.
    pub(crate) fn remove(&mut self, places: &[Place]) -> Result<(), Error> {
        if self.departures.is_none() || self.content.is_some() {
            return Err(Error::Bug(format!("rows of {} do not leave by their place", self.name)));
        }
        self.bury(places.iter().map(|place| (self.segment(place.slot()).buckets[place.row()], *place)).collect())
    }

    /// Takes out every row that `goes` says of some of them. Between epochs.
    ///
    /// # Errors
    /// Those of `goes`; [`Error::Bug`] where rows never leave.
    pub(crate) fn evict(&mut self, goes: impl Fn(&RecordBatch) -> Result<BooleanArray, Error>) -> Result<(), Error> {
        if self.departures.is_none() {
            return Err(Error::Bug(format!("rows of {} never leave", self.name)));
        }
        let mut gone = Vec::new();
        for slot in &self.order {
            let segment = self.segment(*slot);
            let old = goes(&segment.rows)?;
            let old = old.values().set_indices().filter(|row| segment.is_alive(*row));
            gone.extend(old.map(|row| (segment.buckets[row], Place::new(*slot, row))));
        }
        for (_, place) in &gone {
            let hash = self.segment(place.slot()).hashes.get(place.row()).copied();
            if let (Some(content), Some(hash)) = (&mut self.content, hash)
                && let Ok(entry) = content.rows.find_entry(spread(hash), |entry| entry.place == *place)
            {
                entry.remove();
            }
        }
        self.bury(gone)?;
        self.end_epoch()
    }

    /// Changes the weights of rows, where they leave by their content; `buckets` are those of the net rows.
    ///
    /// # Errors
    /// [`Error::Bug`] where a row would be there less than no times.
    pub(crate) fn apply(&mut self, net: &Net, buckets: &[u32]) -> Result<(), Error> {
        let found = self.find(net)?;
        let mut weights = Vec::with_capacity(net.weights.len());
        for (place, weight) in found.iter().zip(&net.weights) {
            let new = place.map_or(0, |place| self.weight(place)) + weight;
            if new < 0 {
                return Err(Error::Bug(format!("a row leaves {} that is not there", self.name)));
            }
            weights.push(new);
        }
        self.kill(net, buckets, &found)?;
        let stay: Vec<u32> = (0..weights.len() as u32).filter(|row| weights[*row as usize] != 0).collect();
        if stay.is_empty() {
            return Ok(());
        }
        let weights = Int64Array::from_iter_values(stay.iter().map(|row| weights[*row as usize]));
        let buckets: Vec<u32> = stay.iter().map(|row| buckets[*row as usize]).collect();
        let hashes: Vec<u32> = stay.iter().map(|row| net.hashes[*row as usize]).collect();
        let stay = UInt32Array::from(stay);
        let mut columns: Vec<ArrayRef> =
            net.rows.columns().iter().map(|column| Ok(take(column, &stay, None)?)).collect::<Result<_, Error>>()?;
        columns.push(Arc::new(weights));
        self.add(&columns, stay.len(), &buckets, &hashes)
    }

    /// Where each row of some net changes is, if it is there.
    fn find(&self, net: &Net) -> Result<Vec<Option<Place>>, Error> {
        let Some(of_content) = &self.content else { return Err(Error::Bug(format!("rows of {} are not told apart", self.name))) };
        // Rows that have the same hash, nearly always one; their contents are compared all at once.
        let (mut candidates, mut of_row) = (Vec::new(), Vec::new());
        for (row, hash) in net.hashes.iter().enumerate() {
            for candidate in of_content.rows.iter_hash(spread(*hash)).filter(|candidate| candidate.hash == *hash) {
                candidates.push(candidate.place);
                of_row.push(row);
            }
        }
        let mut found = vec![None; net.hashes.len()];
        for (places, rows) in candidates.chunks(MAX_BATCH_ROWS).zip(of_row.chunks(MAX_BATCH_ROWS)) {
            let content = self.gather(places)?;
            let keys: Keys = of_content.encoder.encode(content.columns(), content.num_rows())?;
            for (number, (place, row)) in places.iter().zip(rows).enumerate() {
                if keys.get(number) == net.keys.get(*row) {
                    found[*row] = Some(*place);
                }
            }
        }
        Ok(found)
    }

    /// Marks rows as dead: a new version of them follows, or none.
    fn kill(&mut self, net: &Net, buckets: &[u32], found: &[Option<Place>]) -> Result<(), Error> {
        let mut dead: Vec<(u32, Place)> = Vec::new();
        for (row, place) in found.iter().enumerate() {
            let Some(place) = *place else { continue };
            dead.push((buckets[row], place));
            if let Some(content) = &mut self.content
                && let Ok(entry) = content.rows.find_entry(spread(net.hashes[row]), |entry| entry.place == place)
            {
                entry.remove();
            }
        }
        self.bury(dead)
    }

    /// Marks the rows at some places as dead, each given with its bucket.
    fn bury(&mut self, mut dead: Vec<(u32, Place)>) -> Result<(), Error> {
        if dead.is_empty() {
            return Ok(());
        }
        for (_, place) in &dead {
            self.segment_mut(place.slot()).kill(place.row());
        }
        let places: Vec<(BatchId, u32)> =
            dead.iter().map(|(_, place)| (self.segment(place.slot()).id, place.row() as u32)).collect();
        dead.sort_unstable_by_key(|(bucket, _)| *bucket);
        for of_bucket in dead.chunk_by(|one, next| one.0 == next.0) {
            self.forget(of_bucket[0].0);
        }
        self.changed += dead.len();
        match &mut self.departures {
            Some(departures) => departures.record(&places),
            None => Ok(()),
        }
    }

    /// Takes dead places out of a bucket.
    fn forget(&mut self, bucket: u32) {
        let segments = &self.segments;
        let is_alive = |place: &Place| segments[place.slot()].as_ref().is_some_and(|segment| segment.is_alive(place.row()));
        let Ok(mut entry) = self.buckets.find_entry(spread(bucket), |entry| entry.hash == bucket) else { return };
        let is_empty = match &mut entry.get_mut().places {
            Places::One(place) => !is_alive(place),
            Places::Many(places) => {
                places.retain(is_alive);
                places.is_empty()
            }
        };
        if is_empty {
            entry.remove();
        }
    }

    /// Adds rows as new segments at the end.
    fn add(&mut self, columns: &[ArrayRef], rows: usize, buckets: &[u32], hashes: &[u32]) -> Result<(), Error> {
        let bytes: usize = columns.iter().map(|column| column.get_buffer_memory_size()).sum::<usize>() / rows.max(1) + 1;
        let step = (MAX_BATCH_BYTES / bytes).clamp(1, MAX_BATCH_ROWS);
        for (range, columns) in compact::copy_pieces(columns, rows, step)? {
            let options = RecordBatchOptions::new().with_row_count(Some(range.len()));
            let batch = RecordBatch::try_new_with_options(Arc::clone(&self.stored), columns, &options)?;
            let hashes = if hashes.is_empty() { Vec::new() } else { hashes[range.clone()].to_vec() };
            let id = self.take_id();
            let slot = self.insert(Segment::new(id, batch, buckets[range].to_vec(), hashes), None)?;
            self.index(slot);
        }
        self.changed += rows;
        Ok(())
    }

    /// Puts the living rows of a segment at the end of their buckets.
    fn index(&mut self, slot: usize) {
        for row in 0..self.segment(slot).len() {
            let segment = self.segment(slot);
            if !segment.is_alive(row) {
                continue;
            }
            let (bucket, place) = (segment.buckets[row], Place::new(slot, row));
            let hash = segment.hashes.get(row).copied();
            match self.buckets.entry(spread(bucket), |entry| entry.hash == bucket, |entry| spread(entry.hash)) {
                Entry::Occupied(mut entry) => match &mut entry.get_mut().places {
                    Places::Many(places) => places.push(place),
                    places @ Places::One(_) => *places = Places::Many(Box::new(vec![places.as_slice()[0], place])),
                },
                Entry::Vacant(entry) => {
                    entry.insert(Bucket { hash: bucket, places: Places::One(place) });
                }
            }
            if let (Some(content), Some(hash)) = (&mut self.content, hash) {
                content.rows.insert_unique(spread(hash), WholeRow { hash, place }, |entry| spread(entry.hash));
            }
        }
    }

    /// What has to become durable.
    pub(crate) fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        let mut added = Vec::new();
        for slot in &self.order {
            if let Some(segment) = &mut self.segments[*slot]
                && !segment.persisted
            {
                segment.persisted = true;
                added.push((segment.id, segment.rows.clone()));
            }
        }
        let live = self.order.iter().map(|slot| self.segment(*slot).id).collect();
        tables.push(TableCheckpoint { table: self.name.clone(), added, live });
        if let Some(departures) = &mut self.departures {
            tables.push(departures.checkpoint());
        }
    }

    /// Takes its tables of a checkpoint. The arrangement is empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a batch has another schema, or a departure names a row that is not there.
    pub(crate) fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        let columns = self.rows.fields().len();
        let mut slots = Vec::new();
        for (id, batch) in tables.take(&self.name)? {
            let batch = adopt(&self.name, &self.stored, batch)?;
            if batch.num_rows() > MAX_BATCH_ROWS {
                return Err(Error::Corrupt { table: self.name.clone(), message: format!("batch {} is too large", id.0) });
            }
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let rows = RecordBatch::try_new_with_options(Arc::clone(&self.rows), batch.columns()[..columns].to_vec(), &options)?;
            let buckets = self.by.of(&rows)?;
            let hashes = match &self.content {
                Some(content) => content.encoder.encode(rows.columns(), rows.num_rows())?.hashes(),
                None => Vec::new(),
            };
            let mut segment = Segment::new(id, batch, buckets, hashes);
            segment.persisted = true;
            self.next_id = self.next_id.max(id.0 + 1);
            slots.push(self.insert(segment, None)?);
        }
        if let Some(departures) = &mut self.departures {
            let mut by_id: HashMap<BatchId, &mut Segment> =
                self.segments.iter_mut().flatten().map(|segment| (segment.id, segment)).collect();
            for (id, row) in departures.restore(tables)? {
                let Some(segment) = by_id.get_mut(&id) else { continue };
                if row as usize >= segment.len() || !segment.is_alive(row as usize) {
                    let message = format!("row {row} of batch {} leaves and is not there", id.0);
                    return Err(Error::Corrupt { table: self.name.clone(), message });
                }
                segment.kill(row as usize);
            }
        }
        slots.into_iter().for_each(|slot| self.index(slot));
        Ok(())
    }

    /// Rows and bytes held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let (mut rows, mut bytes) = (0, 0);
        for segment in self.segments.iter().flatten() {
            rows += segment.live;
            bytes += segment.bytes;
        }
        bytes += self.buckets.capacity() * (size_of::<Bucket>() + 1);
        if let Some(content) = &self.content {
            bytes += content.rows.capacity() * (size_of::<WholeRow>() + 1);
        }
        (rows as u64, (bytes + rows * size_of::<Place>()) as u64)
    }

    fn take_id(&mut self) -> BatchId {
        let id = BatchId(self.next_id);
        self.next_id += 1;
        id
    }

    /// Puts a segment at a position of the order, the end by default.
    fn insert(&mut self, segment: Segment, position: Option<usize>) -> Result<usize, Error> {
        let slot = self.free.pop().unwrap_or(self.segments.len());
        if slot >= Place::MAX_SLOTS {
            return Err(Error::Resources(format!("state {} has more than {} batches", self.name, Place::MAX_SLOTS)));
        }
        if slot == self.segments.len() {
            self.segments.push(None);
        }
        self.order.insert(position.unwrap_or(self.order.len()), slot);
        self.segments[slot] = Some(segment);
        Ok(slot)
    }

    fn segment(&self, slot: usize) -> &Segment {
        let segment = self.segments[slot].as_ref();
        assert!(segment.is_some(), "a place points to a segment that is there");
        segment.unwrap_or_else(|| unreachable!())
    }

    fn segment_mut(&mut self, slot: usize) -> &mut Segment {
        let segment = self.segments[slot].as_mut();
        assert!(segment.is_some(), "a place points to a segment that is there");
        segment.unwrap_or_else(|| unreachable!())
    }
}
