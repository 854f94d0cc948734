//! The project on the disk: views over a file of events, and what readers may see of it at any moment.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use alluvium::layout::Layout;
use alluvium::record::newest_records;

use crate::duckdb;

/// One event in this many is none.
const BAD: u64 = 50;
/// The exit code of a run that has set events aside.
pub(crate) const SET_ASIDE: i32 = 3;
/// How long one run may take before it hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// The name and query of each view. A view follows those that it reads.
const VIEWS: [(&str, &str); 5] = [
    ("totals", "SELECT count(*) AS n, sum(id) AS s FROM events"),
    ("by_key", "SELECT k, count(*) AS n, sum(x) AS s FROM events GROUP BY k"),
    ("kept", "SELECT id, x FROM events WHERE id % 2 = 0"),
    ("best", "SELECT k, s FROM by_key ORDER BY s DESC, k LIMIT 3"),
    ("pairs", "SELECT a.id, b.x FROM events a JOIN events b ON a.id = b.id * 2"),
];

/// What a changed project has in place of a view's query: the same columns, other rows.
const CHANGED: (&str, &str) = ("by_key", "SELECT k, count(*) AS n, sum(x + 1) AS s FROM events GROUP BY k");

/// How a run ended, and what it said.
pub(crate) struct Ended {
    /// `None` if it hung and was ended.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) said: String,
}

impl Ended {
    /// The exit code; `None` if it was killed or hung.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status?.code()
    }

    pub(crate) fn was_killed(&self) -> bool {
        self.status.is_some_and(|status| status.signal() == Some(9))
    }
}

/// A project's folder.
pub(crate) struct Project(pub(crate) PathBuf);

impl Project {
    /// Makes a project without events.
    pub(crate) fn new(folder: PathBuf) -> Project {
        fs::create_dir(&folder).unwrap();
        let mut sql =
            "CREATE EXTERNAL TABLE events (id BIGINT, k VARCHAR, x BIGINT) STORED AS FILE LOCATION 'events.jsonl';\n".to_owned();
        for (name, query) in VIEWS {
            writeln!(sql, "CREATE MATERIALIZED VIEW {name} AS {query};").unwrap();
        }
        fs::write(folder.join("views.sql"), sql).unwrap();
        let settings = "commit_interval = \"1ms\"\nbatch_events = 20\nhttp = \"off\"\nsnapshots_kept = 2\nsnapshots_min_age = \"0s\"\nsource_timeout = \"1s\"\n";
        fs::write(folder.join("alluvium.toml"), settings).unwrap();
        fs::write(folder.join("events.jsonl"), "").unwrap();
        Project(folder)
    }

    /// Copies the project to a folder that does not exist.
    pub(crate) fn copy_to(&self, folder: PathBuf) -> Project {
        let copied = Command::new("cp").arg("-a").arg(&self.0).arg(&folder).status().unwrap();
        assert!(copied.success());
        Project(folder)
    }

    /// Appends events until there are `count`.
    pub(crate) fn grow(&self, count: u64) {
        let path = self.0.join("events.jsonl");
        let mut text = fs::read_to_string(&path).unwrap();
        for id in text.lines().count() as u64 + 1..=count {
            match id % BAD {
                0 => text.push_str("not an event\n"),
                _ => writeln!(text, "{{\"id\":{id},\"k\":\"k{}\",\"x\":{}}}", id % 37, id * 7 % 1000).unwrap(),
            }
        }
        fs::write(path, text).unwrap();
    }

    /// Changes the query of one view.
    pub(crate) fn change(&self) {
        let path = self.0.join("views.sql");
        let sql = fs::read_to_string(&path).unwrap();
        let (_, old) = VIEWS.iter().find(|(name, _)| *name == CHANGED.0).unwrap();
        assert!(sql.contains(old));
        fs::write(path, sql.replace(old, CHANGED.1)).unwrap();
    }

