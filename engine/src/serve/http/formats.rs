//! Sends the rows of a query, batch by batch as they are produced, in the format that the client asks for.

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder as CsvWriter;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::arrow::json::WriterBuilder as JsonWriter;
use datafusion::arrow::json::writer::LineDelimited;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use tokio::time::timeout_at;

use super::app::Turn;
use super::refusal::Refusal;
use crate::error::Error;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// One JSON object a line.
    JsonLines,
    /// One JSON array of objects.
    JsonArray,
    /// With a header line of column names.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

const WRITE: &str = "write jsonl, json, csv or arrow";

impl Format {
    /// Chooses by the parameter `format`, then by the header Accept, or takes `otherwise`.
    pub(super) fn of(parameter: Option<&str>, headers: &HeaderMap, otherwise: Format) -> Result<Format, Refusal> {
        if let Some(name) = parameter {
            return match name {
                "jsonl" | "ndjson" => Ok(Format::JsonLines),
                "json" => Ok(Format::JsonArray),
                "csv" => Ok(Format::Csv),
                "arrow" => Ok(Format::Arrow),
                _ => Err(Refusal::wrong(format!("there is no format '{name}'"), WRITE)),
            };
        }
        let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let names = accepted.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
        let mut known = names.filter_map(|name| match name {
            "application/x-ndjson" | "application/jsonl" | "application/json-lines" => Some(Format::JsonLines),
            "application/json" => Some(Format::JsonArray),
            "text/csv" => Some(Format::Csv),
            "application/vnd.apache.arrow.stream" => Some(Format::Arrow),
            _ => None,
        });
        Ok(known.next().unwrap_or(otherwise))
    }

    fn content_type(self) -> &'static str {
        match self {
            Format::JsonLines => "application/x-ndjson",
            Format::JsonArray => "application/json",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Writes batches in a format.
enum Encoder {
    Lines,
    Array { began: bool },
    Csv { began: bool },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    fn new(format: Format, schema: &SchemaRef) -> Result<Encoder, ArrowError> {
        Ok(match format {
            Format::JsonLines => Encoder::Lines,
            Format::JsonArray => Encoder::Array { began: false },
            Format::Csv => Encoder::Csv { began: false },
            Format::Arrow => Encoder::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
        })
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<Bytes, ArrowError> {
        match self {
            Encoder::Lines => json_lines(batch).map(Bytes::from),
            Encoder::Array { began } => {
                let lines = json_lines(batch)?;
                let mut out = Vec::with_capacity(lines.len() + 2);
                // A line holds no line feed of its own: JSON escapes it.
                for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    out.extend_from_slice(if *began { b",\n" } else { b"[" });
                    *began = true;
                    out.extend_from_slice(line);
                }
                Ok(out.into())
            }
            Encoder::Csv { began } => {
                let mut out = Vec::new();
                CsvWriter::new().with_header(!*began).build(&mut out).write(batch)?;
                *began = true;
                Ok(out.into())
            }
            Encoder::Arrow(writer) => {
                writer.write(batch)?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
        }
    }

    fn finish(&mut self, schema: &SchemaRef) -> Result<Bytes, ArrowError> {
        match self {
            Encoder::Lines | Encoder::Csv { began: true } => Ok(Bytes::new()),
            Encoder::Csv { began: false } => self.encode(&RecordBatch::new_empty(SchemaRef::clone(schema))),
            Encoder::Array { began } => Ok(Bytes::from_static(if *began { b"]\n" } else { b"[]\n" })),
            Encoder::Arrow(writer) => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
        }
    }
}

/// Encodes rows as JSON, one object a line. A NULL is a member, too.
pub(super) fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut out = Vec::new();
    let mut writer = JsonWriter::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut out);
    writer.write(batch)?;
    writer.finish()?;
    Ok(out)
}

/// Answers with the rows of a stream. What fails before the first batch is a [`Refusal`]; what fails later cuts the response short, so that
/// no client takes it for whole. The query ends when the client goes away.
pub(super) async fn send(
    mut stream: SendableRecordBatchStream,
    format: Format,
    turn: Turn,
    headers: &[(header::HeaderName, String)],
) -> Result<Response, Refusal> {
    let schema = stream.schema();
    let mut encoder = Encoder::new(format, &schema).map_err(unfit)?;
    let first = timeout_at(turn.deadline, stream.try_next()).await.map_err(|_| overdue())?.map_err(Error::from)?;
    let mut next = match &first {
        Some(batch) => Some(encoder.encode(batch).map_err(unfit)?),
        None => None,
    };
    let begins = next.take();
    let rest = futures::stream::try_unfold(Some((stream, encoder, turn)), move |state| {
        let schema = SchemaRef::clone(&schema);
        async move {
            let Some((mut stream, mut encoder, turn)) = state else { return Ok(None) };
            let read = timeout_at(turn.deadline, stream.try_next()).await.map_err(|_| cut("it took too long"))?;
            match read.map_err(cut)? {
                Some(batch) => {
                    let bytes = encoder.encode(&batch).map_err(cut)?;
                    Ok(Some((bytes, Some((stream, encoder, turn)))))
                }
                None => Ok::<_, std::io::Error>(Some((encoder.finish(&schema).map_err(cut)?, None))),
            }
        }
    });
    let all = futures::StreamExt::chain(futures::stream::iter(begins.map(Ok)), rest);
    let mut response = Response::builder().status(StatusCode::OK).header(header::CONTENT_TYPE, format.content_type());
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from_stream(all)).map_err(|error| Error::bug(format!("a response: {error}")).into())
}

fn unfit(error: ArrowError) -> Refusal {
    Refusal::wrong(error.to_string(), "this format cannot hold such values: choose another, or cast the column")
}

fn overdue() -> Refusal {
    Refusal::wrong("the query took too long", "ask for less; `query_timeout` in alluvium.toml allows more")
        .with_code(StatusCode::GATEWAY_TIMEOUT)
}

fn cut(error: impl std::fmt::Display) -> std::io::Error {
    tracing::warn!("a response was cut short: {error}");
    std::io::Error::other(error.to_string())
}
