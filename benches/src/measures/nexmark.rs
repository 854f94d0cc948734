//! Nexmark over files of JSON lines: each query alone, compared with Flink with two tasks. Writes a table of its own.
//!
//! Alluvium's queries are those that the tests of the crate `projections` check. Flink's are in `benches/nexmark/flink`, as in its own
//! Nexmark. For Alluvium, the whole process counts, and its view is written as Parquet. For Flink, only the net time of the job counts,
//! and its sink keeps nothing. Where Alluvium's queries break ties in an order, Flink's leave them open.
//!
//! The answers are compared in a separate run over fewer events, only by their number of rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use miette::{IntoDiagnostic, Result, WrapErr};
use serde_json::{Value, json};

use crate::engine::{Cost, Project};
use crate::{auctions, flink, report};

const EVENTS: f64 = 5_000_000.0;
/// The number of events over which the rows of the answers are counted.
const COUNTED: usize = 100_000;
/// The time limit for a query of one program.
const LIMIT: Duration = Duration::from_secs(300);

/// What to run, and where.
pub(crate) struct Options {
    /// The fraction of the events to use.
    pub(crate) scale: f64,
    /// Parts of the names of the queries to run. Empty means all queries.
    pub(crate) only: Vec<String>,
    /// A folder that keeps events and figures between runs.
    pub(crate) keep: Option<PathBuf>,
    /// The Markdown file for the table.
    pub(crate) report: PathBuf,
    /// Only Alluvium: prints seconds and memory by query, and writes no table.
    pub(crate) alone: bool,
}

/// Measures the chosen queries that have no figures yet, and writes the table of all queries that have.
///
/// # Errors
/// If a program cannot be started, or the disk fails.
pub(crate) fn measure(options: &Options) -> Result<()> {
    let count = (EVENTS * options.scale) as usize;
    if !options.alone {
        flink::install()?;
    }
    let passing = tempfile::tempdir().into_diagnostic()?;
    let home = options.keep.as_deref().unwrap_or(passing.path());
    let events = events(home, count)?;
    let counted = self::events(home, COUNTED.min(count))?;
    let kept = home.join(format!("figures-{count}.json"));
    let mut figures = Figures::read(&kept)?;
    let queries = queries()?;
    for (query, sql) in &queries {
        let chosen = options.only.is_empty() || options.only.iter().any(|part| query.contains(part.as_str()));
        if !chosen || figures.0.contains_key(query) {
            continue;
        }
        println!("nexmark: {query}");
        let project = Project::new(&auctions::sources(&events), &[("measured", sql.as_str())])?;
        if options.alone {
            let cost = project.cost_until_caught_up(LIMIT)?;
            println!(
                "{}",
                cost.map_or_else(|why| why, |cost| format!("{query}: {:.3} s, {} MB", cost.seconds, cost.memory >> 20))
            );
            continue;
        }
        let (ours, theirs) = (project.cost_until_caught_up(LIMIT)?, flink::run(&events, query, LIMIT)?);
        let rows = Rows { ours: rows_of(&counted, sql)?, theirs: flink::rows(&counted, query, LIMIT)?.ok() };
        let pair = Pair { ours, theirs, rows };
        println!("{}", pair.row(query, count).0);
        figures.0.insert(query.clone(), pair);
        figures.write(&kept)?;
    }
    if options.alone {
        return Ok(());
    }
    std::fs::write(&options.report, figures.table(count, queries.len())).into_diagnostic()?;
    println!("written to {}", options.report.display());
    Ok(())
}

/// Returns a folder with the first `count` events. Writes them if they are missing.
fn events(home: &Path, count: usize) -> Result<PathBuf> {
    let events = home.join(format!("events-{count}"));
    if !events.join("bid").exists() {
        println!("nexmark: writing {count} events");
        let unfinished = home.join("unfinished");
        auctions::write(&unfinished, count)?;
        std::fs::rename(&unfinished, &events).into_diagnostic()?;
    }
    events.canonicalize().into_diagnostic()
}

/// Returns the number of rows in Alluvium's answer.
fn rows_of(events: &Path, sql: &str) -> Result<u64> {
    let project = Project::new(&auctions::sources(events), &[("measured", sql)])?;
    project.run_until_caught_up()?;
    project.rows("measured")
}

/// Reads the names and texts of Alluvium's queries, without comments and trailing semicolons.
fn queries() -> Result<Vec<(String, String)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../projections/tests/suites/nexmark");
    let mut queries = Vec::new();
    for entry in std::fs::read_dir(&folder).into_diagnostic().wrap_err_with(|| format!("reading {}", folder.display()))? {
        let path = entry.into_diagnostic()?.path();
        let text = std::fs::read_to_string(&path).into_diagnostic()?;
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("--")).collect();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        queries.push((name, lines.join("\n").trim_end().trim_end_matches(';').to_owned()));
    }
    queries.sort();
    Ok(queries)
}

/// The results of a query in both programs: each a cost, or why there is none.
struct Pair {
    ours: Result<Cost, String>,
    theirs: Result<Cost, String>,
    rows: Rows,
}

