//! Commits that are large enough to use all cores.

use std::collections::BTreeMap;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

/// The keys and numbers of a view, in stored order.
fn held(writer: &ViewWriter) -> Vec<(i64, i64)> {
    let mut rows = Vec::new();
    for batch in writer.read_all() {
        let batch = batch.unwrap();
        let column = |index: usize| batch.column(index).as_primitive::<Int64Type>().values().to_vec();
        rows.extend(column(0).into_iter().zip(column(2)));
    }
    rows
}

#[test]
fn many_rows_that_arrive_become_one_part_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = ViewWriter::open(folder.path(), simple_schema(), PartLayout::Append, Vec::new()).unwrap();
    let all: Vec<(i64, i64)> = (0..300_000).map(|n| (n, n * 3)).collect();
    let changes = [&all[..7], &all[7..170_000], &all[170_000..]]
        .map(|rows| Delta { rows: simple_rows(rows.iter().copied()), weights: None });
    let parts = writer.write(1, &changes).unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].rows, 300_000);
    assert_eq!(held(&writer), all);
    let file = std::fs::File::open(folder.path().join("parts").join(&parts[0].file)).unwrap();
    assert_eq!(parts[0].bytes, file.metadata().unwrap().len());
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let groups = reader.metadata().num_row_groups();
    assert!((2..=5).contains(&groups) || rayon::current_num_threads() == 1, "{groups} row groups");
}

#[test]
fn many_rows_that_change_become_what_a_map_holds() {
    let folder = tempfile::tempdir().unwrap();
    let layout = PartLayout::Hashed { columns: vec![0] };
    let mut writer = ViewWriter::open(folder.path(), simple_schema(), layout, Vec::new()).unwrap();
    let mut model: BTreeMap<i64, i64> = (0..700_000).map(|key| (key, key % 1000)).collect();
    let first = Delta { rows: simple_rows(model.iter().map(|(key, n)| (*key, *n))), weights: None };
    let parts = writer.write(1, &[first]).unwrap();
    assert!(parts.len() > 1, "{parts:?}");
    let mut random = fastrand::Rng::with_seed(3);
    for epoch in 2..4 {
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for (key, n) in &mut model {
            if random.u8(..4) == 0 {
                rows.extend([(*key, *n), (*key, *n + 1)]);
                weights.extend([-1, 1]);
                *n += 1;
            }
        }
        // A row that is added and removed within the epoch.
        rows.extend([(-1, 5), (-1, 5)]);
        weights.extend([1, -1]);
        let change = Delta { rows: simple_rows(rows), weights: Some(Int64Array::from(weights)) };
        writer.write(epoch, &[change]).unwrap();
        let mut rows = held(&writer);
        rows.sort_unstable();
        assert!(rows.into_iter().eq(model.iter().map(|(key, n)| (*key, *n))), "epoch {epoch}");
    }
}
