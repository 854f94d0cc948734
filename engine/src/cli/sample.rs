//! `alluvium sample`.

use std::collections::HashSet;

use alluvium_connectors::source::Batch;
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use clap::Args;

use super::global::{Global, Shape, json, print, runtime};
use super::table;
use crate::error::Error;
use crate::project::Project;
use crate::sample::{self, Sample as Events, Wanted};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views sample orders                      the first events
  alluvium -C my-views sample orders --last 20
  alluvium -C my-views sample orders --from 1204 --limit 5
  alluvium -C my-views sample orders --last 1000 --format json | jq '.not_decoded[].error'

It reads the source as a run would, with all columns, and says of each value that does not fit its column why. Nothing is committed, and
nothing is left on the server.";

/// How many events are shown if nothing is said.
const LIMIT: u64 = 20;
/// The most letters of a value and of a payload in the table.
const CELL: usize = 60;
const PAYLOAD: usize = 100;

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sample {
    /// A source that an SQL file declares
    source: String,
    /// The most events to read
    #[arg(long, value_name = "N", default_value_t = LIMIT)]
    limit: u64,
    /// Begin at this sequence
    #[arg(long, value_name = "SEQUENCE")]
    from: Option<u64>,
    /// Read the last N events
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "limit"])]
    last: Option<u64>,
    /// The format of the answer
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
}

/// The answer of `--format json`.
#[derive(serde::Serialize)]
struct Answer {
    source: String,
    /// One object for each row, with its sequence in `_sequence`.
    rows: Vec<serde_json::Value>,
    not_decoded: Vec<NotDecoded>,
}

/// An event, or a value of one, that does not decode.
#[derive(serde::Serialize)]
struct NotDecoded {
    sequence: u64,
    /// The column that the value does not fit; none if the whole event does not decode.
    column: Option<String>,
    kind: &'static str,
    error: String,
    payload: String,
}

impl Sample {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let project = global.project()?;
        let wanted = match (self.last, self.from) {
            (Some(last), _) => Wanted::Last(last),
            (None, Some(sequence)) => Wanted::From { sequence, limit: self.limit },
            (None, None) => Wanted::First(self.limit),
        };
        let config = of_name(&project, &self.source)?;
        let names: Vec<String> = config.declared.fields().iter().map(|field| field.name().clone()).collect();
        let source = sample::open(config, wanted)?;
        let events = runtime()?.block_on(sample::read(&source, wanted, project.settings.source_timeout))?;
        let not_decoded: Vec<NotDecoded> =
            events.batches.iter().flat_map(|batch| not_decoded(batch, &self.source, &names)).collect();
        match self.format {
            Shape::Json => {
                let rows = events.batches.iter().map(objects).collect::<Result<Vec<_>, _>>()?.concat();
                print(&json(&Answer { source: self.source.clone(), rows, not_decoded })?)
            }
            Shape::Table => print(&text(&events, &names, &not_decoded)?),
        }
    }
}

/// Returns the declaration of a source.
fn of_name(project: &Project, name: &str) -> Result<alluvium_connectors::source::SourceConfig, Error> {
    project.sources.get(name).cloned().ok_or_else(|| {
        let names = || project.sources.keys().map(String::as_str);
        let help = match alluvium_sql::nearest(name, names()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("declared are: {}", alluvium_sql::listed(names())),
        };
        Error::config(format!("no SQL file declares a source {name}"), help)
    })
}

fn not_decoded(batch: &Batch, source: &str, names: &[String]) -> Vec<NotDecoded> {
    let payload = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let letters = batch.dead_letters.iter().map(|letter| NotDecoded {
        sequence: letter.sequence,
        column: None,
        kind: letter.kind,
        error: letter.error.clone(),
        payload: payload(&letter.payload),
    });
    let unfit = batch.unfit.iter().map(|unfit| {
        let column = names.get(unfit.column).cloned().unwrap_or_default();
        let letter = batch.unfit_letter(source, &column, "", unfit);
        NotDecoded {
            sequence: letter.sequence,
            column: Some(column),
            kind: letter.kind,
            payload: payload(&letter.payload),
            error: letter.error,
        }
    });
    let mut all: Vec<NotDecoded> = letters.chain(unfit).collect();
    all.sort_by_key(|one| one.sequence);
    all
}

