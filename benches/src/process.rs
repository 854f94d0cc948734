//! Runs a process to its end, with a time limit: what it printed, how long it took, and its peak memory.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result};

/// How a process ended.
pub(crate) enum Ended {
    /// With success.
    Well {
        /// What it printed to standard output.
        said: String,
        took: Duration,
        /// Peak resident memory in bytes, without its children.
        memory: u64,
    },
    /// With a failure, and what it printed to standard error.
    Badly(String),
    /// Killed, since it did not end within the limit.
    Late,
}

/// Runs a command.
///
/// # Errors
/// If it cannot be started.
pub(crate) fn run(mut command: Command, limit: Duration) -> Result<Ended> {
    let (mut out, mut err) = (tempfile::tempfile().into_diagnostic()?, tempfile::tempfile().into_diagnostic()?);
    command.stdout(Stdio::from(out.try_clone().into_diagnostic()?)).stderr(Stdio::from(err.try_clone().into_diagnostic()?));
    let began = Instant::now();
    let mut child = command.spawn().into_diagnostic()?;
    let mut memory = 0;
    let status = loop {
        memory = memory.max(highest_memory(&child));
        if let Some(status) = child.try_wait().into_diagnostic()? {
            break status;
        }
        if began.elapsed() > limit {
            child.kill().into_diagnostic()?;
            child.wait().into_diagnostic()?;
            return Ok(Ended::Late);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let took = began.elapsed();
    let (file, ended): (_, fn(String, Duration, u64) -> Ended) = if status.success() {
        (&mut out, |said, took, memory| Ended::Well { said, took, memory })
    } else {
        (&mut err, |said, _, _| Ended::Badly(said))
    };
    // The process wrote through a clone, which shares its file offset with this handle.
    let mut said = String::new();
    std::io::Seek::rewind(file).into_diagnostic()?;
    file.read_to_string(&mut said).into_diagnostic()?;
    Ok(ended(said, took, memory))
}

/// Returns the peak resident memory of a process in bytes, 0 if it has ended.
fn highest_memory(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}
