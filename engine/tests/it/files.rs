//! Views over files of JSON lines: a folder, a pattern and standard input.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::duckdb;

const COLUMNS: &str = "n BIGINT, word VARCHAR, amount DECIMAL(10, 2)";

/// Two views read the source. The third reads the first one.
const VIEWS: &[(&str, &str)] = &[
    ("by_word", "SELECT word, count(*) AS n, sum(amount) AS amount FROM events GROUP BY word"),
    ("by_number", "SELECT n % 20000 AS key, count(*) AS n, max(n) AS newest FROM events GROUP BY n % 20000"),
    ("frequent", "SELECT word FROM by_word WHERE n > 10"),
];

fn lines(numbers: std::ops::Range<u64>) -> String {
    numbers.fold(String::new(), |mut text, n| {
        let word = ["silt", "sand", "clay", "gravel", "loess"][(n * n % 5) as usize];
        writeln!(text, "{{\"n\":{n},\"word\":\"{word}\",\"amount\":\"{}.{:02}\",\"unread\":[{n}]}}", n % 977, n % 89).unwrap();
        text
    })
}

fn declare(dir: &Path, location: &str) {
    let mut sql = format!("CREATE EXTERNAL TABLE events ({COLUMNS}) STORED AS FILE LOCATION '{location}';\n");
    for (name, query) in VIEWS {
        writeln!(sql, "CREATE MATERIALIZED VIEW {name} AS {query};").unwrap();
    }
    std::fs::write(dir.join("views.sql"), sql).unwrap();
}

