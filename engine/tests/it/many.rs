//! Thousands of pipelines in one process: they start, run and stop.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// More than the threads that a runtime for blocking work has.
const VIEWS: usize = 2_000;
const EVENTS: usize = 200;
const LIMIT: Duration = Duration::from_secs(300);

fn alluvium(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.env_clear().arg("-C").arg(dir).args(arguments).stdin(Stdio::null());
    command
}

/// Makes a folder, in memory if there is room: thousands of syncs would hold up the disk for the tests that run beside this one.
fn new_folder() -> tempfile::TempDir {
    let free = Command::new("df").args(["--output=avail", "-B1", "/dev/shm"]).output().ok();
    let free = free.and_then(|free| String::from_utf8(free.stdout).ok()?.lines().last()?.trim().parse::<u64>().ok());
    match free {
        Some(free) if free > 2 << 30 => tempfile::tempdir_in("/dev/shm").unwrap(),
        _ => tempfile::tempdir().unwrap(),
    }
}

fn write_events(dir: &Path, events: usize) {
    let lines: String = (0..events).map(|n| format!("{{\"k\":{n},\"x\":{}}}\n", n * 7)).collect();
    std::fs::write(dir.join("events.jsonl"), lines).unwrap();
}

/// Returns the committed offset of each view.
fn offsets(dir: &Path) -> Vec<u64> {
    let status = alluvium(dir, &["status", "--format", "json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let offset = |view: &Value| view["sources"]["t"]["offset"].as_u64();
    status["views"].as_array().unwrap().iter().map(|view| offset(view).unwrap_or(0)).collect()
}

/// Asserts that each view holds all events, and that some of them have the right rows.
fn assert_all_hold(dir: &Path, events: usize) {
    assert_eq!(offsets(dir), vec![events as u64 + 1; VIEWS]);
    for view in [0, 7, VIEWS / 2, VIEWS - 1] {
        let sql = format!("SELECT count(*) AS groups, sum(n) AS events, sum(s) AS total FROM v{view}");
        let answer = alluvium(dir, &["query", &sql, "--format", "csv"]).output().unwrap();
        let total: usize = (0..events).map(|n| n * 7).sum();
        let expected = format!("groups,events,total\n{},{events},{total}\n", events.min(view + 2));
        assert_eq!(String::from_utf8(answer.stdout).unwrap(), expected, "v{view}");
    }
}

/// Waits for the end of a process, and kills it if that does not come.
fn end_of(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > LIMIT {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the program does not end");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn two_thousand_views_on_one_source_start_run_and_stop() {
    let folder = new_folder();
    let dir = folder.path();
    let mut sql = "CREATE EXTERNAL TABLE t (k BIGINT, x BIGINT) STORED AS FILE LOCATION 'events.jsonl';\n".to_owned();
    for view in 0..VIEWS {
        let group = format!("k % {}", view + 2);
        sql.push_str(&format!(
            "CREATE MATERIALIZED VIEW v{view} AS SELECT {group} AS g, count(*) AS n, sum(x) AS s FROM t GROUP BY {group};\n"
        ));
    }
    std::fs::write(dir.join("views.sql"), sql).unwrap();
    // Each commit syncs files, and a slow disk takes its time for thousands of them.
    std::fs::write(dir.join("alluvium.toml"), "shutdown_timeout = \"5m\"\n").unwrap();
    write_events(dir, EVENTS);
    let log = std::fs::File::create(dir.join("first.log")).unwrap();
    let mut first = alluvium(dir, &["run", "--until-caught-up", "--http", "off"]).stderr(log).spawn().unwrap();
    let read_log = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(end_of(&mut first), Some(0), "{}", read_log("first.log"));
    assert_all_hold(dir, EVENTS);

    write_events(dir, EVENTS + 1);
    let log = std::fs::File::create(dir.join("second.log")).unwrap();
    let mut second = alluvium(dir, &["run", "--http", "off"]).stderr(log).spawn().unwrap();
    let began = Instant::now();
    while !offsets(dir).contains(&(EVENTS as u64 + 2)) {
        assert!(began.elapsed() < LIMIT && second.try_wait().unwrap().is_none(), "{}", read_log("second.log"));
        std::thread::sleep(Duration::from_millis(500));
    }
    kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
    assert_eq!(end_of(&mut second), Some(0), "{}", read_log("second.log"));

    let log = std::fs::File::create(dir.join("third.log")).unwrap();
    let mut third = alluvium(dir, &["run", "--until-caught-up", "--http", "off"]).stderr(log).spawn().unwrap();
    assert_eq!(end_of(&mut third), Some(0), "{}", read_log("third.log"));
    assert_all_hold(dir, EVENTS + 1);
}
