//! Memory per key of state, beyond that of an engine without events, and the memory of the same keys after three events each.

use std::time::Duration;

use miette::{IntoDiagnostic, Result};

use crate::engine::Project;
use crate::orders::{self, Orders};
use crate::report::{Report, Wanted};

const VIEW: &str = "by_customer";
const QUERY: &str =
    "SELECT customer_id, count(*) AS orders, sum(total) AS spent, max(total) AS largest FROM orders GROUP BY customer_id";

/// Measures the memory of keys.
///
/// # Errors
/// If the program fails.
pub(crate) fn measure(scale: f64, report: &mut Report) -> Result<()> {
    let keys = (1_000_000.0 * scale) as u64;
    let (empty, _) = resident(0, 1)?;
    let (once, peak) = resident(keys, keys)?;
    let (thrice, _) = resident(3 * keys, keys)?;
    let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    let each = |bytes: u64| bytes.saturating_sub(empty) as f64 / keys as f64;
    let what = format!(
        "memory: {keys} keys of count, sum and max, bytes per key beyond an engine without events; compared with that engine"
    );
    report.add(&what, megabytes(once), megabytes(empty), each(once), Wanted::AtMost(300.0));
    let what = "memory: the same keys after three events each; compared with one event each";
    report.add(what, megabytes(thrice), megabytes(once), thrice as f64 / once as f64, Wanted::AtMost(1.1));
    report.add(
        "memory: peak while reading one event per key, bytes per key",
        megabytes(peak),
        String::new(),
        each(peak),
        Wanted::Nothing,
    );
    Ok(())
}

/// Returns the final and the peak resident memory of an engine that has read `events` events, in which each of `keys` keys occurs.
fn resident(events: u64, keys: u64) -> Result<(u64, u64)> {
    println!("memory: {events} events");
    let folder = tempfile::tempdir().into_diagnostic()?;
    let mut orders = Orders::new(keys);
    let lines = (0..events).map(|event| orders.body_of(event % keys) + "\n");
    write(&folder.path().join("orders.jsonl"), lines).into_diagnostic()?;
    let project = Project::new(&orders::source("FILE", &folder.path().display().to_string()), &[(VIEW, QUERY)])?;
    let mut engine = project.start("1s")?;
    engine.wait_for(&[VIEW], events + 1)?;
    // Memory that is about to be freed must not count as memory of a key.
    std::thread::sleep(Duration::from_secs(3));
    let memory = engine.memory()?;
    engine.end()?;
    Ok(memory)
}

fn write(path: &std::path::Path, lines: impl Iterator<Item = String>) -> std::io::Result<()> {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for line in lines {
        file.write_all(line.as_bytes())?;
    }
    file.flush()
}
