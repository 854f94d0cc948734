//! `alluvium verify`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use alluvium_connectors::source::Gap;
use clap::Args;

use super::global::{Global, Shape, json, print, runtime};
use super::rebuild::must_be_declared;
use super::table;
use crate::error::{Error, Finding};
use crate::verify::{DifferingRow, SHOWN, Sample, Scope, Verdict, Verified, verify};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views verify                        every view
  alluvium -C my-views verify revenue_by_country --memory-mb 4096
  alluvium -C my-views verify --sample 1%            of each view, the rows of one key in a hundred
  alluvium -C my-views verify --with duckdb /usr/bin/duckdb

It reads the events up to the committed offset again from their sources, runs the view's SQL over them as one batch query, and
compares the rows. It works with or without a running engine. The exit code is 0 if all views are equal, 1 if one differs, and 4 if it
cannot tell, for instance because the stream no longer holds the events. Meanwhile it keeps rows in the temporary folder (TMPDIR).";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Verify {
    /// The views; all if none is named
    views: Vec<String>,
    /// Memory for its queries; beyond it sorts and aggregates spill, and joins fail
    #[arg(long, value_name = "MB", default_value_t = 2048)]
    memory_mb: usize,
    /// Verify only the rows with this share of the keys, chosen by their hash
    #[arg(long, value_name = "SHARE")]
    sample: Option<Sample>,
    /// Have the DuckDB program at this path compute the views, as far as it can run their SQL: `--with duckdb PATH`
    #[arg(long, num_args = 2, value_names = ["JUDGE", "PATH"])]
    with: Option<Vec<String>>,
    /// The format of the answer
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
}

impl Verify {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let project = global.project()?;
        for view in &self.views {
            must_be_declared(&project, view)?;
        }
        let names: BTreeSet<String> = self.views.iter().cloned().collect();
        let duckdb = match self.with.as_deref() {
            None => None,
            Some([judge, path]) if judge == "duckdb" => Some(PathBuf::from(path)),
            Some(_) => {
                return Err(Error::config("only DuckDB can judge", "write `--with duckdb PATH`, with the path of its program"));
            }
        };
        let scope = Scope { names, memory: self.memory_mb << 20, sample: self.sample, duckdb };
        let verified = runtime()?.block_on(verify(&project, &scope))?;
        match self.format {
            Shape::Json => print(&json(&verified)?)?,
            Shape::Table => print(&verified.iter().map(|verified| text(verified, self.sample)).collect::<String>())?,
        }
        let count = |is: fn(&Verdict) -> bool| verified.iter().filter(|one| is(&one.verdict)).count();
        let differ = count(|verdict| matches!(verdict, Verdict::Differs { .. }));
        let unknown = count(|verdict| matches!(verdict, Verdict::Unknown { .. }));
        let of = format!("of {} views", verified.len());
        if differ > 0 {
            return Err(Error::Found {
                finding: Finding::Differs,
                message: format!("{differ} {of} differ from their SQL"),
                help: "keep a copy of the data folder and report it; `alluvium rebuild VIEW` rebuilds a view".to_owned(),
            });
        }
        if unknown > 0 {
            return Err(Error::Found {
                finding: Finding::Unknown,
                message: format!("cannot tell of {unknown} {of} whether they equal their SQL"),
                help: "the output names the reason for each view".to_owned(),
            });
        }
        Ok(())
    }
}

fn text(verified: &Verified, sample: Option<Sample>) -> String {
    let of = sample.map_or_else(String::new, |sample| format!(" of a sample of {sample}"));
    let Verified { view, rows, verdict, .. } = verified;
    match verdict {
        Verdict::Equal => format!("{view}: equal: {rows} rows{of} at {}{}\n", place(verified), missing(verified)),
        Verdict::Unknown { reason } => format!("{view}: cannot tell: {reason}\n"),
        Verdict::Differs { columns, differing, count, at_least } => {
            let least = if *at_least { "at least " } else { "" };
            let shown = if *count > SHOWN { format!("; the first {SHOWN}:") } else { ":".to_owned() };
            let header: Vec<&str> = std::iter::once("").chain(columns.iter().map(String::as_str)).collect();
            let mut table = table::plain(&header);
            for DifferingRow { in_view, values } in differing {
                let side = if *in_view { "view" } else { "SQL" };
                table.add_row(std::iter::once(side.to_owned()).chain(values.iter().cloned()));
            }
            format!(
                "{view}: differs: {least}{count} rows at {}{} are only in the view or only in the answer of its SQL{shown}\n{table}\n",
                place(verified),
                missing(verified)
            )
        }
    }
}

/// Names the gaps in what the view has read: `, but for the gap of sequences 101 to 150 of orders`.
fn missing(verified: &Verified) -> String {
    let gaps = verified.gaps.iter().flat_map(|(source, gaps)| gaps.iter().map(move |gap| (source, gap)));
    let each = |(source, gap): (&String, &Gap)| format!("sequences {} to {} of {source}", gap.first, gap.last);
    let gaps: Vec<String> = gaps.map(each).collect();
    match gaps.as_slice() {
        [] => String::new(),
        [one] => format!(", but for the gap of {one}"),
        [some @ .., last] => format!(", but for the gaps of {} and {last}", some.join(", ")),
    }
}

/// Returns the last applied event of each source: `sequence 41 of orders`.
fn place(verified: &Verified) -> String {
    let places = verified.offsets.iter().map(|(source, offset)| format!("sequence {} of {source}", offset.saturating_sub(1)));
    let places: Vec<String> = places.collect();
    if places.is_empty() { "no event".to_owned() } else { places.join(", ") }
}
