//! `alluvium demo`: its six views beside DuckDB over the events that it made up, and what is left when it has ended.

use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use alluvium::demo::folder::VIEWS;
use async_nats::jetstream;

use crate::duckdb;
use crate::orders::{Running, wait_until};
use crate::server::{Version, program};

/// Two demos that start at the same moment may choose the same port.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

const EVENTS: u64 = 6_000;
const KINDS: [&str; 3] = ["orders", "payments", "shipments"];
/// The events as the views read them: the first of those that come twice, and none with a value that the view cannot read.
const READ: &str = "
CREATE TABLE orders AS SELECT * FROM (
  SELECT order_id::BIGINT AS order_id, customer_id::BIGINT AS customer_id, country, product, TRY_CAST(total AS DECIMAL(12, 2)) AS total,
         placed_at::TIMESTAMP AS placed_at
  FROM raw_orders QUALIFY row_number() OVER (PARTITION BY order_id ORDER BY sequence) = 1) WHERE total IS NOT NULL;
CREATE TABLE payments AS SELECT TRY_CAST(order_id AS BIGINT) AS order_id FROM raw_payments;
CREATE TABLE shipments AS SELECT * FROM (
  SELECT order_id::BIGINT AS order_id, carrier, TRY_CAST(shipped_at AS TIMESTAMP) AS shipped_at FROM raw_shipments)
  WHERE shipped_at IS NOT NULL;
";
/// DuckDB has no HOP.
const WINDOWS: &str = "
SELECT window_start, window_start + INTERVAL '1 minute' AS window_end, count(*) AS orders, sum(total) AS revenue FROM (
  SELECT time_bucket(INTERVAL '20 seconds', placed_at) - to_seconds(20 * back) AS window_start, total FROM orders, range(3) AS t(back))
GROUP BY window_start";

/// A demo that runs.
struct Demo {
    running: Running,
    printed: PathBuf,
}

impl Demo {
    fn start(parent: &Path, path: &Path, arguments: &[&str]) -> Demo {
        let printed = parent.join("printed");
        let output = File::create(&printed).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
        // A variable of the user changes nothing.
        let variables =
            [("ALLUVIUM_NATS_URL", "nats://127.0.0.1:1"), ("ALLUVIUM_DIR", "elsewhere"), ("ALLUVIUM_DATA", "elsewhere")];
        command.env_clear().envs(variables).env("PATH", path).env("TMPDIR", parent);
        let command = command.current_dir(parent).args(arguments).stdin(Stdio::null());
        let running = Running(command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap());
        Demo { running, printed }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(&self.printed).unwrap()
    }

    /// The word behind a text.
    fn word_after(&self, text: &str) -> String {
        let printed = self.printed();
        let (_, after) = printed.split_once(text).unwrap_or_else(|| panic!("{text}: {printed}"));
        after.split([' ', ',', '\n']).next().unwrap().trim_end_matches('.').to_owned()
    }

    /// Waits until all events are committed.
    fn wait_for_all(&self, dir: &Path) {
        wait_until("all events are committed", || {
            let read = |path: &str| std::fs::read(dir.join(path)).unwrap_or_default();
            let offset = |view: &str, source: &str| {
                let manifest: serde_json::Value =
                    serde_json::from_slice(&read(&format!("data/views/{view}/manifest.json"))).unwrap_or_default();
                manifest["offsets"][source].as_u64().map_or(0, |offset| offset - 1)
            };
            let all = |orders: &str| {
                offset(orders, "orders") + offset("unpaid_orders", "payments") + offset("parcels_by_carrier", "shipments")
            };
            VIEWS.iter().filter(|(_, sql)| sql.contains("orders")).all(|(view, _)| all(view) == EVENTS)
        });
    }
}

/// Writes the events of a kind that are JSON with their sequences, and returns the statement that makes a table of them.
fn table(folder: &Path, kind: &str, lines: &[String]) -> String {
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let Ok(mut event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        event["sequence"] = (index + 1).into();
        writeln!(text, "{event}").unwrap();
    }
    let path = folder.join(format!("{kind}-read.jsonl"));
    std::fs::write(&path, text).unwrap();
    let columns = match kind {
        "orders" => {
            "order_id: 'VARCHAR', customer_id: 'VARCHAR', country: 'VARCHAR', product: 'VARCHAR', total: 'VARCHAR', placed_at: 'VARCHAR'"
        }
        "payments" => "order_id: 'VARCHAR'",
        _ => "order_id: 'VARCHAR', carrier: 'VARCHAR', shipped_at: 'VARCHAR'",
    };
    format!(
        "CREATE TABLE raw_{kind} AS FROM read_json('{}', format = 'newline_delimited', columns = {{sequence: 'BIGINT', {columns}}});\n",
        path.display()
    )
}

