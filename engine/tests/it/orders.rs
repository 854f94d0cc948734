//! A project with views over a stream of orders on a real server, and a file of the same orders, from which DuckDB computes the
//! expected rows.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alluvium::layout::Layout;
use alluvium::record::{Record, newest_records};
use async_nats::jetstream::{self, stream};

use crate::duckdb;
use crate::server::{Server, Version};

/// How many publishes may wait for their acknowledgement.
const WINDOW: usize = 2000;

/// The name and query of each view. A view follows those that it reads. DuckDB runs the same text.
pub(crate) const VIEWS: &[(&str, &str)] = &[
    ("by_country", "SELECT country, count(*) AS n, sum(total) AS revenue, min(total) AS least FROM orders GROUP BY country"),
    ("by_bucket", "SELECT customer % 1000 AS bucket, count(*) AS n, sum(total) AS revenue FROM orders GROUP BY customer % 1000"),
    (
        "by_customer",
        "SELECT customer, count(*) AS n, sum(total) AS revenue, max(order_id) AS newest FROM orders GROUP BY customer",
    ),
    ("large_orders", "SELECT order_id, customer, total, placed_at FROM orders WHERE total > 990"),
    ("totals", "SELECT count(*) AS n, sum(total) AS revenue, min(order_id) AS oldest FROM orders"),
    ("best", "SELECT bucket, revenue FROM by_bucket ORDER BY revenue DESC, bucket LIMIT 10"),
];

const COLUMNS: &str = "order_id BIGINT, customer BIGINT, country VARCHAR, total DECIMAL(12, 2), placed_at TIMESTAMP";

/// The server, the project's folder and the published orders.
pub(crate) struct Orders {
    pub server: Server,
    pub folder: tempfile::TempDir,
    pub rng: fastrand::Rng,
    next_order: u64,
    runtime: tokio::runtime::Runtime,
}

impl Orders {
    /// Makes an empty stream and the views. The seed is `ALLUVIUM_SEED` or a new one, and is printed.
    pub(crate) fn new(views: &[(&str, &str)]) -> Orders {
        Orders::on("max_payload: 8388608", views)
    }

    /// Does the same on a server with this configuration.
    pub(crate) fn on(configuration: &str, views: &[(&str, &str)]) -> Orders {
        let seed = std::env::var("ALLUVIUM_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
        println!("ALLUVIUM_SEED={seed}");
        let orders = Orders {
            server: Server::start_with(Version::Newest, configuration),
            folder: tempfile::tempdir().unwrap(),
            rng: fastrand::Rng::with_seed(seed),
            next_order: 1,
            runtime: tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap(),
        };
        let url = orders.server.url();
        let source = format!(
            "CREATE EXTERNAL TABLE orders ({COLUMNS}) STORED AS NATS LOCATION '{url}/ORDERS' OPTIONS (subject 'orders.>', format 'json');\n"
        );
        std::fs::write(orders.dir().join("sources.sql"), source).unwrap();
        for (name, query) in views {
            orders.declare(name, query);
        }
        orders.make_stream();
        orders
    }

    pub(crate) fn dir(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn view(&self, name: &str) -> PathBuf {
        self.dir().join("data/views").join(name)
    }

    /// Returns the record of a view's last commit, as the views' folders have it.
    pub(crate) fn record(&self, view: &str) -> Option<Record> {
        newest_records(&Layout::new(self.dir().join("data"))).ok()?.remove(view)
    }

    /// Writes the SQL file of a view.
    pub(crate) fn declare(&self, name: &str, query: &str) {
        let text = format!("CREATE MATERIALIZED VIEW {name} AS\n{query};\n");
        std::fs::write(self.dir().join(format!("{name}.sql")), text).unwrap();
    }

    pub(crate) fn make_stream(&self) {
        self.with_jetstream(async |context| {
            let config = stream::Config { name: "ORDERS".into(), subjects: vec!["orders.>".into()], ..Default::default() };
            context.create_stream(config).await.unwrap();
        });
    }

    pub(crate) fn with_jetstream<T>(&self, work: impl AsyncFnOnce(jetstream::Context) -> T) -> T {
        self.runtime.block_on(async {
            let client = async_nats::connect(self.server.url()).await.unwrap();
            work(jetstream::new(client)).await
        })
    }

    /// The file with the published orders that decode.
    pub(crate) fn file(&self) -> PathBuf {
        self.dir().join("events.jsonl")
    }

    /// Makes the body of the next order.
    pub(crate) fn next(&mut self) -> String {
        let order = self.next_order;
        self.next_order += 1;
        let rng = &mut self.rng;
        let country = ["DE", "FR", "JP", "BR", "NZ"][rng.usize(..5)];
        let (customer, euros, cents) = (rng.u32(..100_000), rng.u32(..1000), rng.u32(..100));
        let (day, hour, minute, second) = (rng.u32(1..29), rng.u32(..24), rng.u32(..60), rng.u32(..60));
        format!(
            "{{\"order_id\":{order},\"customer\":{customer},\"country\":\"{country}\",\"total\":\"{euros}.{cents:02}\",\
             \"placed_at\":\"2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}\"}}"
        )
    }

    /// Publishes `count` good orders.
    pub(crate) fn publish(&mut self, count: usize) {
        let mut lines = String::new();
        let bodies: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                let body = self.next();
                writeln!(lines, "{body}").unwrap();
                body.into_bytes()
            })
            .collect();
        self.append(&lines);
        self.publish_bodies(bodies);
    }

