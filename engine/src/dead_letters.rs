//! The events that were set aside, as their files say: selected, read and dropped, beside a running engine or without one.
//!
//! The columns are those of the files, whatever release wrote them; only those that a [`Selection`] names are known here. How letters are
//! written, and that each is kept once, is the matter of [`alluvium_connectors::dead_letters`].

use std::fs;
use std::path::{Path, PathBuf};

use alluvium_connectors::durable;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::functions::expr_fn::{concat, strpos};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{Expr, col, lit};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

use crate::error::Error;
use crate::layout::Layout;

/// Which letters are meant: those for which all that is given holds.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Their source.
    pub source: Option<String>,
    /// A view that could not apply them; a letter names several views by `, `. One of all views of its source names none.
    pub view: Option<String>,
    /// Their kind, such as `wrong_type`.
    pub kind: Option<String>,
    /// Their sequence.
    pub sequence: Option<u64>,
    /// The event was stored at or after this time, nanoseconds since the epoch.
    pub since_ns: Option<i64>,
    /// The event was stored before this time, nanoseconds since the epoch.
    pub until_ns: Option<i64>,
}

impl Selection {
    /// Never NULL.
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

/// The selected letters, in the order of their sources and sequences; none where there is no letter at all.
///
/// # Errors
/// The disk's; a file that is damaged or not ours.
pub async fn select(layout: &Layout, selection: &Selection) -> Result<Option<DataFrame>, Error> {
    let files = files(layout)?;
    if files.is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let all = context().read_parquet(names, options()).await?;
    let order = ["source", "sequence", "view"].map(|name| col(name).sort(true, true));
    Ok(Some(all.filter(selection.condition())?.sort(order.to_vec())?))
}

/// How many letters are selected.
///
/// # Errors
/// As [`select`].
pub async fn count_of(layout: &Layout, selection: &Selection) -> Result<u64, Error> {
    match select(layout, selection).await? {
        Some(letters) => Ok(letters.count().await? as u64),
        None => Ok(0),
    }
}

/// The selected letters counted by source, view and kind; none where there is no letter at all.
///
/// # Errors
/// As [`select`].
pub async fn counts(layout: &Layout, selection: &Selection) -> Result<Option<DataFrame>, Error> {
    let Some(letters) = select(layout, selection).await? else { return Ok(None) };
    let by = vec![col("source"), col("view"), col("kind")];
    let counted = letters.aggregate(by, vec![count(lit(1)).alias("letters")])?;
    Ok(Some(counted.sort(["source", "view", "kind"].map(|name| col(name).sort(true, true)).to_vec())?))
}

/// Removes the selected letters; gives how many. A file of which some letters stay is replaced by one with these under the same name, so
/// that a crash neither loses nor doubles a letter; who reads the folder at that moment may have to read it again.
///
/// # Errors
/// As [`select`]; what was dropped before stays dropped.
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

/// What readers see: the files in the folder itself.
fn files(layout: &Layout) -> Result<Vec<PathBuf>, Error> {
    let folder = layout.dead_letters();
    let mut files: Vec<PathBuf> = durable::names(&folder)?.into_iter().map(|name| folder.join(name)).collect();
    files.retain(|file| is_letters(file));
    files.sort();
    // A path of a process's own folder is no URL of DataFusion's.
    let absolute = |file: PathBuf| fs::canonicalize(&file).map_err(|error| Error::io("finding", file, error));
    files.into_iter().map(absolute).collect()
}

fn is_letters(file: &Path) -> bool {
    let hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && file.extension().is_some_and(|extension| extension == "parquet") && file.is_file()
}

/// Columns come as they were written, so that a file that is written again has the same ones.
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
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let written = ArrowWriter::try_new(Vec::new(), first.schema(), Some(properties)).and_then(|mut writer| {
        rows.iter().try_for_each(|rows| writer.write(rows))?;
        writer.into_inner()
    });
    written.map_err(|error| DataFusionError::from(error).into())
}
