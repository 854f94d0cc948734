#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

fn letter(source: &str, sequence: u64, payload: &'static [u8]) -> DeadLetter {
    DeadLetter {
        source: source.to_owned(),
        sequence,
        view: sequence.is_multiple_of(2).then(|| "v".to_owned()),
        column: None,
        ordinal: None,
        subject: "orders.placed".to_owned(),
        timestamp_ns: Some(1_700_000_000_123_456_789),
        headers: None,
        payload: Bytes::from_static(payload),
        kind: "not_json",
        error: "expected value at column 1".to_owned(),
    }
}

/// The sequences and bodies that readers see.
fn published(folder: &Path) -> Vec<(u64, Vec<u8>)> {
    let mut letters = Vec::new();
    for name in durable::names(folder).unwrap() {
        if !name.ends_with(".parquet") {
            continue;
        }
        let file = fs::File::open(folder.join(name)).unwrap();
        for batch in ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            assert_eq!(batch.schema().fields(), schema().fields());
            let sequences = batch["sequence"].as_primitive::<UInt64Type>().values().to_vec();
            letters
                .extend(sequences.into_iter().zip(batch["payload"].as_binary::<i32>().iter().map(|body| body.unwrap().to_vec())));
        }
    }
    letters.sort();
    letters
}

#[test]
fn letters_are_kept_byte_for_byte_and_seen_once_published() {
    let folder = tempfile::tempdir().unwrap();
    let letters = DeadLetterFolder::open(folder.path()).unwrap();
    assert!(letters.stage(&[]).unwrap().is_empty());
    let names = letters.stage(&[letter("orders", 9, b"\xff\x00{"), letter("a/b c", 4, b""), letter("orders", 3, b"[]")]).unwrap();
    assert_eq!(names.len(), 2);
    assert!(names[0].starts_with("a%2fb%20c-4-4-") && names[1].starts_with("orders-3-9-"), "{names:?}");
    assert!(published(folder.path()).is_empty());
    letters.publish(&names).unwrap();
    letters.publish(&names).unwrap();
    assert_eq!(published(folder.path()), [(3, b"[]".to_vec()), (4, Vec::new()), (9, b"\xff\x00{".to_vec())]);
}

#[test]
fn after_a_crash_at_any_point_each_letter_is_there_once_or_its_commit_never_happened() {
    for (committed, moved) in [(false, 0), (true, 0), (true, 1), (true, 2)] {
        let folder = tempfile::tempdir().unwrap();
        let letters = DeadLetterFolder::open(folder.path()).unwrap();
        let before = letters.stage(&[letter("orders", 1, b"one")]).unwrap();
        letters.publish(&before).unwrap();
        let names = letters.stage(&[letter("orders", 2, b"two"), letter("other", 3, b"three")]).unwrap();
        letters.publish(&names[..moved]).unwrap();
        // The crash happens here. The record holds only the names of the last commit.
        let record = if committed { &names } else { &before };
        let letters = DeadLetterFolder::open(folder.path()).unwrap();
        let removed = letters.recover(&record.iter().cloned().collect()).unwrap();
        assert_eq!(removed, if committed { 0 } else { 2 });
        letters.publish(record).unwrap();
        let sequences: Vec<u64> = published(folder.path()).iter().map(|(sequence, _)| *sequence).collect();
        assert_eq!(sequences, if committed { vec![1, 2, 3] } else { vec![1] }, "committed {committed}, moved {moved}");
        assert!(durable::names(&folder.path().join(STAGED)).unwrap().is_empty());
    }
}

#[test]
fn many_large_bodies_and_a_missing_file() {
    let folder = tempfile::tempdir().unwrap();
    let letters = DeadLetterFolder::open(folder.path()).unwrap();
    let body = Bytes::from(vec![b'['; 5 << 20]);
    let many: Vec<_> = (1..=40).map(|sequence| DeadLetter { payload: body.clone(), ..letter("orders", sequence, b"") }).collect();
    let names = letters.stage(&many).unwrap();
    letters.publish(&names).unwrap();
    let read = published(folder.path());
    assert_eq!(read.len(), 40);
    assert!(read.iter().all(|(_, payload)| *payload == body));
    let given_up = letters.stage(&many[..1]).unwrap();
    assert_eq!(letters.recover(&HashSet::new()).unwrap(), 1);
    assert!(matches!(letters.publish(&given_up).unwrap_err(), Error::Corrupt { .. }));
}

#[test]
fn a_sealed_file_proves_itself() {
    let folder = tempfile::tempdir().unwrap();
    let letters = DeadLetterFolder::open(folder.path()).unwrap();
    // A body that looks like a seal.
    let names = letters.stage(&[letter("orders", 1, b"alluvium-crc32-12345678")]).unwrap();
    letters.publish(&names).unwrap();
    let path = folder.path().join(&names[0]);
    seal::check(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        std::fs::write(&path, changed).unwrap();
        // A flip in the mark hides the seal, and changes nothing else.
        assert!(seal::check(&path).is_err() || is_mark(&bytes, at), "{at}");
    }
}

/// Whether a byte belongs to the mark of the seal.
fn is_mark(bytes: &[u8], at: usize) -> bool {
    let mark = b"alluvium-crc32-";
    let start = bytes.windows(mark.len()).rposition(|window| window == mark).unwrap();
    (start..start + mark.len()).contains(&at)
}
