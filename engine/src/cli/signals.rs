//! Ctrl-C and SIGTERM: the first signal asks the runtime to commit and end, a second Ctrl-C ends the process at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// The exit code that shells use for the end by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Returns a token that the first signal cancels. A run goes on without its terminal where `nohup` says so.
pub(super) fn of_a_run() -> Result<CancellationToken, Error> {
    let shutdown = CancellationToken::new();
    install(shutdown.clone())?;
    Ok(shutdown)
}

/// Does the same for a command that is of no use without its terminal: its end is a signal as well.
pub(super) fn of_a_terminal() -> Result<CancellationToken, Error> {
    let shutdown = of_a_run()?;
    let mut gone = signal(SignalKind::hangup()).map_err(unavailable)?;
    let hung_up = shutdown.clone();
    tokio::spawn(async move {
        gone.recv().await;
        hung_up.cancel();
    });
    Ok(shutdown)
}

fn unavailable(error: std::io::Error) -> Error {
    Error::unavailable(format!("catching signals: {error}"), "see the limits of this user (ulimit -a)")
}

/// Installs the signal handlers, which cancel `shutdown` at the first signal. They are active when this returns.
fn install(shutdown: CancellationToken) -> Result<(), Error> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unavailable)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unavailable)?;
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "Ctrl-C",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal = name, "committing, then exiting; press Ctrl-C again to exit at once");
        shutdown.cancel();
        interrupt.recv().await;
        std::process::exit(INTERRUPTED);
    });
    Ok(())
}
