//! CSV, Parquet and Arrow files through the program, beside DuckDB; files that are not what they are declared as; the folder that the program is
//! started in.

use std::path::Path;
use std::process::{Command, Output};

use crate::duckdb;

const COLUMNS: &str = "n BIGINT, word VARCHAR, amount DECIMAL(10, 2), x DOUBLE, day DATE, seen TIMESTAMP, tags VARCHAR[], s STRUCT(a INT, b VARCHAR)";
const VIEWS: &[(&str, &str)] = &[
    (
        "by_word",
        "SELECT word, count(*) AS n, sum(amount) AS amount, max(seen) AS seen, min(day) AS day FROM events GROUP BY word",
    ),
    ("rows", "SELECT n, word, amount, x, seen FROM events WHERE n % 100 = 0"),
];
/// Rows as DuckDB makes them; the last four columns are not in CSV.
const ROWS: &str = "SELECT i AS n, CASE WHEN i % 7 = 0 THEN NULL ELSE 'w,\"' || i % 5 || chr(10) END AS word,
    (i * 7 % 1000 / 100)::DECIMAL(10, 2) AS amount, CASE i % 50 WHEN 0 THEN 1e300 ELSE i / 3 END AS x,
    DATE '2024-01-01' + (i % 40)::INT AS day, TIMESTAMP '2024-01-01 10:00:00' + INTERVAL (i * 1001) MILLISECOND AS seen";

fn declare(dir: &Path, source: &str, views: &[(&str, &str)]) {
    let mut sql = format!(
        "CREATE EXTERNAL TABLE events ({}) {source};\n",
        COLUMNS.replace("STRUCT(a INT, b VARCHAR)", "STRUCT<a INT, b VARCHAR>")
    );
    for (name, query) in views {
        sql.push_str(&format!("CREATE MATERIALIZED VIEW {name} AS {query};\n"));
    }
    std::fs::write(dir.join("views.sql"), sql).unwrap();
}

/// Runs from the folder `from`.
fn run(from: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_alluvium"))
        .env_clear()
        .current_dir(from)
        .args(["run", "--until-caught-up", "--http", "off"])
        .args(arguments)
        .output()
        .unwrap()
}

fn log(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).split_whitespace().filter(|word| *word != "\u{2502}").collect::<Vec<_>>().join(" ")
}

fn catch_up(dir: &Path) {
    let output = run(dir, &[]);
    assert!(output.status.success(), "{}", log(&output));
}

/// Every view is what DuckDB computes from what it reads by `reading`.
fn assert_equal(dir: &Path, reading: &str, views: &[(&str, &str)]) {
    duckdb::assert_views_equal(dir, &format!("CREATE TABLE events AS FROM {reading};\n"), views);
}

fn copy(rows: &str, range: &str, path: &Path, options: &str) {
    duckdb::rows(&format!("COPY ({rows} FROM range({range}) r(i)) TO '{}' ({options})", path.display())).unwrap();
}

#[test]
fn csv_is_read_as_duckdb_reads_it() {
    for (options, name, duckdb) in [
        ("", "a.csv", "FORMAT csv, HEADER"),
        (
            "OPTIONS (delimiter ';', quote '''', null_text 'NA')",
            "a.csv",
            "FORMAT csv, HEADER, DELIMITER ';', QUOTE '''', ESCAPE '''', NULLSTR 'NA'",
        ),
        ("OPTIONS (delimiter 'tab')", "a.csv.gz", "FORMAT csv, HEADER, DELIMITER '\t', COMPRESSION gzip"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        declare(dir, &format!("STORED AS CSV LOCATION '*.csv*' {options}"), VIEWS);
        copy(ROWS, "10000", &dir.join(name), duckdb);
        catch_up(dir);
        copy(ROWS, "10000, 12000", &dir.join(format!("b{name}")), duckdb);
        catch_up(dir);
        assert_equal(dir, &format!("({ROWS} FROM range(12000) r(i))"), VIEWS);
    }
}

#[test]
fn parquet_is_read_as_it_lies_there() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let nested = ("nested", "SELECT n, tags, s.b AS b, tags[2] AS tag FROM events WHERE n % 10 = 1");
    let views = [VIEWS, &[nested]].concat();
    let rows =
        format!("{ROWS}, CASE WHEN i % 3 = 0 THEN NULL ELSE ['a', NULL, 'b' || i] END AS tags, {{'a': i, 'b': i || '\"'}} AS s");
    declare(dir, "STORED AS PARQUET LOCATION 'in/*.parquet'", &views);
    std::fs::create_dir(dir.join("in")).unwrap();
    copy(&rows, "20000", &dir.join("in/a.parquet"), "FORMAT parquet, ROW_GROUP_SIZE 3000");
    catch_up(dir);
    copy(&rows, "20000, 25000", &dir.join("in/b.parquet"), "FORMAT parquet, COMPRESSION zstd");
    catch_up(dir);
    assert_equal(dir, &format!("({rows} FROM range(25000) r(i))"), &views);
}

#[test]
fn a_file_that_is_another_is_refused_before_anything_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    declare(dir, "STORED AS FILE LOCATION 'in/*'", VIEWS);
    std::fs::create_dir(dir.join("in")).unwrap();
    std::fs::write(dir.join("in/a.ndjson"), "{\"n\":1}\n").unwrap();
    std::fs::write(dir.join("in/b.csv"), "n,word\n1,x\n2,y\n").unwrap();
    let output = run(dir, &[]);
    let log = log(&output);
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("b.csv holds no JSON: its first line is \"n,word\"") && log.contains("STORED AS"), "{log}");
    assert!(!dir.join("data/views/rows/manifest.json").exists());
}

#[test]
fn a_project_is_the_same_wherever_the_program_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("project");
    std::fs::create_dir_all(dir.join("in")).unwrap();
    declare(&dir, "STORED AS FILE LOCATION 'in/*.ndjson'", &[("v", "SELECT n FROM events")]);
    let path = dir.display().to_string();
    for (n, (from, arguments)) in
        [(folder.path(), &["-C", "project"][..]), (dir.as_path(), &[]), (Path::new("/"), &["-C", &path])].into_iter().enumerate()
    {
        std::fs::write(dir.join(format!("in/{n}.ndjson")), format!("{{\"n\":{n}}}\n")).unwrap();
        let output = run(from, arguments);
        assert!(output.status.success(), "{}", log(&output));
        let sql = format!("SELECT count(*) AS n, max(n) AS most FROM read_parquet('{path}/data/views/v/current/*.parquet')");
        let row = &duckdb::rows(&sql).unwrap()[0];
        assert_eq!((row["n"].as_u64(), row["most"].as_u64()), (Some(n as u64 + 1), Some(n as u64)));
    }
}

#[test]
fn a_pattern_that_matches_nothing_says_so_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    declare(dir, "STORED AS FILE LOCATION '*.ndjson'", &[("v", "SELECT n FROM events")]);
    let output = run(dir, &[]);
    let log = log(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("no file matches") && log.contains("*.ndjson"), "{log}");
}
