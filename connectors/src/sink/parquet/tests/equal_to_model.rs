//! Compares the rows of the parts with a naive multiset of rows.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, MapBuilder, StringBuilder, UInt32Array, new_null_array};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use fastrand::Rng;

use super::*;
use crate::Error;

fn seeds() -> Vec<u64> {
    match std::env::var("ALLUVIUM_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => vec![1, 2, 3, 4, 5, fastrand::u64(..)],
    }
}

const TYPES: usize = 16;

fn data_type(which: usize) -> DataType {
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    match which {
        0 => DataType::Int64,
        1 => DataType::Utf8,
        2 => DataType::Float64,
        3 => DataType::Decimal128(20, 3),
        4 => DataType::Timestamp(TimeUnit::Second, None),
        5 => DataType::Timestamp(TimeUnit::Nanosecond, Some("+02:00".into())),
        6 => DataType::Boolean,
        7 => DataType::Utf8View,
        8 => DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)),
        9 => DataType::List(item(DataType::Float64)),
        10 => DataType::Struct(Fields::from(vec![
            Field::new("a", DataType::Int32, true),
            Field::new("b", DataType::List(item(DataType::Utf8)), true),
        ])),
        11 => DataType::Map(
            Arc::new(Field::new(
                "entries",
                DataType::Struct(Fields::from(vec![
                    Field::new("keys", DataType::Utf8, false),
                    Field::new("values", DataType::Utf8, true),
                ])),
                false,
            )),
            false,
        ),
        12 => DataType::Date32,
        13 => DataType::UInt64,
        14 => DataType::Binary,
        _ => DataType::Interval(IntervalUnit::YearMonth),
    }
}

/// An array with few distinct values, so that rows repeat. A fifth of the values are NULL.
fn array(which: usize, nullable: bool, length: usize, rng: &mut Rng) -> ArrayRef {
    let numbers: Int64Array = (0..length).map(|_| (!nullable || rng.u8(..5) > 0).then(|| rng.i64(0..40))).collect();
    let to = data_type(which);
    match which {
        2 => {
            let odd = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY];
            Arc::new(
                numbers
                    .iter()
                    .map(|n| n.map(|n| odd.get(n as usize).copied().unwrap_or(n as f64 / 3.0)))
                    .collect::<Float64Array>(),
            )
        }
        9 => {
            let items = array(2, true, length * 2, rng);
            let offsets = arrow::buffer::OffsetBuffer::from_lengths((0..length).map(|row| [0, 1, 2, 3][row % 4]));
            let DataType::List(field) = to else { unreachable!() };
            let nulls = numbers.nulls().cloned();
            Arc::new(arrow::array::ListArray::new(field, offsets, items, nulls))
        }
        10 => {
            let DataType::Struct(fields) = to else { unreachable!() };
            let words =
                cast(&array(1, true, length, rng), &DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))).unwrap();
            let columns = vec![cast(&numbers, &DataType::Int32).unwrap(), words];
            Arc::new(arrow::array::StructArray::new(fields, columns, numbers.nulls().cloned()))
        }
        11 => {
            let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
            for number in &numbers {
                for key in 0..number.unwrap_or(0) % 3 {
                    builder.keys().append_value(format!("k{key}"));
                    builder.values().append_option((key > 0).then(|| format!("{number:?}")));
                }
                builder.append(number.is_some()).unwrap();
            }
            Arc::new(builder.finish())
        }
        14 => cast(&cast(&numbers, &DataType::Utf8).unwrap(), &to).unwrap(),
        15 => Arc::new(
            cast(&numbers, &DataType::Int32)
                .unwrap()
                .as_primitive::<arrow::datatypes::Int32Type>()
                .reinterpret_cast::<arrow::datatypes::IntervalYearMonthType>(),
        ),
        12 => cast(&cast(&numbers, &DataType::Int32).unwrap(), &to).unwrap(),
        _ => cast(&numbers, &to).unwrap(),
    }
}

/// Rows as text. Two texts are equal exactly if the rows are (0.0 and -0.0 differ, all NaNs are the same).
fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| format!("{}|", column.value(row))).collect()).collect()
}

#[derive(Default)]
struct Model {
    /// The rows of the view, as text and as a batch of one row.
    rows: Vec<(String, RecordBatch)>,
}

impl Model {
    fn counts(&self) -> HashMap<&str, i64> {
        self.rows.iter().fold(HashMap::new(), |mut counts, (text, _)| {
            *counts.entry(text.as_str()).or_default() += 1;
            counts
        })
    }
}