/// Runs `alluvium run --until-caught-up` with `input` as its standard input.
fn run(dir: &Path, input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_alluvium"))
        .env_clear()
        .args(["run", "--until-caught-up", "--http", "off", "-C"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run that ends early closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn catch_up(dir: &Path, input: &str) {
    let output = run(dir, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(dir: &Path, input: &str) -> String {
    let output = run(dir, input);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    // Undo the line breaks in the message.
    error.split_whitespace().filter(|word| *word != "\u{2502}").collect::<Vec<_>>().join(" ")
}

/// Asserts that every view is what DuckDB computes from these files.
fn assert_equal(dir: &Path, files: &str) {
    let sql = format!("CREATE TABLE events ({COLUMNS});\nCOPY events FROM '{files}' (FORMAT json);\n");
    duckdb::assert_views_equal(dir, &sql, VIEWS);
}

#[test]
fn a_folder_is_read_in_the_order_of_names_and_grows() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    declare(dir, "events");
    let error = refused(dir, "");
    assert!(error.contains("no file or folder") && error.contains("events"), "{error}");
    std::fs::create_dir(dir.join("events")).unwrap();
    std::fs::write(dir.join("events/2026-01.jsonl"), lines(0..5_000)).unwrap();
    std::fs::write(dir.join("events/2026-02.jsonl"), lines(5_000..5_001)).unwrap();
    catch_up(dir, "");
    let all = dir.join("events/*.jsonl").display().to_string();
    assert_equal(dir, &all);
    std::fs::write(dir.join("events/2026-02.jsonl"), lines(5_000..9_000)).unwrap();
    std::fs::write(dir.join("events/2026-03.jsonl"), lines(9_000..9_100)).unwrap();
    catch_up(dir, "");
    assert_equal(dir, &all);
    // A file that sorts before those that were read would change the number of every line.
    std::fs::write(dir.join("events/2025-12.jsonl"), lines(0..7)).unwrap();
    let error = refused(dir, "");
    assert!(error.contains("2026-03.jsonl") && error.contains("alluvium rebuild"), "{error}");
}

#[test]
fn a_pattern_selects_files() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    declare(dir, "days/**/*.jsonl");
    for day in 0..4_u64 {
        let path = dir.join(format!("days/2026/{day:02}"));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("events.jsonl"), lines(day * 1000..(day + 1) * 1000)).unwrap();
        std::fs::write(path.join("notes.txt"), "no events").unwrap();
    }
    catch_up(dir, "");
    assert_equal(dir, &dir.join("days/**/*.jsonl").display().to_string());
}

#[test]
fn standard_input_is_read_once_for_all_views() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    declare(dir, "-");
    // More lines than a live reader keeps for subscribers that come late.
    let all = lines(0..500_000);
    let file = dir.join("all.jsonl");
    std::fs::write(&file, &all).unwrap();
    catch_up(dir, &all);
    assert_equal(dir, file.to_str().unwrap());
    // The next run skips the same lines.
    let more = all + &lines(500_000..520_000);
    std::fs::write(&file, &more).unwrap();
    catch_up(dir, &more);
    assert_equal(dir, file.to_str().unwrap());
    let error = refused(dir, &lines(1..3));
    assert!(error.contains("standard input ended 519998 lines before"), "{error}");
    assert_equal(dir, file.to_str().unwrap());

    // A new view reads from the first line, and the other views with it.
    std::fs::write(dir.join("late.sql"), "CREATE MATERIALIZED VIEW late AS SELECT count(*) AS n FROM events;").unwrap();
    catch_up(dir, &more);
    assert_equal(dir, file.to_str().unwrap());
    let late = format!("SELECT n FROM read_parquet('{}/data/views/late/current/*.parquet')", dir.display());
    assert_eq!(duckdb::rows(&late).unwrap()[0]["n"], 520_000);
}

#[test]
fn a_bad_member_concerns_the_views_that_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let text = [
        r#"{"a":1,"b":1}"#,
        r#"{"a":"x","b":1}"#,
        r#"{"a":2,"b":"y"}"#,
        r#"{"a":"z","b":"w"}"#,
        "not JSON",
        r#"{"a":3,"b":3}"#,
        r#"{"a":4}"#,
    ];
    std::fs::write(dir.join("events.jsonl"), text.join("\n") + "\n").unwrap();
    let declared = "CREATE EXTERNAL TABLE events (a BIGINT, b BIGINT NOT NULL) STORED AS FILE LOCATION 'events.jsonl';\n";
    let letters = || {
        let sql = format!(
            "SELECT sequence || ' ' || coalesce(view, '-') || ' ' || split_part(error, ',', 1) AS letter \
             FROM read_parquet('{}/data/dead_letters/*.parquet') ORDER BY letter",
            dir.display()
        );
        let rows = duckdb::rows(&sql).unwrap();
        rows.iter().map(|row| row["letter"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let rows = |view: &str| {
        let sql = format!("SELECT * FROM read_parquet('{}/data/views/{view}/current/*.parquet') ORDER BY ALL", dir.display());
        let rows = duckdb::rows(&sql).unwrap();
        rows.iter().map(|row| row.as_object().unwrap().values().next().unwrap().as_i64().unwrap()).collect::<Vec<_>>()
    };
    let declare = |views: &[&str]| std::fs::write(dir.join("views.sql"), declared.to_owned() + &views.concat()).unwrap();
    let of_a = "CREATE MATERIALIZED VIEW of_a AS SELECT a FROM events;\n";
    let all = "CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM events;\n";
    declare(&[of_a, all]);
    assert_eq!(run(dir, "").status.code(), Some(3));
    let mut expected =
        vec!["2 of_a column a: expected BIGINT", "4 of_a column a: expected BIGINT", "5 - not JSON: expected ident"];
    assert_eq!(letters(), expected);
    assert_eq!((rows("of_a"), rows("counted")), (vec![1, 2, 3, 4], vec![6]));

    let of_b = "CREATE MATERIALIZED VIEW of_b AS SELECT b FROM events WHERE b IS NOT NULL;\n";
    declare(&[of_a, all, of_b]);
    expected.extend(["3 of_b column b: expected BIGINT", "4 of_b column b: expected BIGINT", "7 of_b column b: NOT NULL"]);
    expected.sort_unstable();
    for code in [3, 0] {
        assert_eq!(run(dir, "").status.code(), Some(code));
        assert_eq!(letters(), expected);
        assert_eq!((rows("of_a"), rows("counted"), rows("of_b")), (vec![1, 2, 3, 4], vec![6], vec![1, 1, 3]));
    }
    // A rebuilt view finds no new bad events.
    declare(&[all, &of_b.replace("SELECT b", "SELECT b + 1 AS b")]);
    assert_eq!(run(dir, "").status.code(), Some(3));
    assert_eq!(letters(), expected);
    assert_eq!((rows("counted"), rows("of_b")), (vec![6], vec![2, 2, 4]));

    // Without the store, the records and the letters tell which letters were kept.
    std::fs::remove_dir_all(dir.join("data/checkpoints")).unwrap();
    declare(&[of_a, all, &of_b.replace("SELECT b", "SELECT b + 2 AS b")]);
    assert_eq!(run(dir, "").status.code(), Some(3));
    assert_eq!(letters(), expected);
    assert_eq!((rows("of_a"), rows("of_b")), (vec![1, 2, 3, 4], vec![3, 3, 5]));
}
