//! Decoding messages in chunks must equal decoding them one by one. Some payloads and envelopes fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use fastrand::Rng;

use super::*;
use crate::source::BatchLimits;

fn decoder() -> Decoder {
    let fields = vec![
        Field::new("_sequence", DataType::Int16, false),
        Field::new("a", DataType::Int64, true),
        Field::new("_subject", DataType::Utf8, true),
        Field::new("b", DataType::Utf8, true),
        Field::new("_timestamp", DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None), false),
    ];
    let config = SourceConfig {
        name: "events".into(),
        stored_as: "FILE".into(),
        location: "-".into(),
        folder: Default::default(),
        options: Default::default(),
        declared: Arc::new(Schema::new(fields)),
        columns: vec![0, 1, 2, 3, 4],
        limits: BatchLimits::default(),
    };
    Decoder::new(&config).unwrap()
}

#[test]
fn a_message_gives_the_same_in_any_company() {
    let decoder = decoder();
    for seed in 0..50 {
        let mut rng = Rng::with_seed(seed);
        let payloads: Vec<String> = (0..rng.usize(..3 * CHUNK))
            .map(|index| match rng.u8(..20) {
                0 => format!("{{\"a\":\"no number {index}\"}}"),
                1 => "not JSON".into(),
                _ => format!("{{\"a\":{index},\"b\":\"{}\"}}", "x".repeat(rng.usize(..20))),
            })
            .collect();
        // In half of the runs no envelope fails, so that whole chunks pass. In the others a few fail.
        let faulty = if seed % 2 == 0 { 0 } else { rng.u32(1..100) };
        let messages: Vec<Message<'_>> = payloads
            .iter()
            .enumerate()
            .map(|(index, payload)| Message {
                sequence: if rng.u32(..100) < faulty { 40_000 } else { 0 } + index as u64,
                subject: "events",
                timestamp_ns: (rng.u32(..100) >= faulty).then_some(index as i64),
                headers: None,
                payload: payload.as_bytes(),
            })
            .collect();
        let whole = decoder.decode(messages.len(), messages.iter().copied()).unwrap();
        let alone: Vec<Decoded> = messages.iter().map(|message| decoder.decode(1, [*message]).unwrap()).collect();
        let rows = concat_batches(decoder.schema(), alone.iter().map(|decoded| &decoded.rows)).unwrap();
        assert_eq!(whole.rows, rows, "seed {seed}");
        let sequences: Vec<u64> = alone.iter().flat_map(|decoded| decoded.sequences.values().to_vec()).collect();
        assert_eq!(whole.sequences.values(), sequences.as_slice(), "seed {seed}");
        let rows_before = |index: usize| alone[..index].iter().map(|decoded| decoded.rows.num_rows()).sum::<usize>();
        let unfit = alone.iter().enumerate().flat_map(|(index, decoded)| {
            decoded.unfit.iter().map(move |unfit| Unfit { row: unfit.row + rows_before(index), ..unfit.clone() })
        });
        assert_eq!(whole.unfit, unfit.collect::<Vec<_>>(), "seed {seed}");
        let letters: Vec<DeadLetter> = alone.iter().flat_map(|decoded| decoded.dead_letters.clone()).collect();
        assert_eq!(whole.dead_letters, letters, "seed {seed}");
        assert_eq!(whole.events, messages.len() as u64);
        assert_eq!(whole.bytes, payloads.iter().map(|payload| payload.len() as u64).sum::<u64>());
    }
}