fn check(model: &Model, batches: &[RecordBatch], parts: &[Part], what: &str) {
    let mut counts = model.counts();
    let texts: Vec<String> = batches.iter().flat_map(texts).collect();
    for text in &texts {
        *counts.entry(text).or_default() -= 1;
    }
    counts.retain(|_, count| *count != 0);
    assert!(counts.is_empty(), "{what}: more (+) or fewer (-) in the model: {:?}", counts.iter().take(3).collect::<Vec<_>>());
    assert_eq!(parts.iter().map(|part| part.rows).sum::<u64>(), texts.len() as u64, "{what}");
    assert!(!parts.is_empty(), "{what}: a view without a file");
}

fn random_schema(rng: &mut Rng) -> (Vec<usize>, SchemaRef) {
    let columns: Vec<usize> = (0..rng.usize(1..6)).map(|_| rng.usize(0..TYPES)).collect();
    // Lists, structs and maps are generated with NULLs regardless, so their columns must be nullable.
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(at, which)| Field::new(format!("c{at}"), data_type(*which), rng.bool() || (9..12).contains(which)))
        .collect();
    (columns, Arc::new(Schema::new(fields)))
}

#[test]
fn hashed_parts_hold_what_a_multiset_holds() {
    for seed in seeds() {
        println!("seed {seed}: set ALLUVIUM_SEED to repeat");
        for case in 0..12 {
            let mut rng = Rng::with_seed(seed.wrapping_add(case * 7919));
            let folder = tempfile::tempdir().unwrap();
            let (columns, schema) = random_schema(&mut rng);
            let key = (0..columns.len()).filter(|_| rng.bool()).collect();
            let layout = PartLayout::Hashed { columns: key };
            let mut writer = ViewWriter::open(folder.path(), Arc::clone(&schema), layout.clone(), Vec::new()).unwrap();
            let mut model = Model::default();
            let mut parts = Vec::new();
            // Large epochs followed by small ones, so that parts are split. Now and then all rows are removed, so that parts are merged.
            for epoch in 1..=24 {
                let adds = if epoch % 12 == 1 { rng.usize(0..9_000) } else { rng.usize(0..4) };
                let batch = RecordBatch::try_new(
                    Arc::clone(&schema),
                    columns
                        .iter()
                        .enumerate()
                        .map(|(at, which)| array(*which, schema.field(at).is_nullable(), adds, &mut rng))
                        .collect(),
                );
                let batch = batch.unwrap();
                let mut changes = vec![Delta { rows: batch.clone(), weights: None }];
                let removes = if epoch % 9 == 0 { model.rows.len() } else { rng.usize(0..4).min(model.rows.len()) };
                let mut removed = Vec::new();
                for _ in 0..removes {
                    removed.push(model.rows.swap_remove(rng.usize(0..model.rows.len())).1);
                }
                if !removed.is_empty() {
                    changes.push(change(concat_batches(&schema, &removed).unwrap(), -1));
                }
                // Some rows are added and removed within the epoch, some of them twice.
                if adds > 0 && rng.bool() {
                    changes.push(change(batch.slice(0, 1), -1));
                    changes.push(change(batch.slice(0, 1), 2));
                    model.rows.push((texts(&batch)[0].clone(), batch.slice(0, 1)));
                }
                for (row, text) in texts(&batch).into_iter().enumerate() {
                    model.rows.push((text, take_record_batch(&batch, &UInt32Array::from(vec![row as u32])).unwrap()));
                }
                rng.shuffle(&mut changes);
                let what = format!("seed {seed}, case {case}, epoch {epoch}, schema {schema}");
                parts = writer.write(epoch, &changes).unwrap_or_else(|error| panic!("{what}: {error}"));
                let read: Vec<_> =
                    read_parts(folder.path(), Arc::clone(&schema), &parts).unwrap().map(|batch| batch.unwrap()).collect();
                assert!(read.iter().all(|batch| batch.schema() == schema), "{what}");
                check(&model, &read, &parts, &what);
                if rng.u8(..4) == 0 {
                    writer = ViewWriter::open(folder.path(), Arc::clone(&schema), layout.clone(), parts.clone()).unwrap();
                }
            }
            assert!(!parts.is_empty());
        }
    }
}

