//! Flink, as the rival for Nexmark: a Python environment in `.tools/flink`, and for each query one process with its own JVM.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use serde_json::Value;

use crate::engine::Cost;
use crate::process::{self, Ended};

/// Installs Flink if it is missing.
///
/// # Errors
/// If it cannot be installed.
pub(crate) fn install() -> Result<()> {
    let script = root().join(".ci/flink");
    let status = Command::new(&script).status().into_diagnostic().wrap_err("installing Flink")?;
    if status.success() { Ok(()) } else { Err(miette!("{} ended with {status}", script.display())) }
}

/// Runs a query of `benches/nexmark/flink` over the events of a folder. Returns its cost, or why there is none.
///
/// # Errors
/// If the process cannot be started.
pub(crate) fn run(folder: &Path, query: &str, limit: Duration) -> Result<Result<Cost, String>> {
    let cost = |said: &Value| Some(Cost { seconds: said["seconds"].as_f64()?, memory: said["memory"].as_u64()? });
    ask(folder, query, &[], limit, cost)
}

/// Returns the number of rows in the answer of a query, or why there is none.
///
/// # Errors
/// If the process cannot be started.
pub(crate) fn rows(folder: &Path, query: &str, limit: Duration) -> Result<Result<u64, String>> {
    ask(folder, query, &["--count"], limit, |said| said["rows"].as_u64())
}

fn ask<T>(
    folder: &Path,
    query: &str,
    arguments: &[&str],
    limit: Duration,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Result<T, String>> {
    let mut command = Command::new(root().join(".tools/flink/bin/python"));
    command.arg(root().join("benches/nexmark/run_flink.py")).arg(folder).arg(query).args(arguments).stdin(Stdio::null());
    match process::run(command, limit)? {
        Ended::Well { said, .. } => {
            let line = said.lines().last().unwrap_or_default();
            let answer: Value = serde_json::from_str(line).into_diagnostic().wrap_err_with(|| format!("Flink said {said}"))?;
            read(&answer).map(Ok).ok_or_else(|| miette!("Flink said {said}"))
        }
        Ended::Badly(said) => {
            println!("nexmark: {query}: Flink: {said}");
            Ok(Err(cause(&said)))
        }
        Ended::Late => Ok(Err(format!("not within {} s", limit.as_secs()))),
    }
}

/// Describes the innermost Flink exception in a stack trace, or just the failure if there is none.
fn cause(said: &str) -> String {
    let last = said.lines().rev().find_map(|line| {
        let (class, words) = line.rsplit_once("Exception: ")?;
        class.contains("org.apache.flink").then(|| words.trim().chars().filter(|letter| *letter != '|').take(120).collect())
    });
    last.map_or_else(|| "failed".to_owned(), |words: String| format!("refused: {words}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