    /// Runs the program on the disk that `disk` describes, and waits for its end.
    pub(crate) fn run(&self, arguments: &[&str], disk: &[(&str, String)]) -> Ended {
        let log = self.0.with_extension("log");
        let out = fs::File::create(&log).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
        command.env_clear().envs(disk.iter().map(|(name, value)| (*name, value))).arg("-C").arg(&self.0).args(arguments);
        let mut child = command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if began.elapsed() > LIMIT {
                child.kill().unwrap();
                child.wait().unwrap();
                break None;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let said = fs::read_to_string(&log).unwrap();
        Ended { status, said }
    }

    /// Says what is wrong with the rows that a reader finds, if something is: each view that has a snapshot equals its SQL over the events up
    /// to the snapshot's offset.
    pub(crate) fn misread(&self) -> Option<String> {
        let mut asked = String::new();
        for (name, query) in VIEWS {
            let current = self.0.join("data/views").join(name).join("current");
            if !current.exists() {
                continue;
            }
            let manifest = fs::read(current.join("manifest.json")).map_err(|error| error.to_string());
            let manifest = manifest.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string()));
            let manifest: serde_json::Value = match manifest {
                Ok(manifest) => manifest,
                Err(error) => return Some(format!("{name}: a snapshot without a whole manifest: {error}")),
            };
            let offset = manifest["offsets"]["events"].as_u64().unwrap();
            let files = manifest["parts"].as_array().unwrap().len();
            // DuckDB refuses a pattern without files; a view without rows may have none.
            let found = match files {
                0 => format!("(SELECT * FROM ({query}) LIMIT 0)"),
                _ => format!("(FROM read_parquet('{}/*.parquet'))", current.display()),
            };
            let changed = if matches!(name, "by_key" | "best") { CHANGED.1 } else { VIEWS[1].1 };
            let mut either = Vec::new();
            for by_key in [VIEWS[1].1, changed] {
                let query = if name == "by_key" { by_key } else { query };
                let with = format!(
                    "WITH events AS MATERIALIZED (SELECT i AS id, 'k' || i % 37 AS k, i * 7 % 1000 AS x FROM range(1, {offset}) t(i)
                     WHERE i % {BAD} != 0), by_key AS ({by_key}), found AS {found}, wanted AS ({query})"
                );
                either.push(format!(
                    "(SELECT count(*) FROM ({with} (FROM found EXCEPT ALL FROM wanted) UNION ALL (FROM wanted EXCEPT ALL FROM found)))"
                ));
            }
            write!(asked, "SELECT '{name}' AS name, {offset} AS at, least({}) AS different UNION ALL ", either.join(", "))
                .unwrap();
        }
        let asked = asked.strip_suffix("UNION ALL ")?;
        match duckdb::rows(asked) {
            Err(error) => Some(error),
            Ok(rows) => rows.into_iter().find(|row| row["different"] != 0).map(|row| row.to_string()),
        }
    }

    /// The first view of which the name `current` is there, and no snapshot behind it.
    pub(crate) fn unreadable(&self) -> Option<&'static str> {
        let current = |name: &str| self.0.join("data/views").join(name).join("current");
        VIEWS.iter().map(|(name, _)| *name).find(|name| current(name).is_symlink() && !current(name).exists())
    }

    /// By view that has a record of its last commit: its incarnation and its epoch.
    pub(crate) fn committed(&self) -> BTreeMap<String, (String, u64)> {
        let records = newest_records(&Layout::new(self.0.join("data"))).unwrap();
        records.into_iter().map(|(view, record)| (view, (record.incarnation, record.epoch))).collect()
    }

    /// Says what is missing after a run to the end of the events.
    pub(crate) fn unfinished(&self, events: u64) -> Option<String> {
        for (name, _) in VIEWS {
            let path = self.0.join("data/views").join(name).join("current/manifest.json");
            let Ok(manifest) = fs::read(&path) else { return Some(format!("{} is missing", path.display())) };
            let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
            if manifest["offsets"]["events"] != events + 1 {
                return Some(format!("{name} ends at {}", manifest["offsets"]));
            }
        }
        let letters = self.run(&["dead-letters", "list", "--format", "json"], &[]);
        let sequence = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["sequence"].as_u64();
        let sequences: Vec<u64> = letters.said.lines().filter_map(sequence).collect();
        let wanted: Vec<u64> = (1..=events).filter(|id| id % BAD == 0).collect();
        let mut sorted = sequences.clone();
        sorted.sort_unstable();
        (sorted != wanted).then(|| format!("dead letters {sequences:?}, not {wanted:?}"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}
