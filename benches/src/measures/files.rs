//! Two queries over files of JSON lines, each compared with DuckDB, which uses as many threads.

use miette::{IntoDiagnostic, Result};

use crate::duckdb;
use crate::engine::Project;
use crate::orders::{self, Orders};
use crate::report::{Report, Wanted, median};

/// The number of runs per program. The programs take turns.
const ROUNDS: usize = 5;

const QUERIES: &[(&str, &str)] = &[
    ("count and sum by 5 groups", "SELECT country, count(*) AS orders, sum(total) AS revenue FROM orders GROUP BY country"),
    (
        "count, sum and max by 100,000 groups",
        "SELECT customer_id, count(*) AS orders, sum(total) AS spent, max(total) AS largest FROM orders GROUP BY customer_id",
    ),
];

/// Measures both queries and checks their views.
///
/// # Errors
/// If a program fails, or a view is wrong.
pub(crate) fn measure(scale: f64, report: &mut Report) -> Result<()> {
    let events = (5_000_000.0 * scale) as u64;
    let folder = tempfile::tempdir().into_diagnostic()?;
    println!("files: writing {events} events");
    Orders::new(100_000).write(folder.path(), events, 10)?;
    let answers = tempfile::tempdir().into_diagnostic()?;
    let source = orders::source("FILE", &folder.path().display().to_string());
    let table = duckdb::events(folder.path());
    for (name, query) in QUERIES {
        let project = Project::new(&source, &[("measured", query)])?;
        let over_files = query.replace("FROM orders", &format!("FROM {table}"));
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            // DuckDB writes its answer to a Parquet file, as Alluvium does.
            let target = answers.path().join("answer.parquet");
            theirs.push(duckdb::run(&format!("COPY ({over_files}) TO '{}' (FORMAT parquet)", target.display()))?.1.as_secs_f64());
            project.forget()?;
            ours.push(project.run_until_caught_up()?.as_secs_f64());
            println!("files: {name}: round {round}: DuckDB {:.2} s, Alluvium {:.2} s", theirs[round], ours[round]);
        }
        duckdb::same(&project.current("measured"), query, &table)?;
        let (theirs, ours) = (median(theirs), median(ours));
        let what = format!("files: {events} events as JSON lines, {name}, seconds; compared with DuckDB");
        report.add(&what, format!("{ours:.2}"), format!("{theirs:.2}"), ours / theirs, Wanted::AtMost(2.0));
    }
    Ok(())
}
