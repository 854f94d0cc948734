//! The declaration of a source whose events have a schema: columns and types are those of the schema, and the sample shows how many events have
//! a value, and which do not fit. Nothing is guessed.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;

use alluvium_sql::{Source, SqlFile};
use datafusion::arrow::array::Array;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::declaration::{Found, Inferred};
use super::names::written;
use super::place::Place;
use crate::error::Error;
use crate::project::{Beside, Project, catalog_of};
use crate::query::sql_types::declared_type;
use crate::sample::{self, Sample, Wanted};
use crate::settings::Settings;

/// The columns of the message that are declared beside those of the schema.
const OF_MESSAGE: &str = "_sequence BIGINT UNSIGNED, _subject VARCHAR, _timestamp TIMESTAMP";
/// The most distinct values of a column that are counted.
const MOST_DISTINCT: usize = 100_000;

/// What the sample shows of a column.
#[derive(Default)]
struct Shown {
    present: u64,
    unfit: u64,
    /// Why the first value that does not fit does not.
    why: Option<String>,
    distinct: HashSet<String>,
}

/// Declares a place whose options name a schema, and samples it.
///
/// # Errors
/// The schema cannot be used; those of the source.
pub(super) async fn infer(place: &Place, name: &str, sample: u64, dir: &Path, settings: &Settings) -> Result<Inferred, Error> {
    let sql = place.statement(name, OF_MESSAGE, place.options());
    let file = SqlFile { path: "the declaration".to_owned(), text: sql.clone() };
    let catalog = catalog_of(&[file], dir, &Beside::nothing_kept(settings))?;
    let source = catalog.sources.values().next().filter(|source| source.of_schema > 0);
    let source = source.ok_or_else(|| {
        let help = "a schema goes with format 'json', and with 'avro' and 'protobuf' of a stream";
        Error::config(format!("{}: its format takes no columns of a schema", place.shown()), help)
    })?;
    let wanted = Wanted::BothEnds(sample);
    let opened = sample::open(Project::source(dir, settings, &sql)?, wanted)?;
    let sampled = sample::read(&opened, wanted, settings.source_timeout).await?;
    let shown = shown(source, &sampled)?;
    let letters: Vec<_> = sampled.batches.iter().flat_map(|batch| batch.dead_letters.iter()).collect();

    let of = sampled.held.filter(|held| *held > sampled.events).map_or_else(String::new, |held| format!(" of {held}"));
    let mut text = format!("-- The columns of the schema. Sampled were {}{of} events of {}.\n", sampled.events, place.shown());
    if let Some(first) = letters.first() {
        let (count, sequence) = (letters.len(), first.sequence);
        let error = first.error.replace(|letter: char| letter.is_control(), " ");
        let _ = writeln!(
            text,
            "-- {count} of these do not decode and become dead letters, the first with sequence {sequence}:\n--   {error}"
        );
    }
    let columns = columns(source, &shown, sampled.events.saturating_sub(letters.len() as u64));
    text.push_str(&place.declared(name, &columns, &[]));
    let found = source.schema.fields().iter().take(source.of_schema).zip(&shown).map(|(field, shown)| found(field, shown));
    Ok(Inferred {
        sql: text,
        name: name.to_owned(),
        columns: found.collect(),
        is_stream: place.is_stream(),
        event_type: None,
        events: sampled.events,
        undecodable: letters.len() as u64,
    })
}

/// Returns what the sample shows of each column of the schema.
fn shown(source: &Source, sampled: &Sample) -> Result<Vec<Shown>, Error> {
    let mut all: Vec<Shown> = (0..source.of_schema).map(|_| Shown::default()).collect();
    for batch in &sampled.batches {
        for (column, shown) in batch.rows.columns().iter().zip(&mut all) {
            shown.present += (column.len() - column.logical_null_count()) as u64;
            if column.data_type().is_nested() {
                continue;
            }
            let options = FormatOptions::default();
            let wrong = |error| Error::bug(format!("a sampled column cannot be shown: {error}"));
            let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(wrong)?;
            for row in (0..column.len()).filter(|row| column.is_valid(*row)) {
                if shown.distinct.len() < MOST_DISTINCT {
                    shown.distinct.insert(formatter.value(row).to_string());
                }
            }
        }
        for unfit in &batch.unfit {
            if let Some(shown) = all.get_mut(unfit.column) {
                shown.unfit += 1;
                shown.why.get_or_insert_with(|| unfit.error.clone());
            }
        }
    }
    Ok(all)
}

/// Writes the columns, each with a comment.
fn columns(source: &Source, shown: &[Shown], decoded: u64) -> String {
    let fields = source.schema.fields();
    let width = fields.iter().map(|field| written(field.name()).chars().count()).max().unwrap_or_default().clamp(10, 30);
    let mut text = String::from("\n");
    for (field, shown) in fields.iter().take(source.of_schema).zip(shown) {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        let _ = write!(text, "  {:width$} {}{not_null},", written(field.name()), declared_type(field.data_type(), &written));
        let _ = write!(text, "  -- in {} of {decoded}", shown.present);
        if let Some(why) = &shown.why {
            let why = why.replace(|letter: char| letter.is_control(), " ");
            let _ = write!(text, "; {} do not fit: {why}", shown.unfit);
        }
        let path =
            |note: &&String| note.split(':').next().is_some_and(|path| path.split('.').next() == Some(field.name().as_str()));
        for note in source.notes.iter().filter(path) {
            let _ = write!(text, "; {}", note.replace(|letter: char| letter.is_control(), " "));
        }
        text.push('\n');
    }
    let _ = writeln!(text, "  {:width$} BIGINT UNSIGNED,  -- from the message, as are the next", "_sequence");
    let _ = writeln!(text, "  {:width$} VARCHAR,", "_subject");
    let _ = writeln!(text, "  {:width$} TIMESTAMP", "_timestamp");
    text
}

fn found(field: &Field, shown: &Shown) -> Found {
    let data_type = field.data_type();
    Found {
        written: written(field.name()),
        name: field.name().clone(),
        is_time: matches!(data_type, DataType::Date32 | DataType::Timestamp(..)),
        is_scalar: !data_type.is_nested(),
        is_text: *data_type == DataType::Utf8,
        can_be_key: data_type.is_integer() || *data_type == DataType::Utf8,
        not_null: !field.is_nullable(),
        present: shown.present,
        distinct: shown.distinct.len() as u64,
    }
}
