//! Compares state tables with plain maps, through merges and restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::keys::KeyEncoder;
use super::log::RowLog;
use super::multiset::Multiset;
use super::place::Place;
use super::table::StateTable;
use super::{BatchId, TableCheckpoint, compact};
use crate::consolidate::net;
use crate::delta::Delta;

/// Stands in for a disk: batches by id, each written once.
#[derive(Default)]
struct Disk {
    batches: BTreeMap<BatchId, RecordBatch>,
    live: Vec<BatchId>,
    newest: Option<BatchId>,
}

impl Disk {
    /// Writes a checkpoint. Returns the number of bytes written.
    fn write(&mut self, checkpoint: TableCheckpoint) -> usize {
        let mut bytes = 0;
        for (id, batch) in checkpoint.added {
            bytes += compact::bytes(&batch);
            assert!(self.newest < Some(id), "an id is given once, restarts or not");
            self.newest = Some(id);
            self.batches.insert(id, batch);
        }
        self.live = checkpoint.live;
        self.batches.retain(|id, _| self.live.contains(id));
        bytes
    }

    fn read(&self) -> Vec<(BatchId, RecordBatch)> {
        self.live.iter().map(|id| (*id, self.batches[id].clone())).collect()
    }
}

fn counts_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true), Field::new("value", DataType::Int64, false)]))
}

fn counts() -> StateTable {
    StateTable::new("t".to_owned(), counts_schema(), 1, None).unwrap()
}

fn upsert(table: &mut StateTable, rows: &[(Option<i64>, i64)]) {
    let key: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0)));
    let value: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let keys = table.encode(std::slice::from_ref(&key), rows.len()).unwrap();
    let hashes = keys.hashes();
    let found = table.find(&keys, &hashes);
    table.upsert(&[key, value], &keys, &hashes, &found).unwrap();
}

fn contents(table: &StateTable, places: &[Place]) -> HashMap<Option<i64>, i64> {
    let keys = table.gather(0, places).unwrap();
    let values = table.gather(1, places).unwrap();
    let values = values.as_primitive::<Int64Type>().values().to_vec();
    keys.as_primitive::<Int64Type>().iter().zip(values).collect()
}

#[test]
fn table_is_a_map_through_upserts_epochs_and_restarts() {
    for seed in 0..25 {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let keys = [3, 50, 2_000, 40_000][random.usize(..4)];
        let (mut table, mut disk) = (counts(), Disk::default());
        let (mut model, mut at_epoch): (HashMap<Option<i64>, i64>, HashMap<Option<i64>, i64>) = Default::default();
        for _ in 0..60 {
            for _ in 0..random.usize(..4) {
                let mut rows: HashMap<Option<i64>, i64> = HashMap::new();
                let most = [2, 40, 20_000][random.usize(..3)];
                for _ in 0..random.usize(..most) {
                    let key = if random.u8(..10) == 0 { None } else { Some(random.i64(0..keys)) };
                    rows.insert(key, random.i64(..));
                }
                upsert(&mut table, &rows.iter().map(|(key, value)| (*key, *value)).collect::<Vec<_>>());
                model.extend(rows);
            }
            let changes = table.updates();
            let after = contents(&table, &changes.iter().map(|change| change.after).collect::<Vec<_>>());
            assert_eq!(after.len(), changes.len(), "a key changes once");
            let before: Vec<Place> = changes.iter().map(|change| change.before).filter(|place| !place.is_none()).collect();
            for (key, value) in contents(&table, &before) {
                assert_eq!(at_epoch[&key], value, "the version when the epoch began");
            }
            let new = changes.iter().filter(|change| change.before.is_none()).count();
            assert_eq!(new, model.len() - at_epoch.len());
            for (key, value) in &model {
                assert!(at_epoch.get(key) == Some(value) || after.get(key) == Some(value), "changes are complete");
            }
            table.end_epoch().unwrap();
            at_epoch.clone_from(&model);
            assert_eq!(table.len(), model.len());
            assert_eq!(contents(&table, &table.places()), model);
            if random.bool() {
                disk.write(table.checkpoint());
                if random.bool() {
                    table = counts();
                    table.restore(disk.read()).unwrap();
                }
            }
        }
    }
}