/// The number of rows in the answers over the counted events. None for Flink if it does not run the query.
#[derive(Debug, Clone, Copy)]
struct Rows {
    ours: u64,
    theirs: Option<u64>,
}

impl Rows {
    fn words(self) -> String {
        match self {
            Rows { ours, theirs: Some(theirs) } if ours == theirs => format!("{ours}, the same"),
            Rows { ours, theirs: Some(theirs) } => format!("{ours}, {theirs} DIFFER"),
            Rows { ours, theirs: None } => ours.to_string(),
        }
    }
}

impl Pair {
    /// Returns the line of the table, and the ratio of Alluvium's events a second to Flink's.
    fn row(&self, query: &str, count: usize) -> (String, Option<f64>) {
        let speed = |cost: &Result<Cost, String>| match cost {
            Ok(cost) => format!("{:.0}", count as f64 / cost.seconds),
            Err(why) => why.clone(),
        };
        let memory =
            |cost: &Result<Cost, String>| cost.as_ref().map_or_else(|_| String::new(), |cost| (cost.memory >> 20).to_string());
        let ratio = match (&self.ours, &self.theirs) {
            (Ok(ours), Ok(theirs)) => Some(theirs.seconds / ours.seconds),
            _ => None,
        };
        let (ours, theirs) = (&self.ours, &self.theirs);
        let shown = match ratio {
            Some(ratio) if ratio < 1.0 => format!("{ratio:.2} SLOWER"),
            Some(ratio) => format!("{ratio:.2}"),
            None => String::new(),
        };
        let (speeds, memories) = ([speed(ours), speed(theirs)].join(" | "), [memory(ours), memory(theirs)].join(" | "));
        let row = format!("| {query} | {speeds} | {shown} | {memories} | {} |", self.rows.words());
        (row, ratio)
    }
}

/// Figures by query, kept between runs as JSON.
struct Figures(BTreeMap<String, Pair>);

impl Figures {
    fn read(path: &Path) -> Result<Figures> {
        let Ok(text) = std::fs::read_to_string(path) else { return Ok(Figures(BTreeMap::new())) };
        let values: BTreeMap<String, (Value, Value, Value)> =
            serde_json::from_str(&text).into_diagnostic().wrap_err_with(|| format!("reading {}", path.display()))?;
        let cost = |value: &Value| match (value["seconds"].as_f64(), value["memory"].as_u64()) {
            (Some(seconds), Some(memory)) => Ok(Cost { seconds, memory }),
            _ => Err(value.as_str().unwrap_or("failed").to_owned()),
        };
        let rows = |value: &Value| Rows { ours: value["ours"].as_u64().unwrap_or_default(), theirs: value["theirs"].as_u64() };
        let pairs = values.into_iter().map(|(query, (ours, theirs, counted))| {
            (query, Pair { ours: cost(&ours), theirs: cost(&theirs), rows: rows(&counted) })
        });
        Ok(Figures(pairs.collect()))
    }

    fn write(&self, path: &Path) -> Result<()> {
        let value = |cost: &Result<Cost, String>| match cost {
            Ok(cost) => json!({ "seconds": cost.seconds, "memory": cost.memory }),
            Err(why) => json!(why),
        };
        let rows = |rows: Rows| json!({ "ours": rows.ours, "theirs": rows.theirs });
        let values: BTreeMap<_, _> =
            self.0.iter().map(|(query, pair)| (query, (value(&pair.ours), value(&pair.theirs), rows(pair.rows)))).collect();
        std::fs::write(path, serde_json::to_string_pretty(&values).into_diagnostic()?).into_diagnostic()
    }

    /// Returns the table. It omits queries without figures, but states their number.
    fn table(&self, count: usize, asked: usize) -> String {
        let machine = report::machine();
        let mut text = format!(
            "# Nexmark on files\n\nMeasured by `make nexmark` on {machine}. The input is {count} events as JSON lines, in two files per \
             stream. Each query runs alone, once. For Alluvium, the time is that of the whole process, from its start until the view is \
             written as Parquet. For Flink 2.3, it is the net time of the job, with two tasks, mini-batches, two-phase aggregation, \
             state on the heap, no checkpoints, and a sink that discards rows. Memory is peak resident memory; for Flink, that of its \
             JVM. q12 counts by the time of the bid, q13 joins a table of 100 rows, and q14 counts a letter without a Java function. \
             `rows` is the number of rows in the answers over the first {COUNTED} events.\n\n\
             | query | Alluvium, events/s | Flink, events/s | ratio | Alluvium, MB | Flink, MB | rows |\n\
             | --- | --- | --- | --- | --- | --- | --- |\n"
        );
        let mut ratios = Vec::new();
        for (query, pair) in &self.0 {
            let (row, ratio) = pair.row(query, count);
            text.push_str(&row);
            text.push('\n');
            ratios.extend(ratio);
        }
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        let slower = ratios.iter().filter(|ratio| **ratio < 1.0).count();
        let _ = writeln!(text, "\nGeometric mean of the {} ratios: {mean:.2}. Slower than Flink: {slower}.", ratios.len());
        if self.0.len() < asked {
            let _ = writeln!(text, "\nNot measured yet: {} of {asked} queries.", asked - self.0.len());
        }
        text
    }
}
