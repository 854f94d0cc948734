//! A commit after 100 changed keys, with 1,000,000 keys of state and with 10,000: its cost should depend on the change alone.

use fastrand::Rng;
use miette::Result;

use crate::engine::{Engine, Metrics, Project};
use crate::orders::{self, Orders};
use crate::report::{Report, Wanted, median};
use crate::server::{Server, Version};
use crate::stream::Client;

/// The number of commits measured per engine. The engines take turns.
const ROUNDS: usize = 100;
/// The number of keys that change before each commit.
const CHANGED: usize = 100;

const VIEW: &str = "by_customer";
const QUERY: &str =
    "SELECT customer_id, count(*) AS orders, sum(total) AS spent, max(total) AS largest FROM orders GROUP BY customer_id";

/// One engine and its stream.
struct Side {
    stream: &'static str,
    keys: u64,
    engine: Engine,
    orders: Orders,
    random: Rng,
    offset: u64,
    last: Metrics,
    seconds: Vec<f64>,
    state_bytes: Vec<f64>,
    view_bytes: Vec<f64>,
}

/// Measures the commits of two engines.
///
/// # Errors
/// If a program fails.
pub(crate) fn measure(scale: f64, report: &mut Report) -> Result<()> {
    let server = Server::start(Version::Newest);
    let client = Client::connect(&server.url())?;
    let mut projects = Vec::new();
    let mut sides = Vec::new();
    for (stream, keys) in [("SMALL", (10_000.0 * scale) as u64), ("LARGE", (1_000_000.0 * scale) as u64)] {
        println!("commit: {keys} keys");
        client.make(stream)?;
        let mut orders = Orders::new(keys);
        client.publish(stream, (0..keys).map(|customer| orders.body_of(customer)))?;
        let project = Project::new(&orders::source("NATS", &format!("{}/{stream}", server.url())), &[(VIEW, QUERY)])?;
        let mut engine = project.start("50ms")?;
        let last = engine.wait_for(&[VIEW], keys + 1)?;
        projects.push(project);
        let random = Rng::with_seed(keys);
        let offset = keys + 1;
        let (seconds, state_bytes, view_bytes) = Default::default();
        sides.push(Side { stream, keys, engine, orders, random, offset, last, seconds, state_bytes, view_bytes });
    }
    for _ in 0..ROUNDS {
        sides.iter_mut().try_for_each(|side| side.round(&client))?;
    }
    let [small, large] = &sides[..] else { return Err(miette::miette!("there are not exactly two sides")) };
    let milliseconds = |side: &Side| median(side.seconds.clone()) * 1e3;
    let what =
        format!("commit: {CHANGED} changed keys, milliseconds with {} keys; compared with {} keys", large.keys, small.keys);
    let (ours, beside) = (milliseconds(large), milliseconds(small));
    report.add(&what, format!("{ours:.1}"), format!("{beside:.1}"), ours / beside, Wanted::AtMost(2.0));
    let most = |figures: &[f64]| figures.iter().copied().fold(0.0, f64::max) / 1e6;
    let what =
        format!("commit: most state written in one commit, MB, with {} keys; compared with {} keys", large.keys, small.keys);
    let (ours, beside) = (most(&large.state_bytes), most(&small.state_bytes));
    report.add(&what, format!("{ours:.3}"), format!("{beside:.3}"), ours, Wanted::AtMost(1.0));
    let what =
        format!("commit: Parquet written in one commit, median MB, with {} keys; compared with {} keys", large.keys, small.keys);
    let (ours, beside) = (median(large.view_bytes.clone()) / 1e6, median(small.view_bytes.clone()) / 1e6);
    report.add(&what, format!("{ours:.3}"), format!("{beside:.3}"), ours / beside, Wanted::Nothing);
    for side in sides {
        side.engine.end()?;
    }
    Ok(())
}

impl Side {
    /// Changes some keys, waits for the commit, and records what it cost.
    fn round(&mut self, client: &Client) -> Result<()> {
        let customers: Vec<u64> = (0..CHANGED).map(|_| self.random.u64(..self.keys)).collect();
        let orders = &mut self.orders;
        client.publish(self.stream, customers.into_iter().map(|customer| orders.body_of(customer)))?;
        self.offset += CHANGED as u64;
        let now = self.engine.wait_for(&[VIEW], self.offset)?;
        let (count_before, sum_before) = self.last.histogram("alluvium_commit_duration_seconds", VIEW);
        let (count, sum) = now.histogram("alluvium_commit_duration_seconds", VIEW);
        let written = |metric: &str| now.of(metric, "view", VIEW) - self.last.of(metric, "view", VIEW);
        // If the events were spread over two commits, neither is measured.
        if count - count_before == 1.0 {
            self.seconds.push(sum - sum_before);
            self.state_bytes.push(written("alluvium_state_written_bytes_total"));
            self.view_bytes.push(written("alluvium_view_written_bytes_total"));
        }
        self.last = now;
        Ok(())
    }
}