#[test]
fn multiset_is_a_bag_through_changes_and_restarts() {
    let schema: SchemaRef =
        Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Utf8, true)]));
    for seed in 0..25 {
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let distinct = [3, 300, 5_000][random.usize(..3)];
        let (mut bag, mut disk) = (Multiset::new("bag".to_owned(), &schema).unwrap(), Disk::default());
        let mut model: HashMap<i64, i64> = HashMap::new();
        let batch = |rows: &[i64]| {
            let a: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| (row % 7 != 0).then_some(*row))));
            let b: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| (row % 5 != 0).then(|| row.to_string()))));
            RecordBatch::try_new(Arc::clone(&schema), vec![a, b]).unwrap()
        };
        for step in 0..80 {
            let mut rows: Vec<(i64, i64)> = Vec::new();
            let most = [2, 30, 3_000][random.usize(..3)];
            for _ in 0..random.usize(..most) {
                // Each of these numbers makes a different row.
                let row = random.i64(0..distinct) * 35 + 1;
                let there = model.entry(row).or_default();
                let weight = if *there > 0 && random.bool() { -1 } else { 1 };
                *there += weight;
                rows.push((row, weight));
            }
            if step % 9 == 8 {
                // All rows leave.
                rows.extend(model.iter().filter(|(_, weight)| **weight > 0).map(|(row, weight)| (*row, -weight)));
                model.clear();
            }
            let weights = Int64Array::from_iter_values(rows.iter().map(|row| row.1));
            let rows = batch(&rows.iter().map(|row| row.0).collect::<Vec<_>>());
            bag.apply(&[Delta { rows, weights: Some(weights) }]).unwrap();
            bag.end_epoch().unwrap();
            if random.bool() {
                disk.write(bag.checkpoint());
                if random.bool() {
                    bag = Multiset::new("bag".to_owned(), &schema).unwrap();
                    bag.restore(disk.read()).unwrap();
                }
            }
            let held: usize = bag.batches().unwrap().iter().map(RecordBatch::num_rows).sum();
            assert_eq!(held as i64, model.values().sum::<i64>());
            let wanted: Vec<i64> = model.iter().flat_map(|(row, weight)| std::iter::repeat_n(*row, *weight as usize)).collect();
            let change = bag.replace(&[batch(&wanted)]).unwrap();
            assert_eq!(change.rows.num_rows(), 0, "the bag holds what it should");
        }
        let (rows, _) = bag.size();
        assert!(rows as i64 <= 2 * distinct + 1, "tombstones leave: {rows} rows for {distinct}");
    }
}

#[test]
fn tombstones_leave_when_their_rows_are_gone() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let mut bag = Multiset::new("bag".to_owned(), &schema).unwrap();
    for step in 0..2_000 {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(step * 10..step * 10 + 10));
        let rows = RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap();
        bag.replace(&[rows]).unwrap();
        bag.end_epoch().unwrap();
        bag.checkpoint();
    }
    let (rows, bytes) = bag.size();
    assert!(rows < 400, "{rows} rows are kept of 10 that are there");
    assert!(bytes < 100_000, "{bytes} bytes");
}

#[test]
fn tombstones_of_keys_that_never_return_leave_full_batches() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let (mut bag, mut disk) = (Multiset::new("bag".to_owned(), &schema).unwrap(), Disk::default());
    for step in 0..60 {
        if step % 20 == 19 {
            bag = Multiset::new("bag".to_owned(), &schema).unwrap();
            bag.restore(disk.read()).unwrap();
        }
        // There are 20,000 rows, a quarter of which are replaced each time.
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(step * 5_000..step * 5_000 + 20_000));
        bag.replace(&[RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()]).unwrap();
        bag.end_epoch().unwrap();
        disk.write(bag.checkpoint());
        let (rows, _) = bag.size();
        assert!(rows < 70_000, "after {step} steps {rows} rows are kept of 20000 that are there");
    }
    let held: usize = bag.batches().unwrap().iter().map(RecordBatch::num_rows).sum();
    assert_eq!(held, 20_000);
}

#[test]
fn ids_rise_when_everything_leaves() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let mut disk = Disk::default();
    for step in 0..100 {
        let mut bag = Multiset::new("bag".to_owned(), &schema).unwrap();
        bag.restore(disk.read()).unwrap();
        // Forty rows arrive and leave ten at a time. The last tombstones leave together, with the newest batch.
        for left in [40, 30, 20, 10, 0] {
            let column: ArrayRef = Arc::new(Int64Array::from_iter_values(step * 40..step * 40 + left));
            bag.replace(&[RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()]).unwrap();
            bag.end_epoch().unwrap();
            disk.write(bag.checkpoint());
        }
        assert!(bag.batches().unwrap().is_empty());
    }
    assert!(disk.batches.len() < 10, "{} batches of nothing", disk.batches.len());
}