/// Returns each row as an object. A value that does not fit is NULL.
fn objects(batch: &Batch) -> Result<Vec<serde_json::Value>, Error> {
    let mut lines = Vec::new();
    let wrong = |error: arrow::error::ArrowError| Error::bug(format!("writing rows as JSON: {error}"));
    let mut writer = datafusion::arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, datafusion::arrow::json::writer::LineDelimited>(&mut lines);
    writer.write(&batch.rows).and_then(|()| writer.finish()).map_err(wrong)?;
    drop(writer);
    let mut rows: Vec<serde_json::Value> = serde_json::Deserializer::from_slice(&lines)
        .into_iter()
        .collect::<Result<_, _>>()
        .map_err(|error| Error::bug(format!("rows as JSON: {error}")))?;
    for (row, object) in rows.iter_mut().enumerate() {
        let Some(members) = object.as_object_mut() else { continue };
        members.insert("_sequence".to_owned(), batch.sequences.value(row).into());
        let from = batch.unfit.partition_point(|unfit| unfit.row < row);
        for unfit in batch.unfit.iter().skip(from).take_while(|unfit| unfit.row == row) {
            members.insert(batch.rows.schema_ref().field(unfit.column).name().clone(), serde_json::Value::Null);
        }
    }
    Ok(rows)
}

fn text(events: &Events, names: &[String], not_decoded: &[NotDecoded]) -> Result<String, Error> {
    let own = |name: &&String| name.as_str() != "_sequence";
    let header: Vec<&str> = std::iter::once("_sequence").chain(names.iter().filter(own).map(String::as_str)).collect();
    let mut rows = table::plain(&header);
    for batch in &events.batches {
        for cells in cells(batch)? {
            rows.add_row(cells);
        }
    }
    let mut text = format!("{rows}\n");
    if !not_decoded.is_empty() {
        let mut why = table::plain(&["sequence", "column", "kind", "error", "payload"]);
        for one in not_decoded {
            let column = one.column.clone().unwrap_or_else(|| "(all)".to_owned());
            let (error, payload) = (shortened(&one.error, 2 * PAYLOAD), shortened(&one.payload, PAYLOAD));
            why.add_row([one.sequence.to_string(), column, one.kind.to_owned(), error, payload]);
        }
        text.push_str(&format!("\ndid not decode:\n{why}\n"));
    }
    let of = events.held.map_or_else(String::new, |held| format!(" of {held}"));
    text.push_str(&format!("\n{}{of} events", events.events));
    let bad: std::collections::BTreeSet<u64> = not_decoded.iter().map(|one| one.sequence).collect();
    text.push_str(&match bad.len() {
        0 => ", all decode\n".to_owned(),
        count => format!(", {count} with values that do not fit\n"),
    });
    Ok(text)
}

/// Returns the cells of each row, the sequence first.
fn cells(batch: &Batch) -> Result<Vec<Vec<String>>, Error> {
    let rows: &RecordBatch = &batch.rows;
    let wrong = |error: arrow::error::ArrowError| Error::bug(format!("showing rows: {error}"));
    let options = FormatOptions::default().with_null("NULL");
    let columns = rows.columns().iter().enumerate().filter(|(index, _)| rows.schema_ref().field(*index).name() != "_sequence");
    let columns: Vec<(usize, ArrayFormatter<'_>)> = columns
        .map(|(index, column)| Ok((index, ArrayFormatter::try_new(column.as_ref(), &options).map_err(wrong)?)))
        .collect::<Result<_, Error>>()?;
    let unfit: HashSet<(usize, usize)> = batch.unfit.iter().map(|unfit| (unfit.row, unfit.column)).collect();
    let cell = |row: usize, (index, column): &(usize, ArrayFormatter<'_>)| match unfit.contains(&(row, *index)) {
        true => "(does not fit)".to_owned(),
        false => shortened(&column.value(row).to_string(), CELL),
    };
    let row = |row: usize| {
        std::iter::once(batch.sequences.value(row).to_string()).chain(columns.iter().map(|column| cell(row, column))).collect()
    };
    Ok((0..rows.num_rows()).map(row).collect())
}

/// A text on one line of at most so many letters.
fn shortened(text: &str, letters: usize) -> String {
    let mut short: String = text.chars().take(letters).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if text.chars().nth(letters).is_some() {
        short.push_str("...");
    }
    short
}
