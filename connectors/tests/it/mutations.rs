//! Mutated input among good input: whatever a mutated body is, it is one row or one dead letter, and every good one keeps its row.
//! `ALLUVIUM_SEED` repeats a run, `ALLUVIUM_MUTATED_BODIES` sets how many are mutated.

use std::collections::BTreeMap;
use std::sync::Arc;

use alluvium_connectors::decode::{Decoder, Message};
use alluvium_connectors::source::{BatchLimits, SourceConfig};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use fastrand::Rng;

/// How many bodies are mutated where nothing else is said.
const MUTATIONS: u64 = 1_000_000;
/// The messages that are decoded at once. Every fourth is good.
const AT_ONCE: usize = 512;

/// Pieces that have a meaning in JSON, and some that have none.
const PIECES: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u",
    "\\ud800",
    "\\u0000",
    "null",
    "true",
    "1e999",
    "-0",
    "-",
    ".",
    "1e-400",
    "NaN",
    "\u{feff}",
    "\n",
    "\0",
    "9223372036854775808",
    "0.1234567890123456789",
    "\"id\":7,",
    "{\"id\":",
    "[[[[[[[[",
    "2026-02-30T25:61:61",
    "\u{1F600}",
];

pub(crate) fn seed() -> u64 {
    let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}: set ALLUVIUM_SEED to repeat");
    seed
}

pub(crate) fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn body(id: i64, rng: &mut Rng) -> Vec<u8> {
    let text = ["plain", "with \\\"quotes\\\"", "caf\u{e9}", "\\u00e9\\n", ""][rng.usize(..5)];
    format!(
        "{{\"id\":{id},\"name\":\"{text}\",\"total\":\"{}.{:02}\",\"weight\":{}.5e{},\"paid\":{},\"placed_at\":\"2026-01-{:02}T10:00:00Z\",\
         \"tags\":[\"a\",null,\"b\"],\"address\":{{\"city\":\"X\",\"zip\":{}}},\"other\":{{\"deep\":[1,{{\"x\":[]}}]}}}}",
        rng.u32(..1000),
        rng.u32(..100),
        rng.u32(..1000),
        rng.u32(..30),
        rng.bool(),
        rng.u32(1..28),
        rng.u32(..100_000),
    )
    .into_bytes()
}

/// Changes, removes, doubles and inserts some bytes.
pub(crate) fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..rng.usize(1..5) {
        let at = rng.usize(..=bytes.len());
        let end = (at + rng.usize(..12)).min(bytes.len());
        match rng.u8(..7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.truncate(at),
            3 => {
                let again = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, again));
            }
            4 if at < bytes.len() => bytes[at] = rng.u8(..),
            _ => drop(bytes.splice(at..at, PIECES[rng.usize(..PIECES.len())].bytes())),
        }
    }
}

fn decoder() -> Decoder {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let address = DataType::Struct(vec![text("city"), text("zip")].into());
    let declared = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        text("name"),
        Field::new("total", DataType::Decimal128(12, 2), true),
        Field::new("weight", DataType::Float64, true),
        Field::new("paid", DataType::Boolean, true),
        Field::new("placed_at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new_list("tags", Field::new_list_field(DataType::Utf8, true), true),
        Field::new("address", address, true),
    ]);
    let columns = (0..declared.fields().len()).collect();
    let config = SourceConfig {
        name: "events".into(),
        stored_as: "FILE".into(),
        location: "-".into(),
        folder: Default::default(),
        options: BTreeMap::new(),
        declared: Arc::new(declared),
        columns,
        limits: BatchLimits::default(),
    };
    Decoder::new(&config).expect("a decoder")
}

#[test]
fn mutated_bodies_cost_no_good_event() {
    let (mut rng, decoder, mut left) = (Rng::with_seed(seed()), decoder(), count("ALLUVIUM_MUTATED_BODIES", MUTATIONS));
    let (mut letters, mut rows, mut unfit) = (0, 0, 0);
    while left > 0 {
        let mut bodies: Vec<Vec<u8>> = (1..=AT_ONCE as i64).map(|id| body(id, &mut rng)).collect();
        let is_good = |index: usize| index.is_multiple_of(4);
        let good: Vec<Vec<u8>> = bodies.iter().step_by(4).cloned().collect();
        for (_, body) in bodies.iter_mut().enumerate().filter(|(index, _)| !is_good(*index)) {
            mutate(body, &mut rng);
            left = left.saturating_sub(1);
        }
        let decode = |bodies: &[Vec<u8>]| {
            let message = |(index, body): (usize, &'_ Vec<u8>)| (index as u64 + 1, body.clone());
            let all: Vec<(u64, Vec<u8>)> = bodies.iter().enumerate().map(message).collect();
            let messages = all.iter().map(|(sequence, payload)| Message {
                sequence: *sequence,
                subject: "events",
                timestamp_ns: Some(1),
                headers: None,
                payload,
            });
            decoder.decode(all.len(), messages).expect("decoded")
        };
        let (decoded, alone) = (decode(&bodies), decode(&good));
        assert_eq!(alone.rows.num_rows(), good.len(), "a good body does not decode");
        assert_eq!(decoded.rows.num_rows() + decoded.dead_letters.len(), bodies.len());
        // The rows of the good ones, in their order, are those that they have among themselves.
        let sequences = decoded.sequences.values();
        let places = (0..bodies.len()).filter(|index| is_good(*index)).map(|index| {
            let found = sequences.binary_search(&(index as u64 + 1));
            found.unwrap_or_else(|_| panic!("a good body is lost: {}", String::from_utf8_lossy(&bodies[index]))) as u64
        });
        let places = arrow::array::UInt64Array::from_iter_values(places);
        let ids = decoded.rows.column(0).as_primitive::<Int64Type>();
        assert!(places.values().iter().all(|place| ids.value(*place as usize) == sequences[*place as usize] as i64));
        for (column, expected) in decoded.rows.columns().iter().zip(alone.rows.columns()) {
            let taken = arrow::compute::take(column, &places, None).expect("taken");
            assert_eq!(taken.to_data(), expected.to_data());
        }
        // Those that are left out say which bytes they had.
        for letter in &decoded.dead_letters {
            let body = &bodies[letter.sequence as usize - 1];
            assert!(!is_good(letter.sequence as usize - 1) && letter.payload == body.as_slice() && !letter.error.is_empty());
        }
        assert!(decoded.unfit.iter().all(|unfit| !is_good(sequences[unfit.row] as usize - 1)));
        (letters, rows, unfit) =
            (letters + decoded.dead_letters.len(), rows + decoded.rows.num_rows(), unfit + decoded.unfit.len());
    }
    println!("{rows} rows with {unfit} values that do not fit, {letters} dead letters");
    assert!(letters > 0 && unfit > 0 && rows > 0);
}
