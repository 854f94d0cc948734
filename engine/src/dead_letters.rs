//! Selects, reads and drops dead letters: the events that were set aside. It works on their files, with or without a running engine.
//!
//! The columns are those of the files, whichever release wrote them. Only those that a [`Selection`] names are known here.
//! [`alluvium_connectors::dead_letters`] writes the letters, and keeps each one once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alluvium_connectors::dead_letters::seal;
use alluvium_connectors::durable;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::empty::EmptyTable;
use datafusion::functions::expr_fn::{concat, strpos};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::error::Error;
use crate::layout::Layout;

/// Selects the letters that meet all given conditions.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Their source.
    pub source: Option<String>,
    /// A view that could not apply the event. A letter separates several views by `, `. A letter about all views of its source names none.
    pub view: Option<String>,
    /// Their kind, such as `wrong_type`.
    pub kind: Option<String>,
    /// Their sequence.
    pub sequence: Option<u64>,
    /// The event was stored at or after this time, in nanoseconds since the Unix epoch.
    pub since_ns: Option<i64>,
    /// The event was stored before this time, in nanoseconds since the Unix epoch.
    pub until_ns: Option<i64>,
}

impl Selection {
    /// Returns the condition as an expression that is never NULL.
    fn condition(&self) -> Expr {
        let text = |name: &str, value: &Option<String>| value.as_ref().map(|value| col(name).eq(lit(value.clone())));
        let time = |ns: i64| Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), None), None);
        let all = [
            text("source", &self.source),
            self.view.as_ref().map(|view| {
                let views = concat(vec![lit(", "), col("view"), lit(", ")]);
                strpos(views, lit(format!(", {view}, "))).gt(lit(0))
            }),
            text("kind", &self.kind),
            self.sequence.map(|sequence| col("sequence").eq(lit(sequence))),
            self.since_ns.map(|since| col("timestamp").gt_eq(time(since))),
            self.until_ns.map(|until| col("timestamp").lt(time(until))),
        ];
        all.into_iter().flatten().fold(lit(true), Expr::and).is_true()
    }
}

/// Returns the selected letters, ordered by source and sequence, or `None` if there are no letters at all.
///
/// # Errors
/// The disk fails, or a file is damaged or not ours.
pub async fn select(layout: &Layout, selection: &Selection) -> Result<Option<DataFrame>, Error> {
    let Some(all) = all(layout).await? else { return Ok(None) };
    let order = ["source", "sequence", "view"].map(|name| col(name).sort(true, true));
    Ok(Some(all.filter(selection.condition())?.sort(order.to_vec())?))
}

/// Returns the selected letters, the newest first, no more than `limit`. Without letters, the table is empty.
///
/// # Errors
/// As [`select`].
pub async fn newest(layout: &Layout, selection: &Selection, limit: usize) -> Result<DataFrame, Error> {
    let all = context().read_table(table(layout).await?)?.filter(selection.condition())?;
    let order = vec![col("timestamp").sort(false, false), col("source").sort(true, true), col("sequence").sort(false, true)];
    Ok(all.sort(order)?.limit(0, Some(limit))?)
}

/// All letters as a table.
///
/// # Errors
/// As [`select`].
pub async fn table(layout: &Layout) -> Result<Arc<dyn TableProvider>, Error> {
    match all(layout).await? {
        Some(letters) => Ok(letters.into_view()),
        None => Ok(Arc::new(EmptyTable::new(alluvium_connectors::dead_letters::schema()))),
    }
}

async fn all(layout: &Layout) -> Result<Option<DataFrame>, Error> {
    let layout = layout.clone();
    // It reads every file whole, which must not hold up what else runs on this thread.
    let checked = tokio::task::spawn_blocking(move || files(&layout)).await;
    let files = checked.map_err(|error| Error::bug(format!("finding dead letters: {error}")))??;
    if files.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Ok(Some(context().read_parquet(names, options()).await?))
}