    /// Publishes `count` orders to a subject, of which DuckDB knows nothing.
    pub(crate) fn publish_on(&mut self, subject: &str, count: usize) {
        let bodies: Vec<String> = (0..count).map(|_| self.next()).collect();
        self.next_order -= count as u64;
        self.with_jetstream(async |context| {
            for body in bodies {
                context.publish(subject.to_owned(), body.into()).await.unwrap().await.unwrap();
            }
        });
    }

    /// Adds lines to the file from which DuckDB computes.
    pub(crate) fn append(&self, lines: &str) {
        let mut file = std::fs::File::options().create(true).append(true).open(self.file()).unwrap();
        file.write_all(lines.as_bytes()).unwrap();
    }

    /// Publishes bodies as they are, in order.
    pub(crate) fn publish_bodies(&self, bodies: Vec<Vec<u8>>) {
        self.with_jetstream(async |context| publish_in_order(&context, bodies).await);
    }

    /// Makes a command that runs the program on this project, with commits every 200 ms and no HTTP server.
    pub(crate) fn alluvium(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
        command.env_clear().env("ALLUVIUM_COMMIT_INTERVAL", "200ms").env("ALLUVIUM_HTTP", "off");
        command.arg("-C").arg(self.dir()).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        self.alluvium(arguments).output().unwrap()
    }

    /// Runs the program, which must exit with 0, and returns its standard output.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn catch_up(&self) {
        self.succeed(&["run", "--until-caught-up"]);
    }

    /// Catches up over events some of which are bad, so that the exit code is 3. Returns the log.
    pub(crate) fn catch_up_with_letters(&self) -> String {
        let output = self.ask(&["run", "--until-caught-up"]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{log}");
        log
    }

    /// Catches up after a killed run, which may or may not have left some of the bad events.
    pub(crate) fn catch_up_perhaps_with_letters(&self) {
        let output = self.ask(&["run", "--until-caught-up"]);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 3)), "{code:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Catches up as [`Orders::catch_up`] does, and returns the log.
    pub(crate) fn catch_up_saying(&self) -> String {
        let output = self.ask(&["run", "--until-caught-up"]);
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        log
    }

    /// Starts `alluvium run`, which logs to `run.log` in the folder.
    pub(crate) fn start(&self) -> Running {
        Running(self.logging(&mut self.alluvium(&["run"])).spawn().unwrap())
    }

    pub(crate) fn logging<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let log = std::fs::File::options().create(true).append(true).open(self.dir().join("run.log")).unwrap();
        command.stdout(Stdio::null()).stderr(log)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir().join("run.log")).unwrap_or_default()
    }

    /// Returns the epoch of a view's last published commit.
    pub(crate) fn epoch(&self, view: &str) -> u64 {
        self.manifest(view).map_or(0, |manifest| manifest["epoch"].as_u64().unwrap())
    }

    /// Returns the offset of a view's last published commit.
    pub(crate) fn offset(&self, view: &str) -> u64 {
        self.manifest(view).map_or(0, |manifest| manifest["offsets"]["orders"].as_u64().unwrap())
    }

    /// Waits until a run has committed a view `commits` times more, or once more and up to `end`. Then waits for up to 60 ms, about
    /// three commits, so that whatever follows can fall anywhere within a commit.
    pub(crate) fn wait_for_commits(&mut self, running: &mut Running, view: &str, commits: u64, end: u64) {
        let before = self.epoch(view);
        wait_until("it commits", || {
            assert!(running.0.try_wait().unwrap().is_none(), "it ended by itself: {}", self.log());
            let risen = self.epoch(view) - before;
            risen >= commits || (risen > 0 && self.offset(view) >= end)
        });
        std::thread::sleep(Duration::from_millis(self.rng.u64(..60)));
        assert!(running.0.try_wait().unwrap().is_none(), "it ended by itself: {}", self.log());
    }

    fn manifest(&self, view: &str) -> Option<serde_json::Value> {
        let bytes = std::fs::read(self.view(view).join("manifest.json")).ok()?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    /// Asserts that every row and column of each view is what DuckDB computes from the published orders.
    pub(crate) fn assert_equal(&self, views: &[(&str, &str)]) {
        self.assert_equal_before(views, |_| i64::MAX as u64);
    }

    /// Asserts the same for the orders that each view has committed. All orders must be good, so that an order's number is its sequence.
    pub(crate) fn assert_equal_so_far(&self, views: &[(&str, &str)]) {
        self.assert_equal_before(views, |view| self.offset(view));
    }

    fn assert_equal_before(&self, views: &[(&str, &str)], end: impl Fn(&str) -> u64) {
        let mut sql =
            format!("CREATE TABLE published ({COLUMNS});\nCOPY published FROM '{}' (FORMAT json);\n", self.file().display());
        for (name, query) in views {
            let end = end(name);
            // The file has an order with a bad number without its number. Such an order is left out of the views that read the number.
            let number = if query.contains("order_id") { "order_id" } else { "coalesce(order_id, 0)" };
            writeln!(sql, "CREATE OR REPLACE VIEW orders AS SELECT * FROM published WHERE {number} < {end};").unwrap();
            writeln!(sql, "CREATE TABLE {name} AS {query};").unwrap();
        }
        let counts: Vec<String> = views
            .iter()
            .map(|(name, _)| {
                let actual = format!("SELECT COLUMNS(*)::VARCHAR FROM read_parquet('{}/current/*.parquet')", self.view(name).display());
                let expected = format!("SELECT COLUMNS(*)::VARCHAR FROM {name}");
                format!(
                    "SELECT '{name}' AS name, (SELECT count(*) FROM ({expected})) AS expected, (SELECT count(*) FROM ({actual})) AS actual, \
                     (SELECT count(*) FROM ({actual} EXCEPT ALL {expected})) AS wrong, \
                     (SELECT count(*) FROM ({expected} EXCEPT ALL {actual})) AS missing"
                )
            })
            .collect();
        sql.push_str(&counts.join("\nUNION ALL "));
        let answer = duckdb::rows(&sql).unwrap();
        assert_eq!(answer.len(), views.len());
        for row in answer {
            let count = |name: &str| row[name].as_u64().unwrap();
            assert!(count("expected") > 0, "{row}");
            assert_eq!((count("actual"), count("wrong"), count("missing")), (count("expected"), 0, 0), "{row}");
        }
    }
}

