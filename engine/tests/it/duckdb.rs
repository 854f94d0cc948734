//! DuckDB's command line, which reads what the program wrote as a user would.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs statements; the rows of the last one, or what DuckDB said was wrong.
pub(crate) fn rows(sql: &str) -> Result<Vec<serde_json::Value>, String> {
    let mut child = Command::new(program())
        .args(["-json", "-bail"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("starting {}: {error}", program().display()));
    child.stdin.take().unwrap().write_all(format!("{sql};\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if !output.status.success() || !error.is_empty() {
        return Err(error);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))
}

/// `ALLUVIUM_DUCKDB`, else `.tools/bin/duckdb` under the workspace's root.
fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::env::var_os("ALLUVIUM_DUCKDB").map_or_else(|| root.join(".tools/bin/duckdb"), PathBuf::from)
}
