//! Compares arrangements with plain lists of rows.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray, Int64Array, StringArray};
use arrow::datatypes::DataType;
use fastrand::Rng;

use super::*;
use crate::state::{BatchId, MAX_BATCH_ROWS, TableCheckpoint, Tables};

type Row = (Option<i64>, Option<String>);

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true), Field::new("v", DataType::Utf8, true)]))
}

fn arrangement(rows_leave: bool) -> Arrangement {
    let by = Buckets::new(&schema(), &[0], true).unwrap();
    Arrangement::new("tested".to_owned(), &schema(), by, Removal::of(rows_leave, false)).unwrap()
}

fn batch(rows: &[Row]) -> RecordBatch {
    let k: ArrayRef = Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.0)));
    let v: ArrayRef = Arc::new(StringArray::from_iter(rows.iter().map(|row| row.1.clone())));
    RecordBatch::try_new(schema(), vec![k, v]).unwrap()
}

fn rows(batch: &RecordBatch) -> Vec<Row> {
    let (k, v) = (batch.column(0).as_primitive::<arrow::datatypes::Int64Type>(), batch.column(1).as_string::<i32>());
    (0..batch.num_rows())
        .map(|row| (k.is_valid(row).then(|| k.value(row)), v.is_valid(row).then(|| v.value(row).to_owned())))
        .collect()
}

fn row(random: &mut Rng, keys: i64) -> Row {
    let key = (random.u8(..10) > 0).then(|| random.i64(..keys));
    (key, (random.u8(..10) > 0).then(|| "v".repeat(random.usize(..4))))
}

/// Returns the rows of a key in the arrangement.
fn of_key(arrangement: &Arrangement, key: Option<i64>) -> Vec<Row> {
    let bucket = arrangement.by().of(&batch(&[(key, None)])).unwrap()[0];
    let places = arrangement.places(bucket).to_vec();
    let found = rows(&arrangement.repeated(&places, true).unwrap());
    found.into_iter().filter(|row| row.0 == key).collect()
}

/// Stands in for a disk.
#[derive(Default)]
struct Stored(HashMap<String, (BTreeMap<BatchId, RecordBatch>, Vec<BatchId>)>);

impl Stored {
    fn write(&mut self, tables: Vec<TableCheckpoint>) -> usize {
        let mut written = 0;
        for table in tables {
            let (batches, live) = self.0.entry(table.table).or_default();
            for (id, batch) in table.added {
                written += batch.num_rows();
                assert!(batches.insert(id, batch).is_none(), "an id is given once");
            }
            *live = table.live;
        }
        written
    }

    fn read(&self) -> Tables {
        let batches = |(batches, live): &(BTreeMap<BatchId, RecordBatch>, Vec<BatchId>)| {
            live.iter().map(|id| (*id, batches[id].clone())).collect()
        };
        Tables(self.0.iter().map(|(name, table)| (name.clone(), batches(table))).collect())
    }
}

#[test]
fn arrivals_come_in_their_order() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let (mut tested, mut model, mut stored) = (arrangement(false), Vec::new(), Stored::default());
        for step in 0..120 {
            let more = if step % 40 == 20 { 20_000 } else { random.usize(..50) };
            let new: Vec<Row> = (0..more).map(|_| row(&mut random, 30)).collect();
            let rows = batch(&new);
            tested.append(&rows, &tested.by().of(&rows).unwrap()).unwrap();
            model.extend(new);
            tested.end_epoch().unwrap();
            if random.u8(..4) == 0 {
                let mut tables = Vec::new();
                tested.checkpoint(&mut tables);
                stored.write(tables);
                if random.bool() {
                    tested = arrangement(false);
                    tested.restore(&mut stored.read()).unwrap();
                }
            }
        }
        for key in (0..31).map(Some).chain([None]) {
            let wanted: Vec<Row> = model.iter().filter(|row| row.0 == key).cloned().collect();
            assert_eq!(of_key(&tested, key), wanted);
        }
        assert!(tested.segments.order().len() < 25, "{} segments", tested.segments.order().len());
    }
}

