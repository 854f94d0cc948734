#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;

use alluvium_connectors::source;

use super::place::Place;
use super::{Inferred, infer};
use crate::project::Project;
use crate::sample::{self, Wanted};
use crate::settings::{Overrides, Settings};

fn inferred(dir: &Path, file: &str, sample: u64) -> Result<Inferred, crate::Error> {
    let settings = Settings::load(dir, &Overrides::default()).unwrap();
    let place = Place::parse(dir.join(file).to_str().unwrap(), BTreeMap::new(), dir).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(infer(&place, None, sample, dir, &settings))
}

/// Loads what was inferred as `alluvium check` does, and decodes all events by it. Returns the text.
fn checked(dir: &Path, file: &str) -> String {
    let inferred = match inferred(dir, file, 100_000) {
        Err(error) if error.to_string().starts_with("none of the") => return String::new(),
        inferred => inferred.unwrap(),
    };
    let sql = inferred.sql;
    std::fs::write(dir.join("sources.sql"), &sql).unwrap();
    let project = Project::load(dir, &Overrides::default()).unwrap_or_else(|error| panic!("{error}\n{sql}"));
    project.connect().unwrap_or_else(|error| panic!("{error}\n{sql}"));
    let mut config = project.sources.values().next().unwrap().clone();
    config.columns = (0..config.declared.fields().len()).collect();
    let source = source::open(config).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sample = runtime.block_on(sample::read(&source, Wanted::First(u64::MAX), std::time::Duration::MAX)).unwrap();
    assert_eq!(sample.events, inferred.events, "{sql}");
    let letters = sample.batches.iter().map(|batch| batch.dead_letters.len() as u64).sum::<u64>();
    assert_eq!(letters, inferred.undecodable, "{sql}");
    for batch in &sample.batches {
        assert!(batch.unfit.is_empty(), "{:?}\n{sql}", batch.unfit);
    }
    std::fs::remove_file(dir.join("sources.sql")).unwrap();
    sql
}

fn of_lines(lines: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("events.ndjson"), lines).unwrap();
    checked(folder.path(), "events.ndjson")
}

