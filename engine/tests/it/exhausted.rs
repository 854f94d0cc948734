//! File descriptors and address space that run out.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::duckdb;
use crate::orders::{Running, wait_until};

const SQL: &str = "CREATE EXTERNAL TABLE events (id BIGINT) STORED AS FILE LOCATION 'events.jsonl';
CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(id) AS s FROM events;
CREATE MATERIALIZED VIEW by_digit AS SELECT id % 10 AS digit, count(*) AS n FROM events GROUP BY id % 10;";

fn events(ids: std::ops::Range<u64>) -> String {
    ids.fold(String::new(), |mut text, id| {
        writeln!(text, "{{\"id\":{id}}}").unwrap();
        text
    })
}

#[test]
fn views_go_on_when_there_are_file_descriptors_again() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(dir.join("views.sql"), SQL).unwrap();
    std::fs::write(dir.join("events.jsonl"), events(0..1_000)).unwrap();
    let log = std::fs::File::create(dir.join("run.log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.env_clear().env("ALLUVIUM_COMMIT_INTERVAL", "20ms").args(["run", "--http", "off", "-C"]).arg(dir);
    let mut running = Running(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let said = || std::fs::read_to_string(dir.join("run.log")).unwrap();
    let holds = |n: u64| {
        let read = |view: &str, n: &str| {
            duckdb::rows(&format!("SELECT {n} AS n FROM read_parquet('{}/data/views/{view}/current/*.parquet')", dir.display()))
        };
        [read("total", "max(n)"), read("by_digit", "sum(n)")].into_iter().all(|rows| rows.is_ok_and(|rows| rows[0]["n"] == n))
    };
    wait_until("both views hold the first events", || holds(1_000));

    // From here on it can open nothing.
    let pid = Pid::from_child(&running.0);
    let before = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(3), maximum: Some(4_096) }).unwrap();
    assert!(before.current.is_none_or(|current| current > 3));
    std::fs::write(dir.join("events.jsonl"), events(0..2_000)).unwrap();
    wait_until("it says what it lacks", || said().contains("Too many open files"));
    assert_eq!(running.0.try_wait().unwrap(), None, "{}", said());

    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(4_096), maximum: Some(4_096) }).unwrap();
    wait_until("both views hold all events", || holds(2_000));
    assert_eq!(running.end(), Some(0), "{}", said());
    assert!(!said().contains("panicked"), "{}", said());
}

#[test]
fn too_little_address_space_is_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("views.sql"), SQL).unwrap();
    std::fs::write(folder.path().join("events.jsonl"), events(0..10)).unwrap();
    let run = |limit: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -v \"$1\" && exec \"$0\" run --until-caught-up --http off -C \"$2\""]);
        command.arg(env!("CARGO_BIN_EXE_alluvium")).arg(limit).arg(folder.path()).env_clear().output().unwrap()
    };
    let refused = run("1000000");
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("address space of this process is limited to 976 MiB") && text.contains("memory_limit"), "{text}");
    let enough = run("4000000");
    assert!(enough.status.success(), "{}", String::from_utf8_lossy(&enough.stderr));
}
