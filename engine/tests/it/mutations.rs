//! Mutated SQL files and records: each is refused with a place in it, or is as good as the original; nothing panics. `ALLUVIUM_SEED` repeats
//! a run, `ALLUVIUM_MUTATED_FILES` and `ALLUVIUM_MUTATED_RECORDS` set how many there are. Bodies and messages are mutated in the tests of the connectors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use alluvium::layout::Layout;
use alluvium::record::records_beside;
use alluvium_sql::{Catalog, SqlFile};
use fastrand::Rng;

use crate::orders::{Orders, VIEWS};

const MUTATED_FILES: u64 = 500;
const MUTATED_RECORDS: u64 = 20_000;

const SQL: &[&str] = &[
    "CREATE EXTERNAL TABLE orders (order_id BIGINT NOT NULL, customer BIGINT, country VARCHAR, total DECIMAL(12, 2), placed_at TIMESTAMP, \
     tags VARCHAR[], address STRUCT<city VARCHAR, zip VARCHAR>, _sequence BIGINT UNSIGNED)\nSTORED AS NATS LOCATION \
     'nats://127.0.0.1:4222/ORDERS' OPTIONS (subject 'orders.>', watermark 'placed_at - 5 seconds', on_bad_member.total 'null');\n",
    "CREATE FUNCTION net(total DECIMAL(12, 2), rate DOUBLE) RETURNS DECIMAL(12, 2) RETURN total / (1 + rate);\n",
    "CREATE MATERIALIZED VIEW by_country WITH (commit_interval = '1 second') AS\nSELECT country, count(*) AS n, sum(net(total, 0.19)) AS net \
     FROM orders WHERE total > 5 GROUP BY country HAVING count(*) > 1;\n",
    "CREATE MATERIALIZED VIEW best AS SELECT country, n, rank() OVER (PARTITION BY n % 3 ORDER BY net DESC, country) AS place FROM by_country;\n",
    "CREATE MATERIALIZED VIEW minutes WITH (emit = 'final', retain = '7 days') AS SELECT window_end, count(*) AS n \
     FROM TUMBLE(orders, placed_at, INTERVAL '1 minute') GROUP BY window_end;\n",
    "CREATE VIEW large AS SELECT o.order_id, o.address.city, t.tag FROM orders o CROSS JOIN UNNEST(o.tags) AS t(tag) \
     WHERE EXISTS (SELECT 1 FROM by_country b WHERE b.country = o.country) AND o.total BETWEEN 1 AND 2;\n",
    "CREATE MATERIALIZED VIEW last AS SELECT DISTINCT ON (customer) customer, total FROM large l JOIN orders USING (order_id) \
     ORDER BY customer, placed_at DESC, order_id;\n",
];

const PIECES: &[&str] = &[
    "(",
    ")",
    ",",
    ";",
    "'",
    "\"",
    "--",
    "/*",
    "*/",
    "$$",
    "::",
    ".",
    "*",
    " AS ",
    " FROM ",
    " SELECT ",
    " WITH ",
    " WHERE ",
    " OVER ()",
    " GROUP BY ",
    " UNION ALL SELECT ",
    "((((((((",
    "NULL",
    "1e999",
    "\u{0}",
    "\u{feff}",
    "\u{1F600}",
    "CASE WHEN",
    " LATERAL ",
    "[1]",
    " INTERVAL '1 day' ",
    "CREATE MATERIALIZED VIEW v AS ",
    "count(*)",
    " JOIN orders ",
    "-",
    "99999999999999999999",
    "E'\\'",
];

