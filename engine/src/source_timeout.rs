//! Ends a command that reads a source which has gone away. A reader itself tries again for ever.
//!
//! A run has its own rule for this, in `runtime::drive`.

use std::future::Future;
use std::time::{Duration, Instant};

use alluvium_connectors::source::Source;

use crate::error::Error;

/// How often to look whether the source answers.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Does work on a source, and ends it once the source has not answered for `limit`.
///
/// # Errors
/// Those of the work, and an error of the kind [`Unavailable`](crate::error::Kind::Unavailable) if the source has not answered.
pub(crate) async fn unless_lost<T>(
    source: &dyn Source,
    limit: Duration,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let began = Instant::now();
    let mut work = Box::pin(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
        }
        let contact = source.contact();
        let since = contact.answered.map_or(began, |answered| answered.max(began));
        if contact.is_lost() && since.elapsed() >= limit {
            let name = &source.config().name;
            let (limit, reason) = (humantime::format_duration(limit), contact.reason.unwrap_or_default());
            return Err(Error::unavailable(
                format!("source {name}: gave up after {limit}: {reason}"),
                "check that the server runs and answers; `source_timeout` limits how long a command waits",
            ));
        }
    }
}