#[test]
fn rows_leave() {
    for seed in 0..30 {
        println!("seed {seed}");
        let mut random = Rng::with_seed(seed);
        let keys = if seed % 2 == 0 { 5 } else { 5000 };
        let (mut tested, mut model, mut stored) = (arrangement(true), BTreeMap::<Row, i64>::new(), Stored::default());
        for step in 0..150 {
            let mut changes: Vec<(Row, i64)> = Vec::new();
            let more = if step % 50 == 20 { 20_000 } else { random.usize(..60) };
            changes.extend((0..more).map(|_| (row(&mut random, keys), random.i64(1..3))));
            // Now and then, a third of the rows leave.
            let leave = if step % 30 == 29 { 3 } else { 100 };
            changes.extend(
                model.iter().filter(|_| random.u8(..100) >= 100 - 100 / leave).map(|(row, weight)| (row.clone(), -weight)),
            );
            let delta = Delta {
                rows: batch(&changes.iter().map(|(row, _)| row.clone()).collect::<Vec<_>>()),
                weights: Some(changes.iter().map(|(_, weight)| *weight).collect()),
            };
            let net = tested.net(&[delta]).unwrap();
            let buckets = tested.by().of(&net.rows).unwrap();
            tested.apply(&net, &buckets).unwrap();
            for (row, weight) in changes {
                *model.entry(row).or_default() += weight;
            }
            model.retain(|_, weight| *weight != 0);
            tested.end_epoch().unwrap();
            if random.u8(..4) == 0 {
                let mut tables = Vec::new();
                tested.checkpoint(&mut tables);
                stored.write(tables);
                if random.bool() {
                    tested = arrangement(true);
                    tested.restore(&mut stored.read()).unwrap();
                }
            }
            assert_eq!(tested.size().0, model.len() as u64);
            for key in [None, Some(0), Some(3), Some(keys - 1)] {
                let times = |(row, weight): (&Row, &i64)| std::iter::repeat_n(row.clone(), *weight as usize);
                let mut wanted: Vec<Row> = model.iter().filter(|(row, _)| row.0 == key).flat_map(times).collect();
                let mut found = of_key(&tested, key);
                wanted.sort();
                found.sort();
                assert_eq!(found, wanted, "step {step}");
            }
        }
        let dead: usize = tested.segments.iter().map(|segment| segment.dead()).sum();
        assert!(dead <= tested.size().0 as usize + MAX_BATCH_ROWS, "{dead} dead rows");
    }
}

#[test]
fn a_row_that_is_not_there_does_not_leave() {
    let mut tested = arrangement(true);
    let delta = Delta { rows: batch(&[(Some(1), None)]), weights: Some(Int64Array::from(vec![-1])) };
    let net = tested.net(&[delta]).unwrap();
    let buckets = tested.by().of(&net.rows).unwrap();
    assert!(matches!(tested.apply(&net, &buckets), Err(Error::Bug(_))));
}

#[test]
fn a_small_change_writes_little() {
    let mut random = Rng::with_seed(7);
    let mut tested = arrangement(true);
    let mut stored = Stored::default();
    let mut held: Vec<Row> = (0..100_000).map(|number| (Some(number), Some(format!("v{number}")))).collect();
    let mut written = Vec::new();
    for step in 0..200 {
        let (mut changes, mut weights) = (Vec::new(), Vec::new());
        if step == 0 {
            changes = held.clone();
            weights = vec![1; held.len()];
        } else {
            for _ in 0..100 {
                let row = &mut held[random.usize(..100_000)];
                changes.push(row.clone());
                row.1 = Some(format!("w{step}-{}", random.u32(..)));
                changes.push(row.clone());
                weights.extend([-1, 1]);
            }
        }
        let net = tested.net(&[Delta { rows: batch(&changes), weights: Some(Int64Array::from(weights)) }]).unwrap();
        let buckets = tested.by().of(&net.rows).unwrap();
        tested.apply(&net, &buckets).unwrap();
        tested.end_epoch().unwrap();
        let mut tables = Vec::new();
        tested.checkpoint(&mut tables);
        written.push(stored.write(tables));
    }
    let most = written[1..].iter().max().unwrap();
    let mean = written[1..].iter().sum::<usize>() / 199;
    assert!(*most <= 2 * MAX_BATCH_ROWS && mean < 2000, "{most} rows at most, {mean} in the mean");
}
