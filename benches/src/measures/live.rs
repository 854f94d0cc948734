//! Events from JetStream through three aggregate views, compared with a client that only drains the same stream.

use miette::Result;

use crate::duckdb;
use crate::engine::Project;
use crate::orders::{self, Orders, VIEWS};
use crate::report::{Report, Wanted, median};
use crate::server::{Server, Version};
use crate::stream::Client;

/// The number of runs per program. The programs take turns.
const ROUNDS: usize = 5;

/// Measures events per second and checks the views.
///
/// # Errors
/// If a program fails, or a view is wrong.
pub(crate) fn measure(scale: f64, report: &mut Report) -> Result<()> {
    let events = (1_000_000.0 * scale) as u64;
    let server = Server::start(Version::Newest);
    let client = Client::connect(&server.url())?;
    println!("live: publishing {events} events");
    client.make("ORDERS")?;
    let mut made = Orders::new(100_000);
    client.publish("ORDERS", (0..events).map(|_| made.body()))?;

    let project = Project::new(&orders::source("NATS", &format!("{}/ORDERS", server.url())), VIEWS)?;
    let (mut drained, mut ran) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        drained.push(events as f64 / client.drain("ORDERS", events)?.as_secs_f64());
        project.forget()?;
        ran.push(events as f64 / project.run_until_caught_up()?.as_secs_f64());
        println!("live: round {round}: drained {:.0}/s, three views {:.0}/s", drained[round], ran[round]);
    }
    check(&project, events)?;
    let (drained, ran) = (median(drained), median(ran));
    let what = format!(
        "live: {events} events from JetStream, three views, events per second; compared with a client that only drains the stream"
    );
    report.add(&what, format!("{ran:.0}"), format!("{drained:.0}"), ran / drained, Wanted::AtLeast(0.75));
    Ok(())
}

/// Checks that the views equal what DuckDB computes from the same events.
fn check(project: &Project, events: u64) -> Result<()> {
    let folder = tempfile::tempdir().map_err(|error| miette::miette!("{error}"))?;
    Orders::new(100_000).write(folder.path(), events, 1)?;
    VIEWS.iter().try_for_each(|(view, query)| duckdb::same(&project.current(view), query, &duckdb::events(folder.path())))
}