#[test]
fn appended_parts_hold_what_arrived_and_stay_few() {
    for seed in seeds() {
        println!("seed {seed}: set ALLUVIUM_SEED to repeat");
        let mut rng = Rng::with_seed(seed);
        let folder = tempfile::tempdir().unwrap();
        let (columns, schema) = random_schema(&mut rng);
        let mut writer = ViewWriter::open(folder.path(), Arc::clone(&schema), PartLayout::Append, Vec::new()).unwrap();
        assert_eq!(writer.write(1, &[]).unwrap().len(), 1, "an empty view is one empty file");
        let mut model = Model::default();
        for epoch in 2..150 {
            let adds = if rng.u8(..20) == 0 { rng.usize(0..6_000) } else { rng.usize(0..30) };
            let arrays = columns
                .iter()
                .enumerate()
                .map(|(at, which)| array(*which, schema.field(at).is_nullable(), adds, &mut rng))
                .collect();
            let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
            model.rows.extend(texts(&batch).into_iter().map(|text| (text, batch.slice(0, 0))));
            let parts = writer.write(epoch, &[Delta { rows: batch, weights: None }]).unwrap();
            assert!(parts.len() < 40, "{} parts", parts.len());
            if epoch % 30 == 0 {
                let read: Vec<_> = writer.read_all().map(|batch| batch.unwrap()).collect();
                check(&model, &read, &parts, &format!("seed {seed}, epoch {epoch}"));
                writer = ViewWriter::open(folder.path(), Arc::clone(&schema), PartLayout::Append, parts).unwrap();
            }
        }
    }
}

#[test]
fn large_appended_parts_are_merged_beside_the_commits() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ViewWriter::open(folder.path(), simple_schema(), PartLayout::Append, Vec::new()).unwrap();
    let mut sum = 0;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    let mut epoch = 0;
    // Eight large parts start a merge. The first later commit that finds it finished applies it.
    loop {
        epoch += 1;
        let rows = if epoch <= 8 { 40_000 } else { 1 };
        sum += (0..rows).map(|n| n * epoch).sum::<i64>();
        let parts =
            writer.write(epoch as u64, &[Delta { rows: simple_rows((0..rows).map(|n| (n, n * epoch))), weights: None }]).unwrap();
        assert_eq!(writer.rows(), if epoch <= 8 { 40_000 * epoch } else { 320_000 + epoch - 8 } as u64);
        if parts.iter().map(|part| part.rows).max().unwrap() >= 320_000 {
            let files: Vec<_> = parts.iter().map(|part| folder.path().join("parts").join(&part.file)).collect();
            assert_eq!(super::rows_and_sum(&files).unwrap(), (writer.rows(), sum), "epoch {epoch}");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "no merge after {epoch} commits: {parts:?}");
    }
}

#[test]
fn a_view_with_many_rows_and_few_changes_gets_many_parts_and_a_small_one_few() {
    let folder = tempfile::tempdir().unwrap();
    for (name, rows, parts_at_least, parts_at_most) in [("large", 300_000, 64, 1_024), ("small", 3_000, 1, 3)] {
        let layout = PartLayout::Hashed { columns: vec![0] };
        let mut writer = ViewWriter::open(&folder.path().join(name), simple_schema(), layout, Vec::new()).unwrap();
        writer.write(1, &[Delta { rows: simple_rows((0..rows).map(|key| (key, 0))), weights: None }]).unwrap();
        assert!(writer.parts().len() <= 2);
        let mut rng = Rng::with_seed(5);
        let mut values = vec![0; rows as usize];
        for epoch in 2..22 {
            let keys: std::collections::BTreeSet<i64> = (0..20).map(|_| rng.i64(0..rows)).collect();
            let olds = simple_rows(keys.iter().map(|key| (*key, values[*key as usize])));
            keys.iter().for_each(|key| values[*key as usize] = epoch);
            let news = simple_rows(keys.iter().map(|key| (*key, epoch)));
            writer.write(epoch as u64, &[change(olds, -1), change(news, 1)]).unwrap();
        }
        let parts = writer.parts().len();
        assert!((parts_at_least..=parts_at_most).contains(&parts), "{name}: {parts} parts");
        let files: Vec<_> = writer.parts().iter().map(|part| folder.path().join(name).join("parts").join(&part.file)).collect();
        assert_eq!(super::rows_and_sum(&files).unwrap(), (rows as u64, values.iter().sum()));
    }
}

