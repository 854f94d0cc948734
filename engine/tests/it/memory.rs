//! `memory_limit`: the pipeline with the most state stops, names its largest operator, and the others go on.

use std::fmt::Write as _;
use std::process::Stdio;

use crate::duckdb;
use crate::orders::{Running, wait_until};

const SQL: &str = "CREATE EXTERNAL TABLE events (id BIGINT) STORED AS FILE LOCATION 'events.jsonl';
CREATE MATERIALIZED VIEW large AS
    SELECT k, count(*) AS n FROM (SELECT id * 100000 + u AS k FROM events, UNNEST(range(0, 100000)) AS i(u)) GROUP BY k;
CREATE MATERIALIZED VIEW small AS SELECT count(*) AS n, sum(id) AS s FROM events;";

fn events(ids: std::ops::Range<u64>) -> String {
    ids.fold(String::new(), |mut text, id| {
        writeln!(text, "{{\"id\":{id}}}").unwrap();
        text
    })
}

#[test]
fn at_the_limit_the_largest_pipeline_stops_and_the_others_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(dir.join("views.sql"), SQL).unwrap();
    std::fs::write(dir.join("events.jsonl"), events(1..41)).unwrap();
    let settings = "commit_interval = \"10ms\"\nbatch_events = 1\nhttp = \"off\"\n";
    std::fs::write(dir.join("alluvium.toml"), format!("{settings}memory_limit = \"200 MiB\"\n")).unwrap();
    let program = || {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_alluvium"));
        command.env_clear().arg("-C").arg(dir);
        command
    };
    let log = std::fs::File::create(dir.join("run.log")).unwrap();
    let mut running = Running(program().arg("run").stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let said = || std::fs::read_to_string(dir.join("run.log")).unwrap();
    wait_until("the large view stops", || said().contains("ERROR stopped pipeline=\"large\""));
    let line = said().lines().find(|line| line.contains("ERROR stopped")).unwrap().to_owned();
    assert!(line.contains("memory_limit is 200.00 MiB") && line.contains("of view large holds"), "{line}");
    println!("{line}");
    assert!(line.contains("raise memory_limit") && line.contains("alluvium restart large"), "{line}");

    // What comes now is read: there is room again.
    let mut text = std::fs::read_to_string(dir.join("events.jsonl")).unwrap();
    text.push_str(&events(41..51));
    std::fs::write(dir.join("events.jsonl"), text).unwrap();
    let small =
        || duckdb::rows(&format!("SELECT n, s FROM read_parquet('{}/data/views/small/current/*.parquet')", dir.display()));
    wait_until("the small view goes on", || small().is_ok_and(|rows| rows[0]["n"] == 50));
    assert!(!said().contains("stopped pipeline=\"small\""), "{}", said());
    assert_eq!(running.end(), Some(1), "a view has failed: {}", said());

    // With room for it, it goes on where it was.
    std::fs::write(dir.join("alluvium.toml"), settings).unwrap();
    let ended = program().args(["run", "--until-caught-up"]).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let large = format!(
        "SELECT count(*) AS keys, sum(n) AS n, max(k) AS k FROM read_parquet('{}/data/views/large/current/*.parquet')",
        dir.display()
    );
    let large = &duckdb::rows(&large).unwrap()[0];
    assert_eq!((&large["keys"], &large["k"]), (&5_000_000.into(), &(50_u64 * 100_000 + 99_999).into()), "{large}");
}