/// The line of a column without its comment.
fn column(sql: &str, name: &str) -> String {
    let line = sql.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_else(|| panic!("{name}: {sql}"));
    let line = line.split("--").next().unwrap().trim().trim_end_matches(',');
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

fn comment(sql: &str, name: &str) -> String {
    let line = sql.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap_or_else(|| panic!("{name}: {sql}"));
    line.split_once("-- ").unwrap().1.to_owned()
}

const NAMES: [&str; 26] = [
    "id",
    "ID",
    "order id",
    "select",
    "end",
    "_sequence",
    "_sequences",
    "_payload",
    "",
    "a\"b",
    "é",
    "É",
    "type",
    "created_at",
    "updatedAt",
    "password",
    "x.y",
    "line\nend",
    "total",
    "interval",
    "it's",
    "struct",
    "--",
    "table",
    "_change",
    "ts",
];
const TEXTS: [&str; 24] = [
    "",
    "a",
    "2024-05-01",
    "2024-05-01T10:00:00Z",
    "2024-05-01 10:00:00.123456789+02:00",
    "0001-01-01T00:00:00Z",
    "2024-02-30",
    "Wed, 01 May 2024 10:00:00 +0200",
    "12.50",
    "7.25",
    "0012",
    "42",
    "-3",
    "1e5",
    "true",
    "Bearer abc",
    "it's",
    "\\ud800",
    "é\\n--",
    "*/",
    "99999999999999999999999",
    "9999-12-31T23:59:59Z",
    "20240501T1000Z",
    "NaN",
];

fn value(rng: &mut fastrand::Rng, depth: usize) -> String {
    match rng.u32(..if depth > 3 { 9 } else { 13 }) {
        0 => "null".to_owned(),
        1 => rng.bool().to_string(),
        2 => rng.i64(-1000..1000).to_string(),
        3 => ["9223372036854775808", "18446744073709551616", "123456789012345678901234567890123456789012", "-0", "1E3", "1e400"]
            [rng.usize(..6)]
        .to_owned(),
        4 => format!("{}.{}", rng.i64(-100..100), ["5", "50", "25", "123456789012"][rng.usize(..4)]),
        5 => {
            ["1714557600", "1714557600123", "1714557600123456", "1714557600123456789", "1714557600.5"][rng.usize(..5)].to_owned()
        }
        6..=8 => format!("\"{}\"", TEXTS[rng.usize(..TEXTS.len())]),
        9 | 10 => {
            let items: Vec<String> = (0..rng.usize(..4)).map(|_| value(rng, depth + 1)).collect();
            format!("[{}]", items.join(","))
        }
        _ => object(rng, depth + 1),
    }
}

fn object(rng: &mut fastrand::Rng, depth: usize) -> String {
    let members: Vec<String> = (0..rng.usize(..6))
        .map(|_| format!("{}:{}", serde_json::Value::from(NAMES[rng.usize(..NAMES.len())]), value(rng, depth)))
        .collect();
    format!("{{{}}}", members.join(","))
}

/// An object whose values look like those of one kind of event, with exceptions.
fn event(rng: &mut fastrand::Rng, model: &[(usize, String)]) -> String {
    let members = model.iter().filter_map(|(name, usual)| {
        let value = match rng.u32(..10) {
            0 => value(rng, 2),
            1 => return None,
            _ => usual.clone(),
        };
        Some(format!("{}:{}", serde_json::Value::from(NAMES[*name]), value))
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

#[test]
fn what_is_inferred_of_any_json_loads_and_decodes_all_of_it() {
    let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("ALLUVIUM_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..150 {
        let model: Vec<(usize, String)> = (0..rng.usize(1..8)).map(|_| (rng.usize(..NAMES.len()), value(&mut rng, 1))).collect();
        let of_one_kind = rng.bool();
        let lines: Vec<String> = (0..rng.usize(1..40))
            .map(|_| match of_one_kind {
                true => event(&mut rng, &model),
                false if rng.u32(..20) == 0 => value(&mut rng, 0),
                false => object(&mut rng, 0),
            })
            .collect();
        of_lines(&(lines.join("\n") + "\n"));
    }
}

#[test]
fn types_are_those_that_a_person_would_write() {
    let line = |n: u64| {
        format!(
            "{{\"id\":{n},\"total\":\"{n}.50\",\"price\":{}.{},\"lat\":52.{n}1,\"ok\":true,\"country\":\"DE\",\"created_at\":{},\"ts\":{},\"at\":\"2024-05-01T10:00:0{}Z\",\"day\":\"2024-05-0{}\",\"zip\":\"0{n}\",\"tags\":[\"a\"],\"customer\":{{\"name\":\"x\",\"since\":{}}},\"lines\":[{{\"sku\":\"a\",\"n\":1}}],\"mixed\":{},\"big\":18446744073709551615{}}}\n",
            n,
            n % 4 * 25,
            1714557600 + n,
            1714557600123_u64 + n,
            n % 10,
            n % 9 + 1,
            1714557600123_u64,
            if n.is_multiple_of(2) { "\"t\"" } else { "{\"a\":1}" },
            if n == 3 { ",\"rare\":1" } else { "" }
        )
    };
    let sql = of_lines(&(1..=50).map(line).collect::<String>());
    for (name, wanted) in [
        ("id", "BIGINT NOT NULL"),
        ("total", "DECIMAL(12, 2) NOT NULL"),
        ("price", "DECIMAL(12, 2) NOT NULL"),
        ("lat", "DOUBLE NOT NULL"),
        ("ok", "BOOLEAN NOT NULL"),
        ("country", "VARCHAR NOT NULL"),
        ("created_at", "TIMESTAMP(3) NOT NULL"),
        ("ts", "TIMESTAMP(3) NOT NULL"),
        ("at", "TIMESTAMP NOT NULL"),
        ("day", "DATE NOT NULL"),
        ("zip", "VARCHAR NOT NULL"),
        ("tags", "VARCHAR[] NOT NULL"),
        ("since", "TIMESTAMP(3)"),
        ("sku", "VARCHAR"),
        ("mixed", "VARCHAR NOT NULL"),
        ("big", "BIGINT UNSIGNED NOT NULL"),
        ("rare", "BIGINT"),
    ] {
        assert_eq!(column(&sql, name), wanted, "{name}: {sql}");
    }
    assert!(sql.contains("epoch.created_at 's'") && sql.contains("epoch.ts 'ms'"), "{sql}");
    assert_eq!(comment(&sql, "country"), "in all, 1 distinct, such as 'DE'");
    assert_eq!(comment(&sql, "mixed"), "in all, text in 25, an object in 25, 2 distinct");
    assert_eq!(comment(&sql, "rare"), "in 2.0%, 1 distinct, such as 1");
}

#[test]
fn a_type_takes_what_may_come_and_loses_nothing() {
    for (name, values, wanted) in [
        ("score", &["1.0", "0.5"][..], "DOUBLE"),
        ("tax_rate", &["0.2"], "DOUBLE"),
        ("price_change_percent", &["1.25"], "DOUBLE"),
        ("cost_per_token", &["0.25"], "DOUBLE"),
        ("python_version", &["\"3.10\"", "\"3.11\""], "VARCHAR"),
        ("price", &["5"], "DECIMAL(18, 2)"),
        ("value", &["123456789012345678901234567890123456789012"], "VARCHAR"),
        ("id", &["9007199254740993", "1.5"], "DECIMAL(20, 1)"),
        ("px", &["0.12345678901234567890"], "DECIMAL(24, 20)"),
        ("x", &["0.30000000000000004"], "DOUBLE"),
        ("runtime", &["1200000000"], "BIGINT"),
        ("response_time", &["1500000000"], "BIGINT"),
        ("elapsed_time_ns", &["1200000000"], "BIGINT"),
        ("ts_ms", &["1714557600123"], "TIMESTAMP(3)"),
    ] {
        let lines: String = (0..24).map(|n| format!("{{\"{name}\":{}}}\n", values[n % values.len()])).collect();
        assert_eq!(column(&of_lines(&lines), name), format!("{wanted} NOT NULL"), "{name}");
    }
    // An option cannot tell these two apart: the value that fits no type is not declared, and nothing else is read as NULL in silence.
    let sql = of_lines(&"{\"ID\":\"\\ud800\",\"id\":1}\n".repeat(24));
    assert!(sql.contains("Not declared: ID") && !sql.contains("on_bad_member"), "{sql}");
}

#[test]
fn what_looks_like_a_secret_is_hidden_whatever_its_name() {
    for text in
        ["sk-proj-abc", "AccountKey=abc==", "https://host/a?X-Amz-Signature=0f", "4111 1111 1111 1111", "aB3dE5gH7jK9mN1pQ3sT5"]
    {
        let sql = of_lines(&format!("{{\"plain\":\"{text}\"}}\n"));
        assert!(!sql.contains(text), "{sql}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let sql = of_lines(
        "{\"password\":\"hunter2\",\"apiKey\":\"hunter2\",\"auth\":{\"value\":\"hunter2\",\"more\":[\"hunter2\"]},\"note\":\"Bearer hunter2\",\"url\":\"https://me:hunter2@host/\",\"raw\":\"{\\\"token\\\": \\\"hunter2\\\"}\",\"pin\":4711,\"tokens\":[\"hunter2\"]}\n",
    );
    assert!(!sql.contains("hunter2") && !sql.contains("4711") && sql.contains("'***'"), "{sql}");
}

#[test]
fn events_are_told_apart_by_a_member() {
    let lines: String =
        (0..30).map(|n| format!("{{\"n\":{n},\"type\":\"{}\"}}\n", ["placed", "paid", "placed"][n % 3])).collect();
    let sql = of_lines(&lines);
    assert!(sql.contains("-- Event types by member type:"), "{sql}");
    assert!(sql.contains("placed                         20") && sql.contains("paid                           10"), "{sql}");
}

#[test]
fn what_does_not_decode_is_named() {
    let sql = of_lines("{\"a\":1}\nnot JSON\n{\"a\":2}\n[1]\n");
    assert!(sql.contains("-- 2 of the sampled events do not decode and become dead letters: 2, 4"), "{sql}");
    assert_eq!(column(&sql, "a"), "BIGINT");
    assert!(sql.contains("few events: no column is NOT NULL"), "{sql}");
}

#[test]
fn names_that_are_data_become_a_map() {
    let lines: String = (0..100).map(|n| format!("{{\"prices\":{{\"S{n}\":{n},\"T{}\":1.5}}}}\n", n + 1)).collect();
    assert_eq!(column(&of_lines(&lines), "prices"), "MAP(VARCHAR, DOUBLE) NOT NULL");
}

#[test]
fn files_of_each_kind_are_known_by_what_they_hold() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(dir.join("a.json"), "[{\"a\":1},\n {\"a\":2}]").unwrap();
    assert!(checked(dir, "a.json").contains("STORED AS JSON\nLOCATION 'a.json'"));
    for (name, text, option) in [
        ("b.csv", "id,word,at,rate\n1,x,2024-05-01,1.5\n2,,2024-05-02,2\n", ""),
        ("c.csv", "id;word;at;rate\n1;x,y;2024-05-01;1.5\n2;;2024-05-02;2\n", "OPTIONS (delimiter ';')"),
        ("d.txt", "id\tword\tat\trate\n1\tx\t2024-05-01\t1.5\n2\t\t2024-05-02\t2\n", "OPTIONS (delimiter 'tab')"),
    ] {
        std::fs::write(dir.join(name), text).unwrap();
        let sql = checked(dir, name);
        assert!(sql.contains("STORED AS CSV") && sql.contains(option) && sql.contains("OPTIONS") != option.is_empty(), "{sql}");
        let columns = ["id", "word", "at", "rate"].map(|name| column(&sql, name));
        assert_eq!(columns, ["BIGINT", "VARCHAR", "DATE", "DOUBLE"]);
    }
}

#[test]
fn a_sample_has_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let lines: String =
        (1..=1000).map(|n| if n > 990 { format!("{{\"n\":{n},\"late\":1}}\n") } else { format!("{{\"n\":{n}}}\n") }).collect();
    std::fs::write(folder.path().join("e.ndjson"), lines).unwrap();
    let inferred = inferred(folder.path(), "e.ndjson", 20).unwrap();
    assert_eq!(inferred.events, 20);
    assert!(inferred.sql.contains("from 20 of 1000 events of e.ndjson, sequences 1 to 1000"), "{}", inferred.sql);
    assert_eq!(comment(&inferred.sql, "late"), "in 50.0%, 1 distinct, such as 1");
    let names =
        [("e", "a/Web-Shop.2024.ndjson.gz", "web_shop"), ("e", "in/*.json", "in"), ("e", "nats://u:p@h/ORDERS", "orders")];
    for (_, place, name) in names {
        let place = Place::parse(place, BTreeMap::new(), folder.path()).unwrap();
        assert_eq!(place.name(), name);
        assert!(!format!("{place:?}").contains("u:p"));
    }
}
