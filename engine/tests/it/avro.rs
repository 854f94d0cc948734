//! Avro bodies in a stream and Avro files through the program. fastavro writes them; DuckDB computes from the same rows in JSON.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::duckdb;
use crate::orders::Orders;

const COLUMNS: &str =
    "id BIGINT, name VARCHAR, amount DECIMAL(12, 3), day DATE, clock TIME(6), seen TIMESTAMP(6), local TIMESTAMP(3),
    kind VARCHAR, tags VARCHAR[], place STRUCT<x INT, label VARCHAR>, token VARCHAR";
const VIEWS: &[(&str, &str)] = &[
    (
        "by_kind",
        "SELECT kind, count(*) AS n, sum(amount) AS amount, max(seen) AS seen, min(day) AS day FROM events GROUP BY kind",
    ),
    ("rows", "SELECT id, name, amount, clock, seen, local, tags, place.label AS label, place.x AS x, token FROM events"),
];
const TABLE: &str =
    "columns = {id: 'BIGINT', name: 'VARCHAR', amount: 'DECIMAL(12, 3)', day: 'DATE', clock: 'TIME', seen: 'TIMESTAMP',
    local: 'TIMESTAMP', kind: 'VARCHAR', tags: 'VARCHAR[]', place: 'STRUCT(x INT, label VARCHAR)', token: 'VARCHAR'}";

/// Writes `event.avsc`, the bodies one by one, each after its length, an object container file for each codec, and the rows in JSON.
const WRITE: &str = r#"
import datetime, decimal, fastavro, io, json, random, struct, sys, uuid
folder, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
random.seed(seed)
logical = lambda kind, name, **more: {"type": kind, "logicalType": name, **more}
schema = {"type": "record", "name": "Event", "namespace": "shop", "fields": [
    {"name": "before", "type": {"type": "array", "items": {"type": "map", "values": "double"}}},
    {"name": "id", "type": "long"},
    {"name": "name", "type": ["null", "string"]},
    {"name": "amount", "type": logical("bytes", "decimal", precision=12, scale=3)},
    {"name": "day", "type": logical("int", "date")},
    {"name": "clock", "type": logical("int", "time-millis")},
    {"name": "seen", "type": logical("long", "timestamp-micros")},
    {"name": "local", "type": logical("long", "local-timestamp-millis")},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["NEW", "PAID", "SENT"]}},
    {"name": "tags", "type": {"type": "array", "items": "string"}},
    {"name": "place", "type": ["null", {"type": "record", "name": "Place", "fields": [{"name": "label", "type": "string"}, {"name": "x", "type": "int"}]}]},
    {"name": "token", "type": logical("string", "uuid")}]}
parsed = fastavro.parse_schema(schema)
open(f"{folder}/event.avsc", "w").write(json.dumps(schema))
rows, utc = [], datetime.timezone.utc
for index in range(count):
    seen = datetime.datetime(2024, 1, 1, tzinfo=utc) + datetime.timedelta(microseconds=random.randrange(10**14))
    local = datetime.datetime(1969, 1, 1) + datetime.timedelta(milliseconds=random.randrange(10**13))
    rows.append({
        "before": [{"k": 1.5}] * random.randrange(3), "id": random.choice([index, -index, 2**63 - 1 - index]),
        "name": random.choice([None, "", "Zoë \"z\"", "x" * 50]),
        "amount": decimal.Decimal(random.randrange(-10**9, 10**9)).scaleb(-3),
        "day": seen.date(), "clock": datetime.time(random.randrange(24), 5, 6, random.randrange(1000) * 1000),
        "seen": seen, "local": local, "kind": random.choice(["NEW", "PAID", "SENT"]),
        "tags": [f"t{n}" for n in range(random.randrange(4))],
        "place": random.choice([None, {"label": "here", "x": index}]), "token": uuid.UUID(int=random.getrandbits(128))})
with open(f"{folder}/bodies", "wb") as out:
    for row in rows:
        body = io.BytesIO()
        fastavro.schemaless_writer(body, parsed, row)
        out.write(struct.pack(">I", len(body.getvalue())) + body.getvalue())
for codec in ["null", "deflate", "snappy", "zstandard"]:
    try:
        with open(f"{folder}/{codec}.avro", "wb") as out:
            fastavro.writer(out, parsed, rows, codec=codec, sync_interval=2000)
    except ValueError:
        import os
        os.remove(f"{folder}/{codec}.avro")
text = lambda value: value.replace(tzinfo=None).isoformat() if isinstance(value, datetime.datetime) else str(value)
with open(f"{folder}/rows.json", "w") as out:
    for row in rows:
        row.pop("before")
        out.write(json.dumps(row, default=text) + "\n")
