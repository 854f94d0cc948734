//! `alluvium dead-letters`: events that were set aside.

use std::fmt::Write as _;
use std::io::{self, BufWriter};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::col;

use super::global::{Global, Shape, json, print, runtime};
use super::query::{Format, write};
use crate::dead_letters::{self, Selection};
use crate::error::Error;
use crate::layout::Layout;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views dead-letters list                              how many, by source, view and kind, and the first of them
  alluvium -C my-views dead-letters list --kind wrong_type --since '1 day'
  alluvium -C my-views dead-letters show --source orders --sequence 17
  alluvium -C my-views dead-letters drop --source orders --until 2026-11-01T00:00:00Z --yes

`drop` removes the letters and nothing else: no view changes.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Count events that were set aside, and list the first of them
    List {
        #[command(flatten)]
        which: Which,
        /// List at most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// How they are written; `csv` and `json` list all that are selected, without the counts
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Show events that were set aside whole, with headers and body
    Show {
        #[command(flatten)]
        which: Which,
        /// Show at most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// How they are written
        #[arg(long, value_enum, default_value_t = Shape::Table)]
        format: Shape,
    },
    /// Remove letters that are no longer needed
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Which letters are meant.
#[derive(Debug, Args)]
struct Which {
    /// Of this source
    #[arg(long)]
    source: Option<String>,
    /// That this view could not apply; those that no view of the source could apply name no view
    #[arg(long)]
    view: Option<String>,
    /// Of this kind, such as wrong_type or expression
    #[arg(long)]
    kind: Option<String>,
    /// With this sequence
    #[arg(long)]
    sequence: Option<u64>,
    /// Of events stored at or after a time (2026-11-01T00:00:00Z), or in the last `1 day`
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Of events stored before a time (2026-11-01T00:00:00Z), or longer than `1 day` ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
}

/// A time, or a length of time before now.
fn time(text: &str) -> Result<SystemTime, String> {
    if let Ok(ago) = humantime::parse_duration(text) {
        return SystemTime::now().checked_sub(ago).ok_or_else(|| format!("{text} is too long ago"));
    }
    humantime::parse_rfc3339_weak(text)
        .map_err(|_| "write a time as 2026-11-01T00:00:00Z, or a length of time as '1 day'".to_owned())
}

impl Which {
    fn selection(&self) -> Selection {
        let ns = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
            i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
        };
        Selection {
            source: self.source.clone(),
            view: self.view.clone(),
            kind: self.kind.clone(),
            sequence: self.sequence,
            since_ns: self.since.map(ns),
            until_ns: self.until.map(ns),
        }
    }
}

impl DeadLetters {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let layout = global.layout()?;
        runtime()?.block_on(async {
            match &self.action {
                Action::List { which, limit, format } => list(&layout, &which.selection(), *limit, *format).await,
                Action::Show { which, limit, format } => show(&layout, &which.selection(), *limit, *format).await,
                Action::Drop { which, yes } => drop(&layout, &which.selection(), *yes).await,
            }
        })
    }
}

const LISTED: [&str; 7] = ["source", "sequence", "view", "kind", "timestamp", "subject", "error"];

async fn list(layout: &Layout, selection: &Selection, limit: usize, format: Format) -> Result<(), Error> {
    let Some(letters) = dead_letters::select(layout, selection).await? else { return none(format) };
    let letters = letters.select(LISTED.map(col).to_vec())?;
    if format != Format::Table {
        return write(crate::query::Answer::of(letters), format, out()).await;
    }
    if let Some(counts) = dead_letters::counts(layout, selection).await? {
        write(crate::query::Answer::of(counts), format, out()).await?;
    }
    write(crate::query::Answer::of(letters.limit(0, Some(limit))?), format, out()).await
}

fn none(format: Format) -> Result<(), Error> {
    if format == Format::Table { print("no event was set aside\n") } else { Ok(()) }
}

fn out() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::new(io::stdout().lock())
}

async fn show(layout: &Layout, selection: &Selection, limit: usize, format: Shape) -> Result<(), Error> {
    let letters = match dead_letters::select(layout, selection).await? {
        Some(letters) => rows(letters.limit(0, Some(limit))?).await?,
        None => Vec::new(),
    };
    if format == Shape::Json {
        let letters: Vec<serde_json::Map<String, serde_json::Value>> =
            letters.into_iter().map(|letter| letter.into_iter().map(|(name, value)| (name, value.into())).collect()).collect();
        return print(&json(&letters)?);
    }
    let mut text = String::new();
    for letter in &letters {
        for (name, value) in letter {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:>10}  {value}");
        }
        text.push('\n');
    }
    print(if text.is_empty() { "no such event was set aside\n" } else { &text })
}

/// The columns of each letter that are not NULL, as text; a body that is no text in hexadecimal digits, under another name.
async fn rows(letters: DataFrame) -> Result<Vec<Vec<(String, String)>>, Error> {
    let mut all = Vec::new();
    for batch in letters.collect().await? {
        for row in 0..batch.num_rows() {
            all.push(one(&batch, row)?);
        }
    }
    Ok(all)
}

fn one(batch: &RecordBatch, row: usize) -> Result<Vec<(String, String)>, Error> {
    let options = FormatOptions::default();
    let mut letter = Vec::new();
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()).filter(|(_, column)| column.is_valid(row)) {
        let bytes = (*field.data_type() == DataType::Binary).then(|| column.as_binary::<i32>().value(row));
        letter.push(match bytes.map(std::str::from_utf8) {
            Some(Ok(text)) => (field.name().clone(), text.to_owned()),
            Some(Err(_)) => (format!("{}_hex", field.name()), hex(bytes.unwrap_or_default())),
            None => {
                let formatter = ArrayFormatter::try_new(column, &options)
                    .map_err(|error| Error::bug(format!("a column of dead letters: {error}")))?;
                (field.name().clone(), formatter.value(row).to_string())
            }
        });
    }
    Ok(letter)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

async fn drop(layout: &Layout, selection: &Selection, yes: bool) -> Result<(), Error> {
    let count = dead_letters::count_of(layout, selection).await?;
    if count == 0 {
        return print("no such event was set aside\n");
    }
    if !yes && !super::drop::confirmed(&format!("{count} dead letters"))? {
        return Err(Error::config(format!("{count} dead letters are left as they are"), "say y, or give --yes"));
    }
    let dropped = dead_letters::drop(layout, selection).await?;
    print(&format!("dropped {dropped} dead letters\n"))
}
