//! DuckDB's command line, which reads the program's files as a user would.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Runs statements. Returns the rows of the last one, or DuckDB's error.
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

/// Asserts that each view has rows, and that they are those of its query over the tables that `sql` creates.
pub(crate) fn assert_views_equal(dir: &Path, sql: &str, views: &[(&str, &str)]) {
    let mut sql = sql.to_owned();
    for (name, query) in views {
        sql.push_str(&format!("CREATE TABLE {name} AS {query};\n"));
    }
    let each = views.iter().map(|(name, _)| {
        let found = format!("(FROM read_parquet('{}/data/views/{name}/current/*.parquet'))", dir.display());
        format!(
            "SELECT '{name}' AS name, (SELECT count(*) FROM {name}) AS rows,
             (SELECT count(*) FROM (FROM {name} EXCEPT ALL {found})) + (SELECT count(*) FROM ({found} EXCEPT ALL FROM {name})) AS different"
        )
    });
    sql.push_str(&each.collect::<Vec<_>>().join("\nUNION ALL "));
    for row in rows(&sql).unwrap() {
        assert!(row["rows"].as_u64().unwrap() > 0 && row["different"] == 0, "{row}");
    }
}

/// A DuckDB process that answers many queries, as for a dashboard.
pub(crate) struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// Starts DuckDB with standard error on standard output, so that an error comes before the end of its own answer.
    pub(crate) fn start() -> Session {
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" -json 2>&1"])
            .arg(program())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("starting {}: {error}", program().display()));
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Session { child, input, output }
    }

    /// Returns the rows of a statement, or DuckDB's error.
    pub(crate) fn rows(&mut self, sql: &str) -> Result<Vec<serde_json::Value>, String> {
        writeln!(self.input, "{sql};\n.print end-of-answer").unwrap();
        let mut text = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "DuckDB has ended: {text}");
            if line.trim_end() == "end-of-answer" {
                break;
            }
            text.push_str(&line);
        }
        serde_json::from_str(&text).map_err(|_| text)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The DuckDB binary: `ALLUVIUM_DUCKDB`, or else `.tools/bin/duckdb` under the workspace's root.
pub(crate) fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::env::var_os("ALLUVIUM_DUCKDB").map_or_else(|| root.join(".tools/bin/duckdb"), PathBuf::from)
}
