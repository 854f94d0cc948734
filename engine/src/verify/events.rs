//! Reads a source again, from its first event up to an offset.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_connectors::Position;
use alluvium_connectors::source::{Held, Identity, Past, Read, Source, Start};
use datafusion::arrow::array::{ArrayRef, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;

use super::spool::{Spool, SpoolFolder};
use super::unknown::Unknown;
use crate::error::Error;
use crate::record::Record;

/// The good events of a source, on disk.
#[derive(Debug)]
pub(super) struct Events {
    /// All columns of the source.
    pub(super) schema: SchemaRef,
    /// The indices of the columns in the spool. After them the spool has the sequence and the number of each row.
    pub(super) columns: Vec<usize>,
    pub(super) spool: Arc<Spool>,
    /// The offset of the first event that the source still has.
    pub(super) first: u64,
    /// The identity of the source.
    pub(super) identity: Identity,
    /// The values that do not fit their column: the number of the row, and the column's index in `schema`.
    pub(super) unfit: Vec<(u64, usize)>,
    /// By requested offset: the number of events, good and bad, before it.
    pub(super) counts: BTreeMap<u64, u64>,
    /// The views of whose events the source has only overwritten some, by newer ones that it holds. True if some of these may come after the
    /// view's offset.
    pub(super) overwritten: BTreeMap<String, bool>,
}

impl Events {
    /// Asks the source whether what these views have read and it does not hold was only overwritten.
    pub(super) async fn find_overwritten(&mut self, source: &Arc<dyn Source>, records: &BTreeMap<String, Record>) {
        for (view, record) in records {
            let name = &source.config().name;
            let (Some(tally), Some(position)) = (record.tallies.get(name), record.positions.get(name)) else { continue };
            if self.counts.get(&position.offset).is_none_or(|held| *held >= tally.events) {
                continue;
            }
            let past = Past { began: tally.began, events: Some(tally.events), position: position.clone() };
            // If the source cannot tell, the events count as gone.
            if let Ok(Held::All) = source.holds(&past).await {
                let end = source.extent(0).await.map_or(u64::MAX, |extent| extent.end);
                self.overwritten.insert(view.clone(), end > position.offset);
            }
        }
    }
}

/// Reads a source up to the farthest of `offsets`. `recorded` are its positions in the records of commits.
///
/// # Errors
/// [`Unknown`] if the source no longer has the events that the views have read, or can be read only once. Errors of the source and the
/// disk.
pub(super) async fn read(
    source: &Arc<dyn Source>,
    recorded: impl Iterator<Item = &Position>,
    offsets: &BTreeSet<u64>,
    folder: &SpoolFolder,
) -> Result<Result<Events, Unknown>, Error> {
    let config = source.config();
    if source.promises().read_once {
        return Ok(Err(Unknown(format!("source {} can be read only once", config.name))));
    }
    let mut reader = source.read(Start::First).await?;
    let (first, identity) = (reader.position().offset, reader.position().identity.clone());
    // On opening, the source checks whether it still has the last event that was read, and the next one.
    let newest = recorded.filter(|position| position.identity.same_source(&identity)).max_by_key(|position| position.offset);
    if let Some(position) = newest
        && let Err(error) = source.read(Start::At(position.clone())).await
    {
        return match error {
            alluvium_connectors::Error::StreamChanged { .. } => Ok(Err(Unknown(error.to_string()))),
            error => Err(error.into()),
        };
    }
    let mut counts: BTreeMap<u64, u64> = offsets.iter().map(|offset| (*offset, 0)).collect();
    let end = counts.last_key_value().map_or(0, |(offset, _)| *offset);
    let fields = config.columns.iter().filter_map(|column| config.declared.fields().get(*column)).cloned();
    let number = |name: &str| Arc::new(Field::new(name, DataType::UInt64, false));
    let fields = fields.chain([number("sequence"), number("row")]);
    let mut spool = folder.writer(&Arc::new(Schema::new(fields.collect::<Vec<_>>())))?;
    // Several events may share a sequence, so rows are told apart by their number.
    let (mut unfit, mut first_row) = (Vec::new(), 0);
    while reader.position().offset < end {
        let batch = match reader.next().await {
            Ok(Read::Batch(batch)) => batch.until(end),
            Err(error @ alluvium_connectors::Error::StreamChanged { .. }) => return Ok(Err(Unknown(error.to_string()))),
            Err(error) => return Err(error.into()),
            Ok(Read::CaughtUp { .. } | Read::End) => {
                let found = reader.position().offset;
                return Ok(Err(Unknown(format!("source {} ends at {found}, before {end}, which was applied", config.name))));
            }
        };
        for (offset, count) in &mut counts {
            *count += crate::runtime::events_before(&batch, *offset);
        }
        unfit.extend(batch.unfit.iter().map(|unfit| (first_row + unfit.row as u64, unfit.column)));
        let end_row = first_row + batch.rows.num_rows() as u64;
        let numbers: [ArrayRef; 2] =
            [Arc::new(batch.sequences.clone()), Arc::new(UInt64Array::from_iter_values(first_row..end_row))];
        first_row = end_row;
        let columns: Vec<ArrayRef> = batch.rows.columns().iter().cloned().chain(numbers).collect();
        let rows = RecordBatch::try_from_iter(columns.into_iter().enumerate().map(|(index, column)| (index.to_string(), column)));
        spool.write(&rows.map_err(|error| Error::bug(format!("events of {}: {error}", config.name)))?)?;
    }
    let (schema, columns) = (config.declared.clone(), config.columns.clone());
    let (spool, overwritten) = (Arc::new(spool.finish()?), BTreeMap::new());
    Ok(Ok(Events { schema, columns, spool, first, identity, unfit, counts, overwritten }))
}
