//! A key leads to the one part that can hold its rows.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::super::hash_of_key;
use super::super::writer::ViewWriter;
use super::super::{Part, PartLayout, PartRows};
use super::change;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("word", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into())), true),
        Field::new("price", DataType::Decimal128(12, 2), true),
        Field::new("open", DataType::Boolean, true),
    ]))
}

fn rows(count: i64) -> RecordBatch {
    let numbers = || 0..count;
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers())),
        Arc::new(StringArray::from_iter_values(numbers().map(|n| format!("word {n}")))),
        Arc::new(Date32Array::from_iter_values(numbers().map(|n| n as i32 / 3))),
        Arc::new(TimestampMillisecondArray::from_iter_values(numbers().map(|n| n * 977)).with_timezone("+00:00")),
        Arc::new(Decimal128Array::from_iter_values(numbers().map(i128::from)).with_precision_and_scale(12, 2).unwrap()),
        Arc::new(BooleanArray::from_iter(numbers().map(|n| (n % 5 != 0).then_some(n % 2 == 0)))),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

#[test]
fn the_hash_of_a_key_names_the_part_of_each_of_its_rows() {
    for columns in [vec![0], vec![1], vec![3], vec![4, 2], vec![5, 1, 0], Vec::new()] {
        let folder = tempfile::tempdir().unwrap();
        let layout = PartLayout::Hashed { columns: columns.clone() };
        let mut writer = ViewWriter::open(folder.path(), schema(), layout, Vec::new()).unwrap();
        let all = rows(20_000);
        writer.write(1, &[change(all.clone(), 1)]).unwrap();
        // Few changes in many rows split the parts.
        for epoch in 2..20 {
            let one = all.slice(epoch as usize * 31, 1);
            writer.write(epoch, &[change(one.clone(), -1), change(one, 1)]).unwrap();
        }
        let parts: Vec<Part> = writer.parts().to_vec();
        assert!(parts.len() > 4, "{} parts", parts.len());
        let columns = if columns.is_empty() { (0..6).collect() } else { columns };
        let mut read = 0;
        for part in &parts {
            for batch in PartRows::new(Arc::clone(&writer.files), vec![part.clone()]) {
                let batch = batch.unwrap();
                read += batch.num_rows();
                for row in (0..batch.num_rows()).step_by(37) {
                    let row = take_record_batch(&batch, &arrow::array::UInt32Array::from(vec![row as u32])).unwrap();
                    let key: Vec<ArrayRef> = columns.iter().map(|column| Arc::clone(row.column(*column))).collect();
                    let hash = hash_of_key(&key).unwrap().unwrap();
                    let named: Vec<&str> =
                        parts.iter().filter(|part| part.may_hold(hash)).map(|part| part.file.as_str()).collect();
                    assert_eq!(named, [part.file.as_str()]);
                }
            }
        }
        assert_eq!(read, 20_000);
    }
}

#[test]
fn values_that_are_equal_in_two_encodings_name_no_part() {
    let zero: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![-0.0]));
    assert_eq!(hash_of_key(&[zero]).unwrap(), None);
}
