//! The program as a user starts it: exit codes, messages, signals.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

fn alluvium(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    command.env_clear().arg("-C").arg(dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ask(dir: &Path, arguments: &[&str]) -> Output {
    alluvium(dir).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder made by `alluvium init`.
fn new_folder() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("views");
    let made = ask(parent.path(), &["init", dir.to_str().unwrap()]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    (parent, dir)
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Killed when a test fails.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn ends_with_1_and_one_message_or_with_2_for_wrong_usage() {
    let (_parent, dir) = new_folder();
    for usage in [&["rn"][..], &["query"], &["run", "--http"]] {
        assert_eq!(ask(&dir, usage).status.code(), Some(2), "{usage:?}");
    }
    for (arguments, said) in [
        (&["explain", "best_countriez"][..], "did you mean best_countries?"),
        (&["query", "SELECT * FROM nowhere"], "no committed view nowhere"),
        (&["drop", "nowhere", "--yes"], "no data of a view nowhere"),
        (&["init", "."], "not empty"),
    ] {
        let answer = Command::new(env!("CARGO_BIN_EXE_alluvium")).env_clear().current_dir(&dir).args(arguments).output().unwrap();
        assert_eq!(answer.status.code(), Some(1), "{arguments:?}");
        let error = text(&answer.stderr);
        assert!(error.contains(said) && error.matches('×').count() == 1 && !error.contains('\u{1b}'), "{error}");
        assert!(answer.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn check_points_at_the_place() {
    let (_parent, dir) = new_folder();
    let good = ask(&dir, &["check"]);
    assert_eq!((good.status.code(), text(&good.stderr)), (Some(0), String::new()));
    assert!(text(&good.stdout).contains("3 views and 1 source: no errors"));
    std::fs::write(dir.join("best_countries.sql"), "CREATE MATERIALIZED VIEW best_countries AS\nSELECT countr FROM revenue_by_country;\n").unwrap();
    let wrong = ask(&dir, &["check"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("best_countries.sql:2:8"), "{}", text(&wrong.stderr));
}

#[test]
fn a_new_folder_runs_as_it_stands() {
    let (_parent, dir) = new_folder();
    let ran = ask(&dir, &["run", "--until-caught-up", "--http", "off"]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    let answer = ask(&dir, &["query", "SELECT sum(orders) AS n FROM revenue_by_country", "--format", "csv"]);
    assert_eq!(text(&answer.stdout), "n\n40\n", "{}", text(&answer.stderr));
    let answer = ask(&dir, &["status", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(status["views"].as_array().unwrap().len(), 3);
    assert_eq!(status["views"][0]["sources"]["orders"]["offset"], 41);
}

#[test]
fn a_second_run_is_refused_and_sigterm_commits_and_ends_with_0() {
    let (_parent, dir) = new_folder();
    let mut first = Running(alluvium(&dir).args(["run", "--http", "127.0.0.1:0"]).stderr(Stdio::null()).spawn().unwrap());
    let address = || {
        let info: serde_json::Value = serde_json::from_slice(&std::fs::read(dir.join("data/run.lock")).ok()?).ok()?;
        info["http"].as_str().map(str::to_owned)
    };
    wait_until("the engine is ready", || address().is_some_and(|address| ureq::get(format!("http://{address}/readyz")).call().is_ok()));

    let second = ask(&dir, &["run"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains(&format!("process {}", first.0.id())), "{}", text(&second.stderr));
    let rebuilt = ask(&dir, &["rebuild", "large_orders"]);
    assert!(rebuilt.status.success(), "{}", text(&rebuilt.stderr));
    let refused = ask(&dir, &["drop", "large_orders", "--yes"]);
    assert!(text(&refused.stderr).contains("declared"), "{}", text(&refused.stderr));

    let pid = rustix::process::Pid::from_child(&first.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    wait_until("it ends", || first.0.try_wait().unwrap().is_some());
    assert_eq!(first.0.wait().unwrap().code(), Some(0));
    let answer = ask(&dir, &["query", "SELECT count(*) AS n FROM large_orders", "--format", "csv"]);
    assert!(answer.status.success(), "{}", text(&answer.stderr));
}