/// Counts the selected letters.
///
/// # Errors
/// As [`select`].
pub async fn count_of(layout: &Layout, selection: &Selection) -> Result<u64, Error> {
    match select(layout, selection).await? {
        Some(letters) => Ok(letters.count().await? as u64),
        None => Ok(0),
    }
}

/// Counts the selected letters by source, view and kind. Returns `None` if there are no letters at all.
///
/// # Errors
/// As [`select`].
pub async fn counts(layout: &Layout, selection: &Selection) -> Result<Option<DataFrame>, Error> {
    let Some(letters) = select(layout, selection).await? else { return Ok(None) };
    let by = vec![col("source"), col("view"), col("kind")];
    let counted = letters.aggregate(by, vec![count(lit(1)).alias("letters")])?;
    Ok(Some(counted.sort(["source", "view", "kind"].map(|name| col(name).sort(true, true)).to_vec())?))
}

/// Removes the selected letters and returns their number. If some letters of a file stay, a file with these replaces it under the same
/// name, so that a crash neither loses nor duplicates a letter. A query that reads the folder at that moment may have to be repeated.
///
/// # Errors
/// As [`select`]. Letters that were dropped before the error stay dropped.
pub async fn drop(layout: &Layout, selection: &Selection) -> Result<u64, Error> {
    let mut dropped = 0;
    for file in files(layout)? {
        let letters = context().read_parquet(file.display().to_string(), options()).await?;
        let all = letters.clone().count().await? as u64;
        let stay = letters.filter(Expr::Not(Box::new(selection.condition())))?.collect().await?;
        let left = stay.iter().map(RecordBatch::num_rows).sum::<usize>() as u64;
        if left == 0 {
            durable::remove_file(&file)?;
        } else if left < all {
            durable::write_atomically(&file, &encode(&stay)?)?;
        }
        dropped += all - left;
    }
    if dropped > 0 {
        durable::sync_folder(&layout.dead_letters())?;
    }
    Ok(dropped)
}

/// What readers see: the files in the folder itself, in the order of their names.
///
/// # Errors
/// The disk's.
pub fn all_files(layout: &Layout) -> Result<Vec<PathBuf>, Error> {
    let folder = layout.dead_letters();
    let mut files: Vec<PathBuf> = durable::names(&folder)?.into_iter().map(|name| folder.join(name)).collect();
    files.retain(|file| is_letters(file));
    files.sort();
    Ok(files)
}

/// Those that are what was written; a damaged one is passed over with a warning.
fn files(layout: &Layout) -> Result<Vec<PathBuf>, Error> {
    let mut files = all_files(layout)?;
    files.retain(|file| match seal::check(file) {
        Err(error @ alluvium_connectors::Error::Corrupt { .. }) => {
            tracing::warn!(%error, "passed over; `alluvium doctor --repair` moves it away");
            false
        }
        _ => true,
    });
    // DataFusion needs absolute paths to make URLs of them.
    let absolute = |file: PathBuf| fs::canonicalize(&file).map_err(|error| Error::io("finding", file, error));
    files.into_iter().map(absolute).collect()
}

fn is_letters(file: &Path) -> bool {
    let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && file.extension().is_some_and(|extension| extension == "parquet") && file.is_file()
}

/// A session that keeps the columns as they were written, so that a rewritten file has the same ones.
fn context() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.parquet.schema_force_view_types = false;
    config.options_mut().execution.time_zone = Some("+00:00".to_owned());
    SessionContext::new_with_config(config)
}

fn options() -> ParquetReadOptions<'static> {
    ParquetReadOptions::default()
}

fn encode(rows: &[RecordBatch]) -> Result<Vec<u8>, Error> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(seal::metadata()))
        .build();
    let written = ArrowWriter::try_new(Vec::new(), first.schema(), Some(properties)).and_then(|mut writer| {
        rows.iter().try_for_each(|rows| writer.write(rows))?;
        writer.into_inner()
    });
    let mut bytes = written.map_err(DataFusionError::from)?;
    seal::seal(&mut bytes)?;
    Ok(bytes)
}
