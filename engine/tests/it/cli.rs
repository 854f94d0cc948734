//! The commands as a user starts them: exit codes, messages and signals.

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

/// Makes a project with `alluvium init`.
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

/// A running process, which is killed when a test fails.
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
    let said = text(&good.stdout);
    assert!(said.contains("3 views and 1 source: no errors") && !said.contains("warning"), "{said}");
    // One line for each view: class, key, state and sources.
    let line = |view: &str| {
        let line = said.lines().find(|line| line.trim_start().starts_with(view)).unwrap_or_else(|| panic!("{view}: {said}"));
        line.split("  ").map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("revenue_by_country"), ["revenue_by_country", "merge", "country", "the state of each group", "orders"]);
    assert_eq!(line("large_orders"), ["large_orders", "linear", "none", "none", "orders"]);
    std::fs::write(
        dir.join("best_countries.sql"),
        "CREATE MATERIALIZED VIEW best_countries AS\nSELECT countr FROM revenue_by_country;\n",
    )
    .unwrap();
    let wrong = ask(&dir, &["check"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(text(&wrong.stderr).contains("best_countries.sql:2:8"), "{}", text(&wrong.stderr));
}

#[test]
fn check_plans_each_view_down_to_its_operators() {
    let (_parent, dir) = new_folder();
    let query = "SELECT country,\n  min(INTERVAL '1 month') AS least FROM orders GROUP BY country";
    std::fs::write(dir.join("shortest.sql"), format!("-- an interval\nCREATE MATERIALIZED VIEW shortest AS {query};\n")).unwrap();
    let wrong = ask(&dir, &["check"]);
    assert_eq!(wrong.status.code(), Some(1), "{}", text(&wrong.stdout));
    let said = text(&wrong.stderr);
    assert!(said.contains("shortest.sql:3:") && said.contains("INTERVAL"), "{said}");
}

#[test]
fn check_warns_with_a_place_a_reason_and_a_suggestion() {
    let (_parent, dir) = new_folder();
    std::fs::write(
        dir.join("dear.sql"),
        "-- ranks\nCREATE MATERIALIZED VIEW ranks AS\n  SELECT order_id, rank() OVER (ORDER BY CAST(total AS DOUBLE)) AS place FROM orders;\n\
         CREATE MATERIALIZED VIEW sums AS SELECT country,\n  sum(CAST(total AS DOUBLE)) AS s, array_agg(order_id ORDER BY order_id) AS ids\n\
         FROM orders GROUP BY country;\n",
    )
    .unwrap();
    let checked = ask(&dir, &["check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", text(&checked.stderr));
    let said = text(&checked.stdout);
    let lines: Vec<&str> = said.lines().collect();
    for (place, reason, suggestion) in [
        ("dear.sql:3:27: ranks: ", "all input is kept", "in a view of its own first"),
        ("dear.sql:5:3: sums: ", "sum of floating-point numbers", "DECIMAL"),
        ("dear.sql:5:36: sums: ", "its state grows with the events", "group by something that ends"),
    ] {
        let found = lines.windows(2).find(|pair| pair[0].starts_with("warning: ") && pair[0].contains(place));
        let found = found.unwrap_or_else(|| panic!("{place}: {said}"));
        assert!(found[0].contains(reason) && found[1].starts_with("  help: ") && found[1].contains(suggestion), "{found:?}");
    }
    assert_eq!(said.matches("warning: ").count(), 3, "{said}");
    assert!(lines.iter().any(|line| line.contains("ranks") && line.contains("full recompute")), "{said}");
}

#[test]
fn explain_shows_class_key_state_and_cost_of_each_node() {
    let (_parent, dir) = new_folder();
    let shown = |format: &[&str]| {
        let answer = ask(&dir, &[&["explain", "revenue_by_country"], format].concat());
        assert!(answer.status.success(), "{}", text(&answer.stderr));
        text(&answer.stdout)
    };
    let tree = shown(&[]);
    assert!(tree.contains("merge: "), "{tree}");
    assert!(
        tree.contains("[O(changes) \u{b7} key country \u{b7} keeps the state of each group \u{b7} rows can be taken back]"),
        "{tree}"
    );
    let json: serde_json::Value = serde_json::from_str(&shown(&["--format", "json"])).unwrap();
    fn nodes<'a>(node: &'a serde_json::Value, found: &mut Vec<&'a serde_json::Value>) {
        found.push(node);
        for input in node["inputs"].as_array().unwrap() {
            nodes(input, found);
        }
    }
    let mut found = Vec::new();
    nodes(&json["plan"], &mut found);
    assert!(found.iter().all(|node| node["class"].is_string() && node["cost"].is_string() && node.get("state").is_some()));
    assert!(found.iter().any(|node| node["class"] == "merge" && node["state"] == "the state of each group"));
    assert!(shown(&["--format", "mermaid"]).contains("keeps the state of each group<br/>O(changes)"));
}

#[test]
fn a_wrong_query_is_underlined_and_says_what_to_write() {
    let (_parent, dir) = new_folder();
    let ran = ask(&dir, &["run", "--until-caught-up", "--http", "off"]);
    assert!(ran.status.success(), "{}", text(&ran.stderr));
    for (sql, underlined, message, help) in [
        ("SELECT 1/0", "", "a division by zero", "nullif(x, 0)"),
        ("SELECT orders / 0 FROM revenue_by_country", "", "a division by zero", "nullif(x, 0)"),
        ("SELECT CAST('abc' AS INT) AS n", "'abc'", "the value 'abc' cannot be cast to INT", "TRY_CAST(... AS INT)"),
        ("SELECT CAST(country AS INT) FROM revenue_by_country", "", "cannot be cast to INT", "TRY_CAST(... AS INT)"),
        ("SELECT contry FROM revenue_by_country", "contry", "no column is named contry", "did you mean country?"),
        ("SELECT cuont(*) FROM revenue_by_country", "cuont", "no function is named cuont", "did you mean count?"),
        ("SELECT country FORM revenue_by_country", "FORM", "expected end of statement", "did you mean FROM?"),
        ("SELECT CAST(country AS VARCHR) FROM revenue_by_country", "VARCHR", "no type is named VARCHR", "did you mean VARCHAR?"),
        ("SELECT sum(country) FROM revenue_by_country", "sum", "there is no sum(VARCHAR)", "sum(BIGINT)"),
        ("SELECT 'open", "'", "unterminated string literal", "close what was opened"),
        ("SELECT * FROM revenue_by_contry", "", "no committed view revenue_by_contry", "did you mean revenue_by_country?"),
        ("DELETE FROM revenue_by_country", "", "a query can only read", "SELECT"),
    ] {
        let answer = ask(&dir, &["query", sql]);
        let error = text(&answer.stderr);
        assert_eq!(answer.status.code(), Some(1), "{sql}: {error}");
        assert!(answer.stdout.is_empty() && error.contains(message) && error.contains(help), "{sql}: {error}");
        if underlined.is_empty() {
            continue;
        }
        let column = sql.find(underlined).unwrap() + 1;
        assert!(error.contains(&format!("[query:1:{column}]")), "{sql}: {error}");
        assert_eq!(error.matches('\u{2500}').count(), underlined.len() + 5, "{sql}: {error}");
    }
}

#[test]
fn a_wrong_source_is_underlined_at_its_option() {
    let (_parent, dir) = new_folder();
    for (source, underlined, help) in [
        ("STORED AS NATTS LOCATION 'nats://127.0.0.1:1/S'", "NATTS", "STORED AS NATS"),
        ("STORED AS NATS LOCATION 'nats://127.0.0.1:1/S' OPTIONS (sujbect 'a.>')", "sujbect", "did you mean 'subject'?"),
        ("STORED AS NATS LOCATION 'nats://127.0.0.1:1/S' OPTIONS (format 'jsn')", "'jsn'", "json"),
    ] {
        let sql = format!("CREATE EXTERNAL TABLE wrong (a INT)\n{source};\n");
        std::fs::write(dir.join("wrong.sql"), &sql).unwrap();
        let answer = ask(&dir, &["check"]);
        let error = text(&answer.stderr);
        let column = source.find(underlined).unwrap() + 1;
        assert!(error.contains(&format!("wrong.sql:2:{column}]")) && error.contains(help), "{source}: {error}");
    }
}

#[test]
fn status_tells_after_the_end_what_stopped_a_view() {
    let (_parent, dir) = new_folder();
    let run = || ask(&dir, &["run", "--until-caught-up", "--http", "off"]);
    assert!(run().status.success());
    let phase = || -> (String, Option<String>) {
        let answer = ask(&dir, &["status", "--format", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
        let views = status["views"].as_array().unwrap();
        let view = views.iter().find(|view| view["view"] == "revenue_by_country").unwrap();
        (view["phase"].as_str().unwrap().to_owned(), view["error"].as_str().map(str::to_owned))
    };
    assert_eq!(phase(), ("stopped".to_owned(), None));

    // Remove the view's state.
    std::fs::remove_dir_all(dir.join("data/state/revenue_by_country")).unwrap();
    assert_eq!(run().status.code(), Some(1));
    let (stopped, error) = phase();
    assert!(stopped == "failed" && error.as_ref().unwrap().contains("revenue_by_country"), "{stopped}: {error:?}");
    let answer = ask(&dir, &["status"]);
    assert!(text(&answer.stdout).contains(&error.unwrap()), "{}", text(&answer.stdout));

    let rebuilt = ask(&dir, &["rebuild", "revenue_by_country"]);
    assert!(rebuilt.status.success(), "{}", text(&rebuilt.stderr));
    assert_eq!(phase(), ("stopped".to_owned(), None));
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
    wait_until("the engine is ready", || {
        address().is_some_and(|address| ureq::get(format!("http://{address}/readyz")).call().is_ok())
    });

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

/// Makes a project with views over lines that are all bad except the first.
fn folder_of_bad_lines() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let lines = ["{\"a\":1}", "{\"a\":\"x\"}", "no JSON", "{\"a\":0}"].join("\n");
    std::fs::write(dir.join("events.jsonl"), lines + "\n").unwrap();
    std::fs::write(
        dir.join("views.sql"),
        "CREATE EXTERNAL TABLE events (a BIGINT) STORED AS FILE LOCATION 'events.jsonl';\n\
         CREATE MATERIALIZED VIEW plain AS SELECT a FROM events;\n\
         CREATE MATERIALIZED VIEW fussy AS SELECT 10 / a AS q FROM events;\n",
    )
    .unwrap();
    (folder, dir)
}

#[test]
fn events_that_are_set_aside_show_in_the_exit_code_the_status_and_the_list() {
    let (_folder, dir) = folder_of_bad_lines();
    let ran = ask(&dir, &["run", "--until-caught-up", "--http", "off"]);
    let error = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(3), "{error}");
    for said in
        ["3 of 4 events of events were set aside in fussy", "2 of 4 events of events were set aside in plain", "expression"]
    {
        assert!(error.split_whitespace().collect::<Vec<_>>().join(" ").contains(said), "{said}: {error}");
    }
    assert!(error.contains("events are set aside"), "a warning at once: {error}");
    let again = ask(&dir, &["run", "--until-caught-up", "--http", "off"]);
    assert_eq!(again.status.code(), Some(0), "nothing new: {}", text(&again.stderr));

    let status = ask(&dir, &["status", "--format", "json"]);
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let counts = |view: &str| {
        let views = status["views"].as_array().unwrap();
        let place = &views.iter().find(|one| one["view"] == view).unwrap()["sources"]["events"];
        (place["events"].as_u64().unwrap(), place["set_aside"].as_u64().unwrap())
    };
    assert_eq!((counts("plain"), counts("fussy")), ((4, 2), (4, 3)));
    let status = text(&ask(&dir, &["status"]).stdout);
    assert!(status.contains("2 (50.00%)") && status.contains("3 (75.00%)"), "{status}");
    assert!(status.contains("fussy: 3 of 4 events of events are not in it"), "{status}");
}

#[test]
fn dead_letters_are_listed_shown_and_dropped() {
    let (_folder, dir) = folder_of_bad_lines();
    let said = |arguments: &[&str]| {
        let answer = ask(&dir, &[&["dead-letters"], arguments].concat());
        assert!(answer.status.success(), "{arguments:?}: {}", text(&answer.stderr));
        text(&answer.stdout)
    };
    assert_eq!(said(&["list"]), "no event was set aside\n");
    assert_eq!(ask(&dir, &["run", "--until-caught-up", "--http", "off"]).status.code(), Some(3));
    let sequences = |arguments: &[&str]| {
        let lines = said(&[&["list", "--format", "json"], arguments].concat());
        lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(sequences(&[]), [2, 3, 4]);
    assert_eq!(sequences(&["--view", "fussy"]), [2, 4]);
    assert_eq!(sequences(&["--view", "plain"]), [2]);
    assert_eq!(sequences(&["--view", "plai_"]), [0_u64; 0]);
    assert_eq!(sequences(&["--kind", "not_json"]), [3]);
    assert_eq!(sequences(&["--source", "nowhere"]), [0_u64; 0]);
    assert_eq!(sequences(&["--since", "1 hour"]), [0_u64; 0], "lines of a file have no time");
    let listed = said(&["list"]);
    assert!(listed.contains("letters") && listed.contains("not_json"), "{listed}");

    let shown = said(&["show", "--sequence", "3"]);
    assert!(shown.contains("payload  no JSON") && shown.contains("kind  not_json"), "{shown}");
    let shown: serde_json::Value = serde_json::from_str(&said(&["show", "--kind", "expression", "--format", "json"])).unwrap();
    assert_eq!((&shown[0]["payload"], shown.as_array().unwrap().len()), (&"{\"a\":0}".into(), 1));

    let asked = ask(&dir, &["dead-letters", "drop", "--sequence", "3"]);
    assert_eq!(asked.status.code(), Some(1), "nobody can say yes");
    assert_eq!(said(&["drop", "--sequence", "3", "--yes"]), "dropped 1 dead letters\n");
    assert_eq!(sequences(&[]), [2, 4]);
    // The remaining letters are as the engine wrote them, so it finds that they are already kept.
    std::fs::write(dir.join("more.sql"), "CREATE MATERIALIZED VIEW more AS SELECT a + 1 AS b FROM events;\n").unwrap();
    assert_eq!(ask(&dir, &["run", "--until-caught-up", "--http", "off"]).status.code(), Some(3));
    assert_eq!(sequences(&[]), [2, 4]);
    assert_eq!(said(&["drop", "--yes"]), "dropped 2 dead letters\n");
    assert_eq!(said(&["list"]), "no event was set aside\n");
}
