//! `alluvium dev`: saved files are deployed, and what changes is printed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::orders::{Running, wait_until};
use crate::server::{Version, program};

struct Dev {
    running: Running,
    printed: PathBuf,
    /// How much of what is printed has been read.
    read: usize,
}

impl Dev {
    fn start(dir: &Path, path: &Path) -> Dev {
        let printed = dir.parent().unwrap().join("printed");
        let output = File::create(&printed).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
        command.env_clear().env("PATH", path).arg("-C").arg(dir).args(["dev", "--http", "127.0.0.1:0"]).stdin(Stdio::null());
        // As a terminal shows both.
        let error = File::options().append(true).open(&printed).unwrap();
        drop(output);
        let running = Running(command.stdout(error.try_clone().unwrap()).stderr(error).spawn().unwrap());
        Dev { running, printed, read: 0 }
    }

    /// Waits for a text behind all that was waited for. Returns what was printed up to it.
    fn wait_for(&mut self, text: &str) -> String {
        let mut found = String::new();
        wait_until(text, || {
            let printed = fs::read_to_string(&self.printed).unwrap();
            let new = &printed[self.read..];
            let end = new.find(text).map(|at| at + text.len());
            if let Some(end) = end {
                found = new[..end].to_owned();
            }
            end.is_some()
        });
        self.read += found.len();
        found
    }
}

/// A project as `alluvium init` makes it, which commits often.
fn project(parent: &Path) -> PathBuf {
    let dir = parent.join("views");
    let made = Command::new(env!("CARGO_BIN_EXE_alluvium")).env_clear().arg("init").arg(&dir).output().unwrap();
    assert!(made.status.success());
    fs::write(dir.join("alluvium.toml"), "commit_interval = \"100 ms\"\n").unwrap();
    dir
}

fn rows(dir: &Path, sql: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    let answer = command.env_clear().arg("-C").arg(dir).args(["query", "--format", "csv", sql]).output().unwrap();
    String::from_utf8(answer.stdout).unwrap()
}

const BY_COUNTRY: &str = "SELECT country, orders FROM revenue_by_country ORDER BY country";

#[test]
fn a_saved_file_is_deployed_and_its_difference_printed_and_a_broken_one_changes_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let dir = project(parent.path());
    let file = dir.join("revenue_by_country.sql");
    let sql = fs::read_to_string(&file).unwrap();
    let mut dev = Dev::start(&dir, Path::new("/usr/bin"));
    dev.wait_for("watching for saved files");
    dev.wait_for("revenue_by_country: 5 rows\n");

    // Germany goes, and each other country has one more; a view that reads it follows.
    fs::write(&file, sql.replace("count(*)", "count(*) + 1").replace("FROM orders", "FROM orders WHERE country <> 'DE'"))
        .unwrap();
    let said = dev.wait_for("saved revenue_by_country.sql\n")
        + &dev.wait_for("revenue_by_country: rows: 0 added, 1 removed, 4 changed; 5 before, 4 now\n");
    assert!(said.contains("revenue_by_country: rebuilt from sequence 1 of orders"), "{said}");
    let said = dev.wait_for("~ country PT: orders 15 -> 16\n");
    assert!(said.contains("  ~ country AT: orders 9 -> 10\n  - country DE, orders 3, "), "{said}");
    assert_eq!(rows(&dir, BY_COUNTRY), "country,orders\nAT,10\nFR,7\nIT,8\nPT,16\n");

    // A file with an error is shown as `check` shows it. The views go on: a new event arrives in the version that serves.
    fs::write(&file, sql.replace("sum(total)", "sum(totl)")).unwrap();
    let said = dev.wait_for("nothing is deployed: the views go on as they were");
    assert!(said.contains("revenue_by_country.sql:3:") && said.contains("did you mean total?"), "{said}");
    let event = "{\"order_id\": 99, \"customer_id\": 6, \"country\": \"AT\", \"total\": \"1.00\", \"placed_at\": \"2026-01-01T11:17:00Z\"}\n";
    let events = dir.join("events.jsonl");
    fs::write(&events, fs::read_to_string(&events).unwrap() + event).unwrap();
    wait_until("the view goes on", || rows(&dir, BY_COUNTRY).contains("AT,11\n"));

    // Another column is told of, and a view that only reads otherwise has the same rows.
    fs::write(&file, sql.replace("sum(total) AS revenue", "sum(total) AS revenue, min(total) AS least")).unwrap();
    dev.wait_for("revenue_by_country: rows: 1 added, 0 removed, 4 changed; 4 before, 5 now");
    dev.wait_for("+ column least DECIMAL(12, 2)");
    fs::write(
        dir.join("large_orders.sql"),
        "-- The same.\n".to_owned() + &fs::read_to_string(dir.join("large_orders.sql")).unwrap(),
    )
    .unwrap();
    dev.wait_for("no view changes");
    assert_eq!(dev.running.end_by(rustix::process::Signal::INT), Some(0));
}