fn seeded(count: &str, default: u64) -> (Rng, u64) {
    let variable = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = variable("ALLUVIUM_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("ALLUVIUM_SEED={seed}");
    (Rng::with_seed(seed), variable(count).unwrap_or(default))
}

/// Removes, doubles, moves and inserts words and pieces.
fn mutate(text: &mut String, rng: &mut Rng) {
    for _ in 0..rng.usize(1..4) {
        let mut cut = || (0..).map(|_| rng.usize(..=text.len())).find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (one, other) = (cut(), cut());
        let range = one.min(other)..one.max(other).min(one.min(other) + 40);
        let range = range.start..(range.end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        match rng.u8(..5) {
            0 => drop(text.drain(range)),
            1 => {
                let again = text[range].to_owned();
                text.insert_str(one, &again);
            }
            2 => text.truncate(one),
            _ => text.insert_str(one, PIECES[rng.usize(..PIECES.len())]),
        }
    }
}

#[test]
fn mutated_sql_is_refused_with_its_place_or_loads() {
    let (mut rng, count) = seeded("ALLUVIUM_MUTATED_FILES", MUTATED_FILES);
    let (mut loaded, mut refused) = (0, 0);
    let whole: Vec<SqlFile> = SQL.iter().enumerate().map(|(index, text)| file(index, text)).collect();
    Catalog::load(&whole).unwrap_or_else(|errors| panic!("{errors}"));
    for _ in 0..count {
        let mut files = whole.clone();
        let index = rng.usize(..files.len());
        mutate(&mut files[index].text, &mut rng);
        let text = files[index].text.clone();
        let result = catch_unwind(AssertUnwindSafe(|| Catalog::load(&files)));
        let result = result.unwrap_or_else(|_| panic!("the loader panics on: {text:?}"));
        match result {
            Ok(_) => loaded += 1,
            Err(errors) => {
                refused += 1;
                assert!(!errors.0.is_empty(), "{text:?}");
                for error in &errors.0 {
                    let (at, all) = (&error.at, &error.at.file.text);
                    let is_place = all.get(at.offset..at.offset + at.length).is_some();
                    assert!(is_place && !error.message.is_empty(), "{text:?}: {}..+{}: {error}", at.offset, at.length);
                }
            }
        }
    }
    println!("{loaded} load, {refused} are refused");
    assert!(loaded > 0 && refused > 0);
}

fn file(index: usize, text: &str) -> SqlFile {
    SqlFile { path: format!("{index}.sql"), text: text.to_owned() }
}

#[test]
fn mutated_records_are_refused_or_are_the_same() {
    let (mut rng, count) = seeded("ALLUVIUM_MUTATED_RECORDS", MUTATED_RECORDS);
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    orders.catch_up();
    let layout = Layout::new(orders.dir().join("data"));
    let path = layout.record("by_bucket");
    let written = std::fs::read(&path).unwrap();
    // A file that ends within a line is what a crash leaves of it, and holds the commit before.
    let ends = written.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end + 1);
    let mut expected = Vec::new();
    for end in ends {
        std::fs::write(&path, &written[..end]).unwrap();
        expected.push(records_beside(&layout).unwrap()["by_bucket"].clone().unwrap());
    }
    let mut refused = 0;
    for _ in 0..count {
        let mut bytes = written.clone();
        for _ in 0..rng.usize(1..4) {
            let at = rng.usize(..bytes.len().max(1));
            match rng.u8(..4) {
                0 if at < bytes.len() => bytes[at] ^= 1 << rng.u8(..8),
                1 if at < bytes.len() => drop(bytes.remove(at)),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at.min(bytes.len()), b"{}[]\",:0\\"[rng.usize(..9)]),
            }
        }
        std::fs::write(&path, &bytes).unwrap();
        match &records_beside(&layout).unwrap()["by_bucket"] {
            Ok(records) => assert!(expected.contains(records), "{}", String::from_utf8_lossy(&bytes)),
            Err(reason) => {
                refused += 1;
                assert!(!reason.is_empty());
            }
        }
    }
    println!("{refused} of {count} are refused");
    assert!(refused > count / 2);
    std::fs::write(&path, &written).unwrap();
    orders.catch_up();
    orders.assert_equal(VIEWS);
}
