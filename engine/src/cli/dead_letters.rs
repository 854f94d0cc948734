//! `alluvium dead-letters`: lists, shows, retries and drops events that were set aside.

mod retry;

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
use crate::progress::Progress;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views dead-letters list                              counts by source, view and kind, and the first letters
  alluvium -C my-views dead-letters list --kind wrong_type --since '1 day'
  alluvium -C my-views dead-letters show --source orders --sequence 17
  alluvium -C my-views dead-letters retry --view revenue              after the query or the program has been mended
  alluvium -C my-views query 'SELECT kind, count(*) FROM dead_letters GROUP BY kind'
  alluvium -C my-views dead-letters drop --source orders --until 2026-11-01T00:00:00Z --yes

`retry` rebuilds the views that could not apply the events, since each event belongs where its sequence puts it, and says what is
still set aside. A change of a view's query or of its source rebuilds it by itself. `drop` removes the letters and nothing else.";

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
        /// The largest number to list
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// The format; `csv` and `json` list all selected letters, without counts
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Show events that were set aside in full, with headers and body
    Show {
        #[command(flatten)]
        which: Which,
        /// The largest number to show
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// The format of the letters
        #[arg(long, value_enum, default_value_t = Shape::Table)]
        format: Shape,
    },
    /// Apply events that were set aside, after what kept them out has been mended: rebuilds the views that they concern
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Remove dead letters that are no longer needed
    Drop {
        #[command(flatten)]
        which: Which,
        /// Do not ask for confirmation
        #[arg(short, long)]
        yes: bool,
    },
}

/// Selects letters.
#[derive(Debug, Args)]
struct Which {
    /// Events of this source
    #[arg(long)]
    source: Option<String>,
    /// Events that this view could not apply; letters about all views of a source name no view
    #[arg(long)]
    view: Option<String>,
    /// Letters of this kind, such as wrong_type or expression
    #[arg(long)]
    kind: Option<String>,
    /// Events with this sequence
    #[arg(long)]
    sequence: Option<u64>,
    /// Events stored at or after a time (2026-11-01T00:00:00Z), or within the last `1 day`
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<SystemTime>,
    /// Events stored before a time (2026-11-01T00:00:00Z), or more than `1 day` ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<SystemTime>,
}

/// Parses a time, or a length of time before now.
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
    pub(super) fn run(&self, global: &Global, progress: &Progress) -> Result<(), Error> {
        let layout = global.layout()?;
        if let Action::Retry { which } = &self.action {
            return retry::retry(global, &which.selection(), progress);
        }
        runtime()?.block_on(async {
            match &self.action {
                Action::List { which, limit, format } => list(&layout, &which.selection(), *limit, *format).await,
                Action::Show { which, limit, format } => show(&layout, &which.selection(), *limit, *format).await,
                Action::Drop { which, yes } => drop(&layout, &which.selection(), *yes).await,
                Action::Retry { .. } => Ok(()),
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

/// Returns the columns of each letter that are not NULL, as text. Bytes that are not UTF-8 are written in hexadecimal digits, under a
/// name that ends in `_hex`.
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
        return Err(Error::config(format!("{count} dead letters were not dropped"), "answer y, or give --yes"));
    }
    let dropped = dead_letters::drop(layout, selection).await?;
    print(&format!("dropped {dropped} dead letters\n"))
}