#[test]
fn a_project_that_is_broken_at_first_runs_when_it_is_mended() {
    let parent = tempfile::tempdir().unwrap();
    let dir = project(parent.path());
    let file = dir.join("large_orders.sql");
    let sql = fs::read_to_string(&file).unwrap();
    fs::write(&file, sql.replace("SELECT", "SELEC")).unwrap();
    let mut dev = Dev::start(&dir, Path::new("/usr/bin"));
    dev.wait_for("nothing runs until this is mended");
    fs::write(&file, sql).unwrap();
    dev.wait_for("large_orders: 21 rows");
    // An engine of ours runs here: a second one is refused.
    let second = Command::new(env!("CARGO_BIN_EXE_alluvium"))
        .env_clear()
        .arg("-C")
        .arg(&dir)
        .args(["dev", "--http", "off"])
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("already works on the data folder"));
    assert_eq!(dev.running.end(), Some(0));
}

/// A project over a stream of a server that does not answer, and a PATH with nats-server.
fn over_a_stream(parent: &Path, options: &str) -> (PathBuf, PathBuf, u16) {
    let (dir, path) = (parent.join("views"), parent.join("bin"));
    for folder in [&dir, &path] {
        fs::create_dir(folder).unwrap();
    }
    std::os::unix::fs::symlink(program(Version::Newest), path.join("nats-server")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", path.join("sh")).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let sql = format!(
        "CREATE EXTERNAL TABLE orders (id BIGINT) STORED AS NATS LOCATION 'nats://127.0.0.1:{port}/ORDERS' OPTIONS ({options});\n\
         CREATE MATERIALIZED VIEW ids AS SELECT id FROM orders;\n"
    );
    fs::write(dir.join("views.sql"), sql).unwrap();
    (dir, path, port)
}

#[test]
fn a_server_that_does_not_answer_is_started_with_its_streams_and_ended() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, path, port) = over_a_stream(parent.path(), "subject 'orders.placed.>'");
    let url = format!("nats://127.0.0.1:{port}");
    let mut dev = Dev::start(&dir, &path);
    let said = dev.wait_for("made the stream ORDERS with the subjects orders.placed.>");
    assert!(said.contains(&format!("started nats-server at {url}")), "{said}");
    let process = said.split_once("process ").unwrap().1.split(',').next().unwrap().to_owned();
    dev.wait_for("watching for saved files");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = async_nats::jetstream::new(async_nats::connect(&url).await.unwrap());
        context.publish("orders.placed.de", "{\"id\": 7}".into()).await.unwrap().await.unwrap();
    });
    wait_until("the event is in the view", || rows(&dir, "SELECT id FROM ids") == "id\n7\n");

    // One that is killed is started again with the next save.
    let killed = rustix::process::Pid::from_raw(process.parse().unwrap()).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    wait_until("the server has ended", || std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    fs::write(dir.join("more.sql"), "CREATE MATERIALIZED VIEW more AS SELECT id + 1 AS next FROM orders;\n").unwrap();
    dev.wait_for("started nats-server at");
    dev.wait_for("more: 1 row\n");
    assert_eq!(dev.running.end(), Some(0));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());

    // The next one finds the events again.
    fs::remove_dir_all(dir.join("data")).unwrap();
    let mut dev = Dev::start(&dir, &path);
    dev.wait_for("ids: 1 row\n");
    assert_eq!(dev.running.end(), Some(0));

    // Views hold events of a stream that is not ours to make: no server takes its place.
    fs::remove_dir_all(dir.join(".nats")).unwrap();
    let mut dev = Dev::start(&dir, &path);
    dev.wait_for("views hold events of orders from there, so no server is started in its place");
    dev.wait_for("watching for saved files");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!(dev.running.end(), Some(0));
}

#[test]
fn a_schema_that_is_saved_wrong_and_then_right_is_noticed_both_times() {
    let parent = tempfile::tempdir().unwrap();
    let (dir, path, _) = over_a_stream(parent.path(), "format 'avro', schema 's.avsc'");
    let schema = "{\"type\": \"record\", \"name\": \"o\", \"fields\": [{\"name\": \"id\", \"type\": \"long\"}]}";
    let file = dir.join("s.avsc");
    fs::write(&file, &schema[..20]).unwrap();
    let mut dev = Dev::start(&dir, &path);
    dev.wait_for("nothing runs until this is mended");
    fs::write(&file, schema).unwrap();
    dev.wait_for("saved s.avsc\n");
    dev.wait_for("ids: 0 rows\n");
    fs::write(&file, &schema[..30]).unwrap();
    dev.wait_for("nothing is deployed: the views go on as they were");
    fs::write(&file, schema).unwrap();
    let said = dev.wait_for("no view changes");
    assert_eq!(said.matches("saved s.avsc").count(), 1, "{said}");
    assert_eq!(dev.running.end(), Some(0));
}
