//! Compares segments with plain lists of batches.

#![allow(clippy::unwrap_used)]

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};

use super::*;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)]))
}

fn rows(from: i64, count: i64) -> RecordBatch {
    RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from_iter_values(from..from + count))]).unwrap()
}

#[test]
fn a_store_gives_what_was_put_until_it_is_removed() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut store, mut model) = (InMemory::default(), vec![None; 20]);
    for step in 0..1_000 {
        let slot = random.usize(..20);
        if model[slot].is_some() {
            store.remove(slot);
            model[slot] = None;
        } else {
            let put = rows(step, random.i64(0..5));
            store.put(slot, put.clone());
            model[slot] = Some(put);
        }
        for (slot, wanted) in model.iter().enumerate() {
            assert_eq!(store.rows(slot).ok().as_ref(), wanted.as_ref());
            assert_eq!(store.column(slot, 0).ok(), wanted.as_ref().map(|rows| Arc::clone(rows.column(0))));
        }
    }
}

#[test]
fn places_are_gathered_in_their_order() {
    let mut segments: Segments<()> = Segments::new("tested".to_owned(), schema());
    let slots: Vec<usize> = (0..3).map(|number| segments.insert(rows(number * 10, 10), (), 0, None).unwrap()).collect();
    segments.remove(&[slots[1]]);
    segments.get_mut(slots[2]).remove(4);
    let places = segments.live_places(segments.order());
    assert_eq!(places.len(), 19);
    let shuffled = [places[15], places[0], places[15], places[3]];
    let wanted: ArrayRef = Arc::new(Int64Array::from(vec![26, 0, 26, 3]));
    assert_eq!(segments.column(0, &shuffled).unwrap().as_ref(), wanted.as_ref());
}
