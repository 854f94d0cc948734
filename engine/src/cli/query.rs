//! `alluvium query`.

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use datafusion::arrow::csv::WriterBuilder as CsvWriter;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::arrow::util::display::FormatOptions;
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;
use futures::TryStreamExt;

use super::global::{Global, runtime};
use crate::error::Error;
use crate::query::declared::Declared;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views query 'SELECT * FROM revenue_by_country ORDER BY revenue DESC LIMIT 10'
  alluvium -C my-views query 'SELECT country, count(*) FROM orders GROUP BY country' --limit-events 100000
  alluvium -C my-views query 'SHOW TABLES'
  alluvium -C my-views query 'SELECT * FROM revenue_by_country' --format csv > revenue.csv

It reads the last commit of each view; views that read each other are read at the same commit. It works with or without an engine. A query
may also name a source, whose events it reads up to the end that the source has then, and a plain view (CREATE VIEW). A note says if
--limit-events cut the events of a source. A row of it on which an expression fails ends the query, where a view would leave the row out.";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// With a header line of column names
    Csv,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Query {
    /// A SELECT
    sql: String,
    /// The format of rows
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The most events to read of a source that the query names
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    limit_events: u64,
}

impl Query {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let layout = global.layout()?;
        runtime()?.block_on(async {
            let load = || global.project();
            let declared = Declared { load: &load, limit_events: self.limit_events };
            let answer = crate::query::query(&layout, &self.sql, Some(&declared)).await?;
            for note in answer.notes() {
                let _ = writeln!(io::stderr(), "note: {note}");
            }
            write(answer, self.format, BufWriter::new(io::stdout().lock())).await
        })
    }
}

/// Writes an answer. Rows are streamed, except for a table, whose column widths depend on all rows.
pub(super) async fn write(answer: crate::query::Answer, format: Format, mut out: impl Write) -> Result<(), Error> {
    let mut stream = answer.stream_here().await?;
    match format {
        Format::Table => {
            let schema = stream.schema();
            let batches: Vec<_> = stream.try_collect().await?;
            let options = FormatOptions::default().with_null("NULL");
            let text = if batches.is_empty() {
                pretty_format_batches_with_options(&[arrow::array::RecordBatch::new_empty(schema)], &options)
            } else {
                pretty_format_batches_with_options(&batches, &options)
            };
            writeln!(out, "{}", text.map_err(arrow_error)?).map_err(output)?;
        }
        Format::Csv => {
            let mut writer = CsvWriter::new().with_header(true).build(&mut out);
            let schema = stream.schema();
            let mut written = false;
            while let Some(batch) = stream.try_next().await? {
                writer.write(&batch).map_err(arrow_error)?;
                written = true;
            }
            if !written {
                writer.write(&arrow::array::RecordBatch::new_empty(schema)).map_err(arrow_error)?;
            }
        }
        Format::Json => {
            let mut writer = LineDelimitedWriter::new(&mut out);
            while let Some(batch) = stream.try_next().await? {
                writer.write(&batch).map_err(arrow_error)?;
            }
            writer.finish().map_err(arrow_error)?;
        }
    }
    out.flush().map_err(output)
}

fn output(error: io::Error) -> Error {
    Error::io("writing", "standard output", error)
}

fn arrow_error(error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => output(error),
        ArrowError::CsvError(message) if message.contains("Broken pipe") => output(io::ErrorKind::BrokenPipe.into()),
        error => Error::config(error.to_string(), "this format cannot hold such values: choose another, or cast the column"),
    }
}