/// A running process, which is killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Sends SIGTERM, and waits for the exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        self.end_by(rustix::process::Signal::TERM)
    }

    pub(crate) fn end_by(&mut self, signal: rustix::process::Signal) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(90), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many events a [`Paced`] publisher sends at once.
const CHUNK: u64 = 100;

/// Publishes the first events of a stream at the pace at which a view commits them. A few are always left, so that there is something to
/// commit and to lose, however slow the machine is.
pub(crate) struct Paced {
    /// Whether to stop waiting for the view.
    hurry: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Paced {
    pub(crate) fn start(orders: &Orders, view: &str, bodies: Vec<Vec<u8>>) -> Paced {
        let hurry = Arc::new(AtomicBool::new(false));
        let (url, manifest) = (orders.server.url(), orders.view(view).join("manifest.json"));
        let hurried = Arc::clone(&hurry);
        let thread = std::thread::spawn(move || {
            let mut published = 0;
            for chunk in bodies.chunks(CHUNK as usize) {
                let left = || published + 1 - offset_in(&manifest).max(1);
                while left() > CHUNK && !hurried.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                publish_to(&url, chunk.to_vec());
                published += chunk.len() as u64;
            }
        });
        Paced { hurry, thread }
    }

    /// Publishes the remaining events.
    pub(crate) fn finish(self) {
        self.hurry.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

/// Returns the offset of a view from its manifest, or 0 if there is no manifest yet.
pub(crate) fn offset_in(manifest: &Path) -> u64 {
    let Ok(bytes) = std::fs::read(manifest) else { return 0 };
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    manifest["offsets"]["orders"].as_u64().unwrap()
}

/// Publishes to the server at `url`, from any thread.
pub(crate) fn publish_to(url: &str, bodies: Vec<Vec<u8>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let context = jetstream::new(async_nats::connect(url).await.unwrap());
        publish_in_order(&context, bodies).await;
    });
}

async fn publish_in_order(context: &jetstream::Context, bodies: Vec<Vec<u8>>) {
    let mut acks = std::collections::VecDeque::new();
    for body in bodies {
        acks.push_back(context.publish("orders.placed", body.into()).await.unwrap());
        if acks.len() >= WINDOW
            && let Some(ack) = acks.pop_front()
        {
            ack.await.unwrap();
        }
    }
    for ack in acks {
        ack.await.unwrap();
    }
}