fn assert_views_equal(dir: &Path, folder: &Path, lines: impl Fn(&str) -> Vec<String>) {
    let mut sql: String = KINDS.iter().map(|kind| table(folder, kind, &lines(kind))).collect();
    sql.push_str(READ);
    let of_view = |sql: &'static str| sql.split_once(" AS\n").unwrap().1.trim_end().trim_end_matches(';');
    let views: Vec<(&str, &str)> =
        VIEWS.iter().map(|(name, sql)| (*name, if *name == "revenue_by_minute" { WINDOWS } else { of_view(sql) })).collect();
    duckdb::assert_views_equal(dir, &sql, &views);
}

#[test]
fn views_over_files_are_right_and_the_named_folder_is_kept() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("shop");
    let arguments = ["-C", "shop", "demo", "--seed", "5", "--events", &EVENTS.to_string()];
    let mut demo = Demo::start(parent.path(), parent.path(), &arguments);
    wait_until("a status is printed", || demo.printed().contains("events published"));
    assert!(demo.printed().contains("no nats-server on the PATH runs"), "{}", demo.printed());
    demo.wait_for_all(&dir);
    assert_eq!(demo.running.end_by(rustix::process::Signal::INT), Some(0), "{}", demo.printed());
    assert!(demo.printed().contains("the project is kept in shop"), "{}", demo.printed());

    let lines = |kind: &str| {
        let text = std::fs::read_to_string(dir.join("events").join(format!("{kind}.jsonl"))).unwrap();
        text.lines().map(str::to_owned).collect()
    };
    assert_views_equal(&dir, parent.path(), lines);
    let listed =
        Command::new(env!("CARGO_BIN_EXE_alluvium")).env_clear().arg("-C").arg(&dir).args(["dead-letters", "list"]).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    for kind in KINDS {
        assert!(listed.contains(kind), "{kind}: {listed}");
    }
    // Nothing is overwritten.
    let again = Demo::start(parent.path(), parent.path(), &["-C", "shop", "demo"]).running.0.wait().unwrap();
    assert_eq!(again.code(), Some(1));
}

/// A PATH with nats-server.
fn with_server(parent: &Path) -> PathBuf {
    let path = parent.join("bin");
    std::fs::create_dir(&path).unwrap();
    std::os::unix::fs::symlink(program(Version::Newest), path.join("nats-server")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", path.join("sh")).unwrap();
    path
}

#[test]
fn views_over_a_server_are_right_and_nothing_is_left_nor_if_it_is_killed() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let parent = tempfile::tempdir().unwrap();
    let path = with_server(parent.path());
    let mut demo = Demo::start(parent.path(), &path, &["demo", "--events", &EVENTS.to_string()]);
    wait_until("a status is printed", || demo.printed().contains("events published"));
    let (dir, url) = (PathBuf::from(demo.word_after("The project is in ")), demo.word_after("nats-server at "));
    let server = Path::new("/proc").join(demo.word_after("process "));
    assert!(server.exists() && dir.starts_with(parent.path()), "{}", demo.printed());
    demo.wait_for_all(&dir);

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bodies = |kind: &str| {
        runtime.block_on(async {
            let context = jetstream::new(async_nats::connect(&url).await.unwrap());
            let mut stream = context.get_stream(kind.to_uppercase()).await.unwrap();
            let last = stream.info().await.unwrap().state.last_sequence;
            let mut lines = Vec::new();
            for sequence in 1..=last {
                let message = stream.get_raw_message(sequence).await.unwrap();
                lines.push(String::from_utf8(message.payload.to_vec()).unwrap());
            }
            lines
        })
    };
    assert_views_equal(&dir, parent.path(), bodies);
    assert_eq!(demo.running.end_by(rustix::process::Signal::INT), Some(0), "{}", demo.printed());
    assert!(!dir.exists() && !server.exists(), "{}", demo.printed());

    // A demo that is killed takes its server with it.
    let mut demo = Demo::start(parent.path(), &path, &["demo", "--events", "10"]);
    wait_until("it has begun", || demo.printed().contains("Ctrl-C ends it"));
    let server = Path::new("/proc").join(demo.word_after("process "));
    assert!(server.exists());
    demo.running.kill();
    wait_until("the server has ended", || !server.exists());
}
