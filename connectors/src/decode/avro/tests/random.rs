//! Random rows in Avro beside the same rows in JSON, and random damage to bodies.

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use proptest::prelude::*;
use std::sync::Arc;

use super::{Bodies, decode, long, nullable, text};
use crate::decode::{Decoded, Decoder};
use crate::source::{BatchLimits, SourceConfig};

const SCHEMA: &str = r#"{"type":"record","name":"R","fields":[
    {"name":"id","type":"long"},
    {"name":"name","type":["null","string"]},
    {"name":"score","type":"double"},
    {"name":"good","type":"boolean"},
    {"name":"tags","type":{"type":"array","items":"string"}},
    {"name":"place","type":["null",{"type":"record","name":"P","fields":[{"name":"x","type":"int"},{"name":"label","type":"string"}]}]},
    {"name":"counts","type":{"type":"map","values":"long"}},
    {"name":"kind","type":{"type":"enum","name":"K","symbols":["A","B","C"]}},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}}]}"#;

fn fields() -> Vec<Field> {
    let place = Fields::from(vec![nullable("label", DataType::Utf8), Field::new("x", DataType::Int16, false)]);
    let entries = Fields::from(vec![Field::new("key", DataType::Utf8, false), nullable("value", DataType::Int32)]);
    vec![
        nullable("id", DataType::Int32),
        Field::new("name", DataType::Utf8View, false),
        nullable("score", DataType::Float64),
        nullable("good", DataType::Boolean),
        nullable("tags", DataType::List(Arc::new(nullable("item", DataType::Utf8)))),
        nullable("place", DataType::Struct(place)),
        nullable("counts", DataType::Map(Arc::new(Field::new("entries", DataType::Struct(entries), false)), false)),
        nullable("kind", DataType::Utf8),
        nullable("at", DataType::Timestamp(TimeUnit::Millisecond, None)),
    ]
}

/// One row in both formats.
#[derive(Debug, Clone)]
struct Both {
    avro: Vec<u8>,
    json: String,
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

prop_compose! {
    fn row()(
        id in prop_oneof![any::<i64>(), -9_i64..9],
        name in proptest::option::of("[a-zé\"\n]{0,8}"),
        score in -1e9_f64..1e9,
        good in any::<bool>(),
        tags in proptest::collection::vec("[a-c]{0,3}", 0..4),
        place in proptest::option::of((any::<i32>(), "[a-z]{0,4}")),
        counts in proptest::collection::vec(("[a-c]{0,2}", prop_oneof![any::<i64>(), 0_i64..9]), 0..4),
        kind in 0_usize..3,
        at in 0_i64..4_000_000_000_000_000,
        sized in any::<bool>(),
    ) -> Both {
        let array = |items: Vec<Vec<u8>>| {
            let bytes = items.concat();
            match items.len() {
                0 => long(0),
                count if sized => [long(-(count as i64)), long(bytes.len() as i64), bytes, long(0)].concat(),
                count => [long(count as i64), bytes, long(0)].concat(),
            }
        };
        let optional = |value: Option<Vec<u8>>| value.map_or_else(|| long(0), |value| [long(1), value].concat());
        let avro = [
            long(id),
            optional(name.as_deref().map(text)),
            score.to_le_bytes().to_vec(),
            vec![u8::from(good)],
            array(tags.iter().map(|tag| text(tag)).collect()),
            optional(place.as_ref().map(|(x, label)| [long(i64::from(*x)), text(label)].concat())),
            array(counts.iter().map(|(name, count)| [text(name), long(*count)].concat()).collect()),
            long(kind as i64),
            long(at),
        ].concat();
        let name = name.as_deref().map_or("null".to_owned(), quoted);
        let tags = tags.iter().map(|tag| quoted(tag)).collect::<Vec<_>>().join(",");
        let place = place.map_or("null".to_owned(), |(x, label)| format!(r#"{{"x":{x},"label":{}}}"#, quoted(&label)));
        let counts = counts.iter().map(|(name, count)| format!("{}:{count}", quoted(name))).collect::<Vec<_>>().join(",");
        let kind = ["A", "B", "C"][kind];
        let time = arrow::temporal_conversions::timestamp_us_to_datetime(at).unwrap();
        let json = format!(
            r#"{{"id":{id},"name":{name},"score":{score},"good":{good},"tags":[{tags}],"place":{place},"counts":{{{counts}}},"kind":"{kind}","at":"{time:?}Z"}}"#
        );
        Both { avro, json }
    }
}

fn by_json(bodies: &[String]) -> Decoded {
    let decoder = Decoder::new(&SourceConfig {
        name: "events".into(),
        stored_as: "NATS".into(),
        location: "nats://host/S".into(),
        folder: Default::default(),
        options: Default::default(),
        declared: Arc::new(arrow::datatypes::Schema::new(fields())),
        columns: (0..fields().len()).collect(),
        limits: BatchLimits::default(),
    });
    decode(&decoder.unwrap(), bodies)
}

proptest! {
    #[test]
    fn rows_equal_those_of_their_json(rows in proptest::collection::vec(row(), 1..40)) {
        let bodies = Bodies::new(SCHEMA, fields());
        let avro = bodies.decode(&rows.iter().map(|row| &row.avro).collect::<Vec<_>>());
        let json = by_json(&rows.iter().map(|row| row.json.clone()).collect::<Vec<_>>());
        prop_assert!(avro.dead_letters.is_empty());
        let marks = |decoded: &Decoded| {
            decoded.unfit.iter().map(|unfit| (unfit.row, unfit.column, unfit.kind)).collect::<Vec<_>>()
        };
        prop_assert_eq!(marks(&avro), marks(&json));
        prop_assert_eq!(&avro.rows, &json.rows);
    }

    /// Damage to one body never panics and never reaches another.
    #[test]
    fn damage_stays_where_it_is(
        rows in proptest::collection::vec(row(), 3..6),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bodies: Vec<Vec<u8>> = rows.iter().map(|row| row.avro.clone()).collect();
        for (at, byte) in damage {
            let at = at.index(bodies[1].len());
            bodies[1][at] = byte;
        }
        if let Some(cut) = cut {
            let length = cut.index(bodies[1].len());
            bodies[1].truncate(length);
        }
        let source = Bodies::new(SCHEMA, fields());
        let whole = source.decode(&bodies);
        let others: Vec<_> = bodies.iter().enumerate().filter(|(index, _)| *index != 1).map(|(_, body)| body).collect();
        let expected = source.decode(&others);
        let row_of = |decoded: &Decoded, sequence: u64| {
            let row = decoded.sequences.values().iter().position(|found| *found == sequence).unwrap();
            decoded.rows.slice(row, 1)
        };
        for index in (0..bodies.len()).filter(|index| *index != 1) {
            let place = if index > 1 { index } else { index + 1 };
            prop_assert_eq!(row_of(&whole, index as u64 + 1), row_of(&expected, place as u64));
        }
    }
}
