//! Sources of changes through the program: the table as it is now, whatever cuts, restarts and kills there were. DuckDB is the judge, over the
//! same changes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::duckdb;

const VIEWS: &[(&str, &str)] = &[
    ("all_rows", "SELECT id, region, total, seen FROM accounts"),
    ("by_region", "SELECT region, count(*) AS n, sum(total) AS total FROM accounts GROUP BY region"),
    ("rich", "SELECT id, total FROM accounts WHERE total > 900"),
    ("newest", "SELECT region, max(seen) AS seen, min(id) AS id FROM accounts GROUP BY region"),
    ("pairs", "SELECT a.id, b.id AS other FROM accounts a JOIN accounts b ON a.id = b.id + 1 AND a.region = b.region"),
];

/// Writes changes of a table of so many keys: their bodies as Debezium writes them, and the same as a table for DuckDB.
struct Accounts {
    rng: fastrand::Rng,
    keys: u64,
    sequence: u64,
    bodies: std::fs::File,
    changes: std::fs::File,
}

impl Accounts {
    fn new(dir: &Path, keys: u64) -> Accounts {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let create = |name: &str| std::fs::File::create(dir.join(name)).unwrap();
        Accounts {
            rng: fastrand::Rng::with_seed(seed),
            keys,
            sequence: 0,
            bodies: create("accounts.ndjson"),
            changes: create("changes.csv"),
        }
    }

    fn write(&mut self, count: u64) {
        let (mut bodies, mut changes) = (String::new(), String::new());
        for _ in 0..count {
            self.sequence += 1;
            let id = self.rng.u64(..self.keys);
            let region = ["eu", "us", "asia"][self.rng.usize(..3)];
            let cents = self.rng.i64(-5_000..100_000);
            let at = 1_700_000_000_000_000 + self.sequence as i64 * 1_000 + self.rng.i64(..1_000);
            let row = format!("{{\"id\":{id},\"region\":\"{region}\",\"total\":\"{}\",\"seen\":{at}}}", base64(cents));
            let (body, kind) = match self.rng.u8(..10) {
                0 => (format!("{{\"before\":{row},\"after\":null,\"op\":\"d\"}}"), "d"),
                1 => (format!("{{\"before\":{row},\"after\":{row},\"op\":\"u\",\"source\":{{\"lsn\":{}}}}}", self.sequence), "u"),
                2 => (format!("{{\"schema\":{{}},\"payload\":{{\"before\":null,\"after\":{row},\"op\":\"r\"}}}}"), "u"),
                _ => (format!("{{\"before\":null,\"after\":{row},\"source\":{{}},\"op\":\"c\",\"ts_ms\":1}}"), "u"),
            };
            writeln!(bodies, "{body}").unwrap();
            let sign = if cents < 0 { "-" } else { "" };
            let (whole, rest) = (cents.abs() / 100, cents.abs() % 100);
            writeln!(changes, "{},{kind},{id},{region},{sign}{whole}.{rest:02},{at}", self.sequence).unwrap();
        }
        self.bodies.write_all(bodies.as_bytes()).unwrap();
        self.changes.write_all(changes.as_bytes()).unwrap();
    }
}

/// The shortest big-endian two's complement of a number, as base64.
fn base64(number: i64) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bytes = number.to_be_bytes();
    let sign = if number < 0 { 0xff } else { 0 };
    let mut start = bytes.iter().position(|byte| *byte != sign).unwrap_or(7);
    if start > 0 && (bytes[start] & 0x80 != 0) != (number < 0) {
        start -= 1;
    }
    let mut text = String::new();
    for group in bytes[start..].chunks(3) {
        let word = group.iter().enumerate().fold(0_u32, |word, (index, byte)| word | u32::from(*byte) << (16 - 8 * index));
        for index in 0..4 {
            let letter = ALPHABET[(word >> (18 - 6 * index) & 63) as usize];
            text.push(if index <= group.len() { letter as char } else { '=' });
        }
    }
    text
}

fn declare(dir: &Path, location: &str) {
    let mut sql = format!(
        "CREATE EXTERNAL TABLE accounts (id BIGINT PRIMARY KEY, region VARCHAR NOT NULL, total DECIMAL(10, 2), seen TIMESTAMP(6))
         {location} (format 'debezium');\n"
    );
    for (name, query) in VIEWS {
        writeln!(sql, "CREATE MATERIALIZED VIEW {name} AS {query};").unwrap();
    }
    std::fs::write(dir.join("views.sql"), sql).unwrap();
}

fn run(dir: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_alluvium"))
        .env_clear()
        .env("ALLUVIUM_COMMIT_INTERVAL", "20ms")
        .args(["run", "--http", "off", "-C"])
        .arg(dir)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn catch_up(dir: &Path) {
    let output = run(dir, &["--until-caught-up"]).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Every view is what DuckDB computes from the changes.
fn assert_equal(dir: &Path) {
    let sql = format!(
        "CREATE TABLE changes AS FROM read_csv('{}/changes.csv', header = false, columns = {{'sequence': 'BIGINT', 'kind': 'VARCHAR',
           'id': 'BIGINT', 'region': 'VARCHAR', 'total': 'DECIMAL(10, 2)', 'us': 'BIGINT'}});
         CREATE TABLE accounts AS SELECT id, region, total, make_timestamp(us) AS seen FROM changes
           WHERE sequence IN (SELECT max(sequence) FROM changes GROUP BY id) AND kind <> 'd';\n",
        dir.display()
    );
    duckdb::assert_views_equal(dir, &sql, VIEWS);
}

/// The last commit of a view; 0 before the first.
fn epoch(dir: &Path, view: &str) -> u64 {
    let manifest = std::fs::read_to_string(dir.join(format!("data/views/{view}/manifest.json"))).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap_or_default();
    manifest["epoch"].as_u64().unwrap_or_default()
}

#[test]
fn a_table_is_kept_as_it_is_now_through_restarts_and_kills() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    declare(dir, "STORED AS FILE LOCATION 'accounts.ndjson' OPTIONS");
    let mut accounts = Accounts::new(dir, 3_000);
    accounts.write(10_000);
    catch_up(dir);
    assert_equal(dir);
    for round in 0..10 {
        accounts.write(5_000);
        let mut running = run(dir, &[]);
        let wanted = epoch(dir, "by_region") + accounts.rng.u64(0..3);
        let began = Instant::now();
        while epoch(dir, "by_region") < wanted && began.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(2));
        }
        running.kill().unwrap();
        running.wait().unwrap();
        if round % 3 == 2 {
            catch_up(dir);
            assert_equal(dir);
        }
    }
    catch_up(dir);
    assert_equal(dir);
}