"#;

/// Writes random rows into a folder.
fn write(folder: &Path, seed: u64, count: usize) {
    let python = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(".tools/bin/python");
    let output =
        Command::new(python).args(["-c", WRITE]).arg(folder).args([seed.to_string(), count.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn bodies(folder: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(folder.join("bodies")).unwrap();
    let mut rest = bytes.as_slice();
    let mut bodies = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (body, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        bodies.push(body.to_vec());
        rest = after;
    }
    bodies
}

/// The views equal what DuckDB computes from the rows in JSON.
fn assert_equal(orders: &Orders) {
    let rows = orders.dir().join("rows.json");
    let table = format!("CREATE TABLE events AS FROM read_json('{}', format = 'newline_delimited', {TABLE});\n", rows.display());
    duckdb::assert_views_equal(orders.dir(), &table, VIEWS);
}

fn project(source: &str) -> Orders {
    let mut orders = Orders::new(VIEWS);
    let (seed, url) = (orders.rng.u64(..1 << 30), orders.server.url());
    write(orders.dir(), seed, 3000);
    let source = format!("CREATE EXTERNAL TABLE events ({COLUMNS}) {}", source.replace("$URL", &url));
    std::fs::write(orders.dir().join("sources.sql"), source).unwrap();
    orders
}

#[test]
fn bodies_in_a_stream_are_read_by_their_schema() {
    let orders = project("STORED AS NATS LOCATION '$URL/ORDERS' OPTIONS (format 'avro', schema 'event.avsc');");
    let mut sent = bodies(orders.dir());
    // Between good ones, those of another schema and of no schema: they are set aside, and nothing else is.
    sent.insert(5, b"\x80\x80".to_vec());
    sent.insert(1000, b"{\"id\":1}".to_vec());
    let cut = sent[7][..9].to_vec();
    sent.push(cut);
    orders.publish_bodies(sent);
    let log = orders.catch_up_with_letters();
    assert!(log.contains("3 of 3003 events of events were set aside") && log.contains("not_avro"), "{log}");
    assert_equal(&orders);
    orders.succeed(&["verify"]);
    let letters = orders.succeed(&["dead-letters", "list"]);
    assert!(letters.contains("cut off: the body ends within the datum"), "{letters}");
}

#[test]
fn object_container_files_are_read_whatever_their_compression() {
    for codec in ["null", "deflate", "snappy", "zstandard"] {
        let orders = project(&format!("STORED AS FILE LOCATION '{codec}.avro';"));
        if !orders.dir().join(format!("{codec}.avro")).exists() {
            // fastavro has no compressor for it here.
            assert_eq!(codec, "zstandard");
            continue;
        }
        orders.catch_up();
        assert_equal(&orders);
        orders.succeed(&["verify"]);
    }
}

#[test]
fn check_compares_the_columns_with_the_schema_and_a_changed_schema_rebuilds() {
    let orders = project("STORED AS NATS LOCATION '$URL/ORDERS' OPTIONS (format 'avro', schema 'event.avsc');");
    orders.publish_bodies(bodies(orders.dir()));
    orders.catch_up();
    assert!(orders.succeed(&["plan"]).contains("unchanged"));
    let schema = std::fs::read_to_string(orders.dir().join("event.avsc")).unwrap();
    std::fs::write(orders.dir().join("event.avsc"), schema.replace("\"id\"", "\"identifier\"")).unwrap();
    let output = orders.ask(&["check"]);
    let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        !output.status.success()
            && said.contains("column id of type BIGINT")
            && said.contains("the schema has no field of this name"),
        "{said}"
    );
    std::fs::write(orders.dir().join("event.avsc"), schema.replace("\"name\": \"Kind\"", "\"doc\": \"x\", \"name\": \"Kind\""))
        .unwrap();
    assert!(orders.succeed(&["plan"]).contains("unchanged"), "a comment changes no row");
    std::fs::write(orders.dir().join("event.avsc"), schema.replace("\"Kind\"", "\"OtherKind\"")).unwrap();
    let refused = orders.ask(&["check"]);
    let said = String::from_utf8_lossy(&refused.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!refused.status.success() && said.contains("compatibility 'none'"), "{said}");
    let sources = std::fs::read_to_string(orders.dir().join("sources.sql")).unwrap();
    let sources = sources.replace("schema 'event.avsc'", "schema 'event.avsc', compatibility 'none'");
    std::fs::write(orders.dir().join("sources.sql"), sources).unwrap();
    assert!(orders.succeed(&["plan"]).contains("rebuilt"));
    orders.catch_up();
    assert_equal(&orders);
}