#[test]
fn a_checkpoint_writes_what_changed() {
    let (mut table, mut disk) = (counts(), Disk::default());
    let mut random = fastrand::Rng::with_seed(7);
    for start in (0..1_000_000).step_by(50_000) {
        upsert(&mut table, &(start..start + 50_000).map(|key| (Some(key), key)).collect::<Vec<_>>());
    }
    table.end_epoch().unwrap();
    disk.write(table.checkpoint());
    let (mut most, mut all) = (0, 0);
    for _ in 0..500 {
        let rows: HashMap<Option<i64>, i64> = (0..100).map(|_| (Some(random.i64(0..1_000_000)), random.i64(..))).collect();
        upsert(&mut table, &rows.into_iter().collect::<Vec<_>>());
        table.end_epoch().unwrap();
        let bytes = disk.write(table.checkpoint());
        most = most.max(bytes);
        all += bytes;
    }
    println!("at most {most} bytes, {} on average", all / 500);
    assert!(most <= 600_000, "one commit wrote {most} bytes");
    assert!(all / 500 <= 10 * 100 * 16, "{} bytes on average", all / 500);
    let (rows, bytes) = table.size();
    assert_eq!(rows, 1_000_000);
    assert!(bytes <= 90 * rows, "{} bytes a key", bytes / rows);
}

#[test]
fn five_keys_stay_small() {
    let (mut table, mut disk) = (counts(), Disk::default());
    for step in 0..10_000 {
        upsert(&mut table, &(0..5).map(|key| (Some(key), step)).collect::<Vec<_>>());
        table.end_epoch().unwrap();
        disk.write(table.checkpoint());
    }
    assert!(disk.batches.len() < 10, "{} batches", disk.batches.len());
    assert!(table.size().1 < 4_000, "{} bytes", table.size().1);
}

#[test]
fn an_epoch_of_many_upserts_does_not_keep_what_it_replaced() {
    let mut table = counts();
    for step in 0..1_000 {
        upsert(&mut table, &(0..1_000).map(|key| (Some(key), step)).collect::<Vec<_>>());
    }
    assert!(table.size().1 < 1_000_000, "{} bytes", table.size().1);
}

#[test]
fn log_keeps_the_order_and_few_batches() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8View, true)]));
    let mut random = fastrand::Rng::with_seed(3);
    let (mut log, mut disk) = (RowLog::new("log".to_owned(), Arc::clone(&schema)), Disk::default());
    let (mut wanted, mut written) = (Vec::new(), 0);
    for step in 0..2_000 {
        let rows = random.usize(..if step % 50 == 0 { 20_000 } else { 5 });
        let values: Vec<String> = (0..rows).map(|row| format!("a value that is not inlined: {step} {row}")).collect();
        let column: ArrayRef = Arc::new(StringViewArray::from_iter_values(&values));
        log.append(&RecordBatch::try_new(Arc::clone(&schema), vec![column]).unwrap()).unwrap();
        wanted.extend(values);
        log.end_epoch().unwrap();
        written += disk.write(log.checkpoint());
        if random.u8(..20) == 0 {
            log = RowLog::new("log".to_owned(), Arc::clone(&schema));
            log.restore(disk.read()).unwrap();
        }
    }
    let batches = log.batches().unwrap();
    let found: Vec<&str> = batches.iter().flat_map(|batch| batch.column(0).as_string_view().iter().map(Option::unwrap)).collect();
    assert!(found == wanted, "rows come back in their order");
    assert!(batches.len() < wanted.len() / 2_000 + 40, "{} batches of {} rows", batches.len(), wanted.len());
    let bytes: usize = batches.iter().map(compact::bytes).sum();
    assert!(written < 4 * bytes, "{written} bytes written of {bytes}");
    assert!(bytes < wanted.len() * 70, "{} bytes a row", bytes / wanted.len());
}

#[test]
fn net_brings_equal_rows_together() {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]));
    let encoder = KeyEncoder::new(schema.fields()).unwrap();
    let delta = |rows: Vec<Option<i64>>, weights: Option<Vec<i64>>| Delta {
        rows: RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(Int64Array::from(rows))]).unwrap(),
        weights: weights.map(Int64Array::from),
    };
    let deltas = [delta(vec![Some(1), None, Some(2)], None), delta(vec![None, Some(1), Some(3)], Some(vec![-1, 2, -1]))];
    let net = net(&schema, &encoder, &deltas).unwrap();
    let rows: Vec<_> = net.rows.column(0).as_primitive::<Int64Type>().iter().zip(net.weights).collect();
    assert_eq!(rows, [(Some(1), 3), (Some(2), 1), (Some(3), -1)]);
}
