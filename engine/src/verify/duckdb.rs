//! Has DuckDB compute a view: over the same events, as Parquet files, with the text of its statements. What DuckDB cannot run, or reads
//! otherwise than PostgreSQL, it cannot judge.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use alluvium_connectors::durable;
use alluvium_sql::{Emit, RelationKind, View};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::execution::TaskContext;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::errors::ParquetError;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;

use super::query::Queries;
use super::spool::{Spool, SpoolFolder};
use super::table::SpoolTable;
use super::unknown::Unknown;
use crate::error::Error;
use crate::project::Project;

/// Settings under which it reads SQL as PostgreSQL does.
const SETTINGS: &str = "SET integer_division = true; SET default_null_order = 'nulls_last_on_asc_first_on_desc'; SET TimeZone = 'UTC';\n\
                        SET autoinstall_known_extensions = false; SET autoload_known_extensions = false;\n";

/// Computes the last view of a chain. Each of the others is one that it reads, with the offsets up to which the events count.
///
/// # Errors
/// [`Unknown`] where DuckDB cannot run the SQL. Errors of the disk, and of a program that cannot be started.
pub(super) async fn answer(
    program: &Path,
    project: &Project,
    queries: &Queries<'_>,
    chain: &[(&View, BTreeMap<String, u64>)],
    memory: usize,
) -> Result<Result<Spool, Unknown>, Error> {
    let Some((asked, _)) = chain.last() else { return Err(Error::bug("no view to compute")) };
    let mut script = format!(
        "{SETTINGS}SET memory_limit = '{}MiB'; SET temp_directory = '{}';\n",
        (memory >> 20).max(1),
        quoted(queries.folder.path())
    );
    for (view, offsets) in chain {
        if view.options.emit != Emit::Changes || view.options.retain.is_some() {
            return Ok(Err(Unknown(format!("view {} is bounded by a watermark, which DuckDB does not know", view.name))));
        }
        for (_, source) in view.plan.reads.iter().filter(|(kind, _)| *kind == RelationKind::Source) {
            let declared = project.catalog.sources.get(source);
            if declared.is_none_or(|declared| declared.changes.is_some() || declared.once.is_some()) {
                return Ok(Err(Unknown(format!(
                    "source {source} stands for other rows than its events, which DuckDB does not know"
                ))));
            }
            let file = match write(queries.source(view, source, offsets).await?, queries.folder).await? {
                Ok(file) => file,
                Err(error) => return Ok(Err(Unknown(format!("the events of {source} cannot be given to DuckDB: {error}")))),
            };
            let _ = writeln!(script, "CREATE OR REPLACE VIEW \"{source}\" AS FROM read_parquet('{}');", quoted(&file));
        }
        let query = query_of(&view.sql);
        // By value, since the sources of the next view are cut at offsets of their own.
        let _ = writeln!(script, "CREATE TABLE \"{}\" AS {query}\n;", view.name);
    }
    let result = queries.folder.path().join(format!("{}.parquet", durable::unique()));
    let _ = writeln!(script, "COPY (FROM \"{}\") TO '{}' (FORMAT parquet);", asked.name, quoted(&result));
    match run(program, &script)? {
        Err(said) => Ok(Err(Unknown(format!("DuckDB cannot run its SQL: {said}")))),
        Ok(()) => {
            Ok(read(&result, asked, queries.folder)?
                .map_err(|error| Unknown(format!("DuckDB's answer has other columns: {error}"))))
        }
    }
}

fn quoted(path: &Path) -> String {
    path.display().to_string().replace('\'', "''")
}

/// The text after the AS of `CREATE MATERIALIZED VIEW name [WITH (...)] AS`.
fn query_of(statement: &str) -> &str {
    let (mut depth, mut quote, mut word) = (0_usize, None, 0..0);
    for (at, character) in statement.char_indices().chain([(statement.len(), ' ')]) {
        if quote.is_none() && (character.is_alphanumeric() || character == '_') {
            word = if word.end == at { word.start..at + character.len_utf8() } else { at..at + character.len_utf8() };
            continue;
        }
        let is_word = quote.is_none() && depth == 0 && word.end == at;
        if is_word && statement.get(word.clone()).is_some_and(|word| word.eq_ignore_ascii_case("AS")) {
            return statement.get(at..).unwrap_or_default();
        }
        match (quote, character) {
            (Some(open), _) if open == character => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    statement
}

/// Writes the rows of a table as a Parquet file. The inner error is that of a type that Parquet does not have.
async fn write(table: SpoolTable, folder: &SpoolFolder) -> Result<Result<PathBuf, ParquetError>, Error> {
    let path = folder.path().join(format!("{}.parquet", durable::unique()));
    let file = File::create_new(&path).map_err(|error| Error::io("creating", &path, error))?;
    let mut writer = match ArrowWriter::try_new(file, Arc::clone(PartitionStream::schema(&table)), None) {
        Ok(writer) => writer,
        Err(error) => return Ok(Err(error)),
    };
    let mut batches = table.execute(Arc::new(TaskContext::default()));
    while let Some(batch) = batches.next().await {
        if let Err(error) = writer.write(&batch?) {
            return Ok(Err(error));
        }
    }
    Ok(writer.close().map(|_| path))
}

/// Runs a script. The inner error is the first line of what DuckDB says.
fn run(program: &Path, script: &str) -> Result<Result<(), String>, Error> {
    let failed = |error| Error::io("running", program, error);
    let mut command = Command::new(program);
    command.args(["-init", "/dev/null", "-batch", "-bail"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // It ends early where a statement fails, and says why.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.success() {
        true => Ok(Ok(())),
        false => Ok(Err(said.trim().lines().next().unwrap_or("no reason").to_owned())),
    }
}

/// Reads DuckDB's answer in the types of the view.
fn read(path: &Path, view: &View, folder: &SpoolFolder) -> Result<Result<Spool, ArrowError>, Error> {
    let schema = &view.plan.schema;
    let mut spool = folder.writer(schema)?;
    let file = File::open(path).map_err(|error| Error::io("opening", path, error))?;
    let unread = |error: datafusion::parquet::errors::ParquetError| Error::bug(format!("DuckDB's answer: {error}"));
    let exactly = CastOptions { safe: false, ..CastOptions::default() };
    for batch in ParquetRecordBatchReaderBuilder::try_new(file).map_err(unread)?.build().map_err(unread)? {
        let cast = batch.and_then(|batch| {
            let columns = batch.columns().iter().zip(schema.fields());
            let columns = columns
                .map(|(column, field)| cast_with_options(column, field.data_type(), &exactly))
                .collect::<Result<_, _>>()?;
            RecordBatch::try_new(Arc::clone(schema), columns)
        });
        match cast {
            Ok(rows) => spool.write(&rows)?,
            Err(error) => return Ok(Err(error)),
        }
    }
    spool.finish().map(Ok)
}

#[cfg(test)]
mod tests {
    use super::query_of;

    #[test]
    fn the_query_of_a_statement_follows_its_as() {
        for (statement, query) in [
            ("CREATE MATERIALIZED VIEW v AS SELECT 1 AS x", " SELECT 1 AS x"),
            ("CREATE MATERIALIZED VIEW \"as\" WITH (commit_interval = '1 s as') AS\nSELECT x", "\nSELECT x"),
            ("create materialized view bias\nas(select 1)", "(select 1)"),
        ] {
            assert_eq!(query_of(statement), query);
        }
    }
}
