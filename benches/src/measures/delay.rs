//! The time from the server's acknowledgement of an event until the published view contains it, with an idle engine.

use std::time::{Duration, Instant};

use fastrand::Rng;
use miette::{IntoDiagnostic, Result, miette};

use crate::engine::Project;
use crate::orders::{self, Orders};
use crate::report::{Report, Wanted};
use crate::server::{Server, Version};
use crate::stream::Client;

/// The number of events, which are published one at a time.
const SAMPLES: usize = 100;

const VIEW: &str = "by_country";
const QUERY: &str = "SELECT country, count(*) AS orders, sum(total) AS revenue FROM orders GROUP BY country";

/// Measures the delay with two commit intervals.
///
/// # Errors
/// If the program fails.
pub(crate) fn measure(scale: f64, report: &mut Report) -> Result<()> {
    let samples = ((SAMPLES as f64 * scale) as usize).max(10);
    for (words, interval_ms) in [("1s", 1000.0), ("50ms", 50.0)] {
        println!("delay: commits each {words}");
        let mut delays = delays(words, interval_ms, samples)?;
        delays.sort_by(f64::total_cmp);
        let highest = delays[(samples * 99).div_ceil(100) - 1];
        let what = format!(
            "delay: from published to visible, 99th percentile of {samples} events, ms, commits every {words}; compared with the median"
        );
        let wanted = Wanted::AtMost(interval_ms + 50.0);
        report.add(&what, format!("{highest:.1}"), format!("{:.1}", delays[samples / 2]), highest, wanted);
    }
    Ok(())
}

fn delays(interval: &str, interval_ms: f64, samples: usize) -> Result<Vec<f64>> {
    let server = Server::start(Version::Newest);
    let client = Client::connect(&server.url())?;
    client.make("ORDERS")?;
    let mut orders = Orders::new(1000);
    client.publish("ORDERS", std::iter::once(orders.body()))?;
    let project = Project::new(&orders::source("NATS", &format!("{}/ORDERS", server.url())), &[(VIEW, QUERY)])?;
    let mut engine = project.start(interval)?;
    engine.wait_for(&[VIEW], 2)?;
    let mut random = Rng::with_seed(7);
    let delays = (0..samples as u64).map(|sample| {
        // Publishes at a random moment between two commits.
        std::thread::sleep(Duration::from_secs_f64(random.f64() * 1.5 * interval_ms / 1e3));
        client.publish("ORDERS", std::iter::once(orders.body()))?;
        let published = Instant::now();
        while committed(&project)? < sample + 3 {
            if published.elapsed() > Duration::from_secs(30) {
                return Err(miette!("event {} does not appear in the view", sample + 2));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        Ok(published.elapsed().as_secs_f64() * 1e3)
    });
    let delays = delays.collect::<Result<Vec<f64>>>()?;
    engine.end()?;
    Ok(delays)
}

/// Returns the offset that the published view has reached.
fn committed(project: &Project) -> Result<u64> {
    let text = std::fs::read_to_string(project.view(VIEW).join("manifest.json")).into_diagnostic()?;
    let manifest: serde_json::Value = serde_json::from_str(&text).into_diagnostic()?;
    manifest["offsets"]["orders"].as_u64().ok_or_else(|| miette!("the manifest has no offset: {text}"))
}