#[test]
fn a_row_to_remove_that_is_not_there_is_an_error_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("revenue");
    let mut writer = ViewWriter::open(&root, simple_schema(), PartLayout::Hashed { columns: vec![0] }, Vec::new()).unwrap();
    let before = writer.write(1, &[Delta { rows: simple_rows([(1, 1), (2, 2)]), weights: None }]).unwrap();
    let error = writer.write(2, &[change(simple_rows([(2, 3)]), -1)]).unwrap_err();
    assert!(matches!(error, Error::Bug(_)));
    let message = error.to_string();
    assert!(message.contains("revenue") && message.contains(&before[0].file) && message.contains("key = 2"), "{message}");
    assert_eq!(writer.parts(), before);
    let mut appends = ViewWriter::open(&folder.path().join("a"), simple_schema(), PartLayout::Append, Vec::new()).unwrap();
    assert!(matches!(appends.write(1, &[change(simple_rows([(2, 3)]), -1)]).unwrap_err(), Error::Bug(_)));
}

#[test]
fn what_parquet_cannot_hold_is_refused_with_a_cast_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let nested = DataType::List(Arc::new(Field::new("item", interval.clone(), true)));
    for data_type in [interval, nested, DataType::Struct(Fields::empty())] {
        let schema = Arc::new(Schema::new(vec![Field::new("waited", data_type, true)]));
        let error = ViewWriter::open(folder.path(), schema, PartLayout::Append, Vec::new()).unwrap_err();
        let Error::Config { message, help } = error else { panic!("{error}") };
        assert!(message.contains("waited") && help.unwrap().contains("CAST(waited"), "{message}");
    }
}

#[test]
fn every_type_without_a_value_is_held() {
    let folder = tempfile::tempdir().unwrap();
    let mut types: Vec<DataType> = (0..TYPES).map(data_type).collect();
    types.extend([
        DataType::Null,
        DataType::Float16,
        DataType::Float32,
        DataType::Decimal32(5, 2),
        DataType::Decimal64(15, 2),
        DataType::Decimal256(60, 10),
        DataType::Time32(TimeUnit::Second),
        DataType::Time64(TimeUnit::Nanosecond),
        DataType::Date64,
        DataType::Duration(TimeUnit::Millisecond),
        DataType::LargeUtf8,
        DataType::BinaryView,
        DataType::FixedSizeBinary(3),
        DataType::FixedSizeList(Arc::new(Field::new("item", DataType::Int8, true)), 2),
    ]);
    let schema = Arc::new(Schema::new(
        types.iter().enumerate().map(|(at, t)| Field::new(format!("c{at}"), t.clone(), true)).collect::<Vec<_>>(),
    ));
    let batch = RecordBatch::try_new(Arc::clone(&schema), types.iter().map(|t| new_null_array(t, 3)).collect()).unwrap();
    let mut writer = ViewWriter::open(folder.path(), schema, PartLayout::Hashed { columns: vec![] }, Vec::new()).unwrap();
    writer.write(1, &[Delta { rows: batch.clone(), weights: None }]).unwrap();
    writer.write(2, &[change(batch.slice(0, 2), -1)]).unwrap();
    let read: Vec<_> = writer.read_all().map(|batch| batch.unwrap()).collect();
    assert_eq!(read, [batch.slice(0, 1)]);
}

#[test]
fn every_nan_is_the_same_and_zeros_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let row = |number: f64| {
        let flat: ArrayRef = Arc::new(Float64Array::from(vec![number]));
        let list = cast(&flat, &data_type(9)).unwrap();
        let deep = arrow::array::StructArray::from(vec![(Arc::new(Field::new("list", data_type(9), true)), Arc::clone(&list))]);
        RecordBatch::try_from_iter([("flat", flat), ("list", list), ("deep", Arc::new(deep) as ArrayRef)]).unwrap()
    };
    let mut writer =
        ViewWriter::open(folder.path(), row(0.0).schema(), PartLayout::Hashed { columns: vec![] }, Vec::new()).unwrap();
    writer.write(1, &[change(row(f64::NAN), 1), change(row(0.0), 1)]).unwrap();
    writer.write(2, &[change(row(-f64::NAN), -1)]).unwrap();
    assert_eq!(writer.rows(), 1);
    assert!(writer.write(3, &[change(row(-0.0), -1)]).is_err());
    writer.write(3, &[change(row(0.0), -1)]).unwrap();
    assert_eq!((writer.rows(), writer.parts().len()), (0, 1));
}
