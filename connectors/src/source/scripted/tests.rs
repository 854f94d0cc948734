//! Plays scripts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::FutureExt;

use super::*;
use crate::source::batch::CommitPoints;
use crate::source::declaration::BatchLimits;

fn source() -> ScriptedSource {
    let config = SourceConfig {
        name: "numbers".into(),
        stored_as: "SCRIPTED".into(),
        location: "memory".into(),
        folder: Default::default(),
        options: Default::default(),
        declared: Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)])),
        columns: vec![0],
        limits: BatchLimits::default(),
    };
    ScriptedSource::new(config).unwrap()
}

fn numbers(numbers: std::ops::Range<u64>) -> ScriptedBatch {
    ScriptedBatch::new(numbers.map(|number| format!("{{\"n\":{number}}}")))
}

fn batch(read: Result<Read, Error>) -> Batch {
    match read {
        Ok(Read::Batch(batch)) => batch,
        other => panic!("expected a batch, found {other:?}"),
    }
}

fn values(batch: &Batch) -> Vec<i64> {
    batch.rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

#[tokio::test]
async fn events_are_read_from_any_position() {
    let source = source();
    source.then(Step::Batch(numbers(1..4))).then(Step::CaughtUp);
    source.then(Step::Batch(ScriptedBatch { gap: 2, ..numbers(4..6) })).then(Step::Batch(numbers(8..9)));
    let mut reader = source.read(Start::First).await.unwrap();
    let first = batch(reader.next().await);
    assert_eq!((first.start, first.end, values(&first)), (1, 4, vec![1, 2, 3]));
    assert_eq!(reader.position(), &first.position);
    assert!(matches!(reader.next().await, Ok(Read::CaughtUp { offset: 4 })));
    let second = batch(reader.next().await);
    assert_eq!((second.start, second.end, values(&second)), (4, 8, vec![4, 5]));
    assert_eq!(values(&batch(reader.next().await)), [8]);
    assert!(matches!(reader.next().await, Ok(Read::CaughtUp { offset: 9 })));
    assert!(reader.next().now_or_never().is_none());
    source.then(Step::events(["{\"n\":9}"])).then(Step::End);
    assert_eq!(values(&batch(reader.next().await)), [9]);
    assert!(matches!(reader.next().await, Ok(Read::End)));
    assert_eq!(source.extent(0).await.unwrap(), Extent { first: 1, end: 10 });

    for offset in 1..=10 {
        let position = Position { offset, ..first.position.clone() };
        let mut reader = source.read(Start::At(position)).await.unwrap();
        let mut seen = Vec::new();
        let mut next = offset;
        loop {
            match reader.next().await.unwrap() {
                Read::Batch(batch) => {
                    assert_eq!(batch.start, next);
                    next = batch.end;
                    seen.extend(values(&batch));
                }
                Read::CaughtUp { .. } => {}
                Read::End => break,
            }
        }
        let expected: Vec<i64> = [1, 2, 3, 4, 5, 8, 9].into_iter().filter(|number| *number >= offset as i64).collect();
        assert_eq!(seen, expected, "from {offset}");
    }
}

#[tokio::test]
async fn it_fails_waits_and_changes_as_told() {
    let source = source();
    source.then(Step::Batch(numbers(1..3))).then(Step::unavailable("away")).then(Step::Wait).then(Step::Batch(numbers(3..4)));
    source.refuse(Failure::Unavailable("not yet".into()));
    assert!(matches!(source.read(Start::First).await, Err(Error::Unavailable { .. })));
    let mut reader = source.read(Start::First).await.unwrap();
    let position = batch(reader.next().await).position;
    assert!(matches!(reader.next().await, Err(Error::Unavailable { message, .. }) if message == "away"));
    assert!(reader.next().await.is_err(), "nothing passes a failure");
    let mut reader = source.read(Start::At(position.clone())).await.unwrap();
    assert!(reader.next().now_or_never().is_none(), "it waits");
    source.release();
    assert_eq!(values(&batch(reader.next().await)), [3]);

    source.lose_before(4);
    assert!(matches!(source.read(Start::At(position.clone())).await, Err(Error::StreamChanged { .. })));
    assert_eq!(source.read(Start::First).await.unwrap().position().offset, 4);
    source.make_anew("2").then(Step::Batch(numbers(1..9)));
    assert!(matches!(source.read(Start::At(position)).await, Err(Error::StreamChanged { .. })));
    assert_eq!(values(&batch(source.read(Start::First).await.unwrap().next().await)).len(), 8);
}

#[tokio::test]
async fn weights_letters_and_partitions() {
    let promises = Promises { partitions: 2, ..source().promises() };
    let source = source().promising(promises);
    let retracting = ScriptedBatch { weights: Some(vec![1, -1]), commits: CommitPoints::At(vec![3]), ..numbers(1..3) };
    source.then(Step::Batch(retracting)).then(Step::Batch(ScriptedBatch { partition: 1, ..numbers(1..4) }));
    source.then(Step::events(["{\"n\":3}", "no number"]));
    let mut reader = source.read(Start::First).await.unwrap();
    let first = batch(reader.next().await);
    assert_eq!(first.weights.as_ref().unwrap().values(), &[1, -1]);
    assert_eq!(first.since(2).weights.unwrap().values(), &[-1]);
    assert!(first.commits.allow(3) && !first.commits.allow(2));
    let other = batch(reader.next().await);
    assert_eq!((other.partition, other.start, other.end), (1, 1, 4));
    assert_eq!((other.position.offset_of(0), other.position.offset_of(1)), (3, 4));
    let last = batch(reader.next().await);
    assert_eq!((values(&last), last.dead_letters[0].sequence), (vec![3], 4));
    let letter = last.expression_letter("numbers", "view", 0, "it overflows".into());
    assert_eq!((letter.sequence, letter.payload.as_ref()), (3, b"{\"n\":3}".as_slice()));
    let again = batch(source.read(Start::At(other.position)).await.unwrap().next().await);
    assert_eq!((again.partition, again.start), (0, 3));
}

#[tokio::test]
async fn marks_follow_their_rows() {
    let source = source();
    source.then(Step::events(["{\"n\":1}", "{\"n\":\"x\"}", "no number", "{\"n\":4}", "{\"n\":5.5}", "{\"n\":6}"]));
    let batch = batch(source.read(Start::First).await.unwrap().next().await);
    let marks = |batch: &Batch| batch.unfit.iter().map(|unfit| (unfit.row, unfit.column)).collect::<Vec<_>>();
    assert_eq!((batch.sequences.values().as_ref(), marks(&batch)), ([1, 2, 4, 5, 6].as_slice(), vec![(1, 0), (3, 0)]));
    let letter = batch.unfit_letter("numbers", "n", "a, b", &batch.unfit[1]);
    assert_eq!((letter.sequence, letter.kind, letter.payload.as_ref()), (5, "wrong_type", b"{\"n\":5.5}".as_slice()));
    assert_eq!(letter.error, "column n: expected BIGINT, found 5.5, at byte 5");

    assert_eq!(marks(&batch.since(4)), [(1, 0)]);
    assert_eq!(marks(&batch.since(6)), []);
    assert_eq!(marks(&batch.until(5)), [(1, 0)]);
    assert_eq!(marks(&batch.since(2).until(3)), [(0, 0)]);

    let fitting = batch.fitting(|column| column == 0).unwrap();
    assert_eq!((values(&fitting), fitting.sequences.values().as_ref()), (vec![1, 4, 6], [1, 4, 6].as_slice()));
    assert_eq!((fitting.start, fitting.end), (batch.start, batch.end));
    let letter = fitting.expression_letter("numbers", "view", 1, "it overflows".into());
    assert_eq!((letter.sequence, letter.payload.as_ref()), (4, b"{\"n\":4}".as_slice()));
    assert_eq!(batch.fitting(|_| false).unwrap().rows.num_rows(), 5);
}

#[tokio::test]
async fn the_end_is_said_again_after_a_second() {
    let source = source();
    let mut reader = source.read(Start::First).await.unwrap();
    for _ in 0..2 {
        assert!(matches!(reader.next().await, Ok(Read::CaughtUp { offset: 1 })));
    }
}
