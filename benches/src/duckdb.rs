//! DuckDB: what a user would run over the same files, and the judge of our answers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::orders::COLUMNS;

/// Runs a statement in a process of its own, with as many threads as there are cores. Returns what it printed as CSV, and how long the
/// process took.
///
/// # Errors
/// If DuckDB is missing or refuses the statement.
pub(crate) fn run(sql: &str) -> Result<(String, Duration)> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let began = Instant::now();
    let output = Command::new(program())
        .args(["-csv", "-c", &format!("SET threads = {threads}; {sql}")])
        .stdin(Stdio::null())
        .output()
        .into_diagnostic()
        .wrap_err("starting DuckDB (make tools installs it)")?;
    let took = began.elapsed();
    if output.status.success() {
        Ok((String::from_utf8_lossy(&output.stdout).into_owned(), took))
    } else {
        Err(miette!("DuckDB: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Returns SQL for a table of the events of a folder, with the same column types as in the views.
pub(crate) fn events(folder: &Path) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, sql_type)| format!("{name}: '{sql_type}'")).collect();
    format!("read_json('{}/*.jsonl', format = 'newline_delimited', columns = {{{}}})", folder.display(), columns.join(", "))
}

/// Compares a view with its query over the events.
///
/// # Errors
/// If a row differs.
pub(crate) fn same(view: &str, query: &str, events: &str) -> Result<()> {
    let query = query.replace("FROM orders", &format!("FROM {events}"));
    let ours = format!("SELECT * FROM {view}");
    let (answer, _) =
        run(&format!("SELECT count(*) FROM (({ours} EXCEPT ALL ({query})) UNION ALL (({query}) EXCEPT ALL {ours}))"))?;
    match answer.lines().nth(1) {
        Some("0") => Ok(()),
        other => Err(miette!("the view differs from DuckDB's answer in {} rows: {query}", other.unwrap_or("?"))),
    }
}

fn program() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".tools").join("bin/duckdb");
    if tools.exists() { tools } else { PathBuf::from("duckdb") }
}
