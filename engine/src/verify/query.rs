//! Computes each view with one batch query: its SQL over the events that it has applied.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use alluvium_projections::Projection;
use alluvium_sql::{Cause, RelationKind, View, session_state};
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::UInt64Type;
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;

use super::events::Events;
use super::sample::Sample;
use super::spool::{Spool, SpoolFolder};
use super::table::{Applied, SpoolTable};
use super::unknown::Unknown;
use crate::error::Error;
use crate::record::{Record, Tally};

/// Makes the runtime environment of queries, with a bound on memory and a folder for spills.
pub(super) fn surroundings(memory: usize, spill: &Path) -> Result<Arc<RuntimeEnv>, Error> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill.to_owned()]));
    let built = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(memory))).with_disk_manager_builder(disk);
    Ok(built.build_arc()?)
}

/// Computes views over the same events. Keeps the rows of each for the views that read it.
pub(super) struct Queries<'a> {
    pub(super) folder: &'a SpoolFolder,
    pub(super) surroundings: Arc<RuntimeEnv>,
    pub(super) events: &'a BTreeMap<String, Events>,
    /// The last record of each view.
    pub(super) records: &'a BTreeMap<String, Record>,
    /// By view and offsets: the computed rows.
    pub(super) computed: BTreeMap<(String, BTreeMap<String, u64>), Arc<Spool>>,
    /// The part of the rows to compute of a view that is verified; all of those that it reads.
    pub(super) sample: Option<Sample>,
}

impl Queries<'_> {
    /// Returns the rows of a view if they were computed before. `last`: no view that is verified now reads it.
    pub(super) fn known(&self, view: &View, offsets: &BTreeMap<String, u64>, last: bool) -> Option<Arc<Spool>> {
        let whole = !last || self.sample.is_none();
        self.computed.get(&(view.name.clone(), offsets.clone())).filter(|_| whole).cloned()
    }

    /// Computes the rows of a view over the events before `offsets`; if it is the `last`, those of the sample. The views that it reads must have been computed at the same offsets.
    ///
    /// # Errors
    /// [`Unknown`] if the condition of a join fails on a pair of rows. Errors of memory and disk.
    pub(super) async fn compute(
        &mut self,
        view: &View,
        offsets: &BTreeMap<String, u64>,
        last: bool,
    ) -> Result<Result<Arc<Spool>, Unknown>, Error> {
        let mut tables: BTreeMap<&str, Arc<dyn TableProvider>> = BTreeMap::new();
        for (kind, name) in &view.plan.reads {
            let table = match kind {
                RelationKind::Source => self.source(view, name, offsets).await?,
                RelationKind::View => {
                    let (_, rows) = self
                        .computed
                        .iter()
                        .find(|((view, at), _)| {
                            view == name && at.iter().all(|(source, offset)| offsets.get(source) == Some(offset))
                        })
                        .ok_or_else(|| Error::bug(format!("view {name} is read before it is computed")))?;
                    SpoolTable::of_view(Arc::clone(rows))
                }
            };
            tables.insert(name, Arc::new(table));
        }
        let state =
            SessionStateBuilder::new_from_existing(session_state()?).with_runtime_env(Arc::clone(&self.surroundings)).build();
        let context = SessionContext::new_with_state(state);
        let query = view.plan.batch_plan_over(|name| {
            tables.get(name).cloned().ok_or_else(|| DataFusionError::Internal(format!("{name} is read and not planned to be")))
        })?;
        let sample = self.sample.filter(|_| last);
        let query = match sample {
            Some(sample) => sample.of_query(&view.plan, query)?,
            None => query,
        };
        let plan = context.state().create_physical_plan(&query).await?;
        let rows = match self.run(&context, Arc::clone(&plan), view).await {
            Err(error) if alluvium_sql::cause(&error) == Cause::Values => {
                let tolerant = super::failing::without_failing_rows(plan)?;
                match self.run(&context, tolerant, view).await {
                    Err(error) if alluvium_sql::cause(&error) == Cause::Values => {
                        let worded = alluvium_sql::wording::of_error(&error).message;
                        return Ok(Err(Unknown(format!("an expression fails on a pair of rows of a join: {worded}"))));
                    }
                    rows => rows?,
                }
            }
            rows => rows?,
        };
        let rows = Arc::new(rows?);
        if sample.is_none() {
            self.computed.insert((view.name.clone(), offsets.clone()), Arc::clone(&rows));
        }
        Ok(Ok(rows))
    }

    /// Runs a plan into a spool. The inner error is the spool's.
    async fn run(
        &self,
        context: &SessionContext,
        plan: Arc<dyn ExecutionPlan>,
        view: &View,
    ) -> Result<Result<Spool, Error>, DataFusionError> {
        let mut stream = execute_stream(plan, context.task_ctx())?;
        let mut spool = match self.folder.writer(&view.plan.schema) {
            Ok(spool) => spool,
            Err(error) => return Ok(Err(error)),
        };
        while let Some(batch) = stream.try_next().await? {
            if let Err(error) = spool.write(&batch) {
                return Ok(Err(error));
            }
        }
        Ok(spool.finish())
    }

    /// Returns the events of a source that a view has applied, as a table.
    pub(super) async fn source(&self, view: &View, source: &str, offsets: &BTreeMap<String, u64>) -> Result<SpoolTable, Error> {
        let of = |name: &str| Error::bug(format!("source {name} of view {} was not read", view.name));
        let (events, end) = (self.events.get(source).ok_or_else(|| of(source))?, *offsets.get(source).ok_or_else(|| of(source))?);
        let tally = self.records.get(&view.name).and_then(|record| record.tallies.get(source));
        let crashed: BTreeSet<u64> = tally.into_iter().flat_map(|tally| tally.crashed.iter().copied()).collect();
        let mut rows: BTreeSet<u64> = BTreeSet::new();
        let reads = |column: usize| view.plan.columns_read.contains(source, column);
        rows.extend(events.unfit.iter().filter(|(_, column)| reads(*column)).map(|(row, _)| *row));
        if tally.is_none_or(|tally: &Tally| tally.refused > 0 || tally.began.is_none()) {
            self.refused(view, source, events, end, &mut rows).await?;
        }
        Ok(SpoolTable::of_source(
            events.schema.clone(),
            &events.columns,
            Arc::clone(&events.spool),
            Applied { end, crashed, rows },
        ))
    }

    /// Adds to `without` the numbers of the rows on which an expression of the view fails. By the engine's rule, such a row is left out of all
    /// branches of the view.
    async fn refused(
        &self,
        view: &View,
        source: &str,
        events: &Events,
        end: u64,
        without: &mut BTreeSet<u64>,
    ) -> Result<(), Error> {
        let failed = |error| Error::projection(view, error);
        let mut projection = Projection::new(&view.plan).await.map_err(failed)?;
        let columns: Vec<usize> = (0..events.columns.len()).collect();
        for batch in events.spool.read().map_err(DataFusionError::from)? {
            let batch = batch.map_err(DataFusionError::from)?;
            let sequences = batch.column(columns.len()).as_primitive::<UInt64Type>();
            let numbers = batch.column(columns.len() + 1).as_primitive::<UInt64Type>();
            if sequences.values().first().is_some_and(|first| *first >= end) {
                break;
            }
            let rows = batch.project(&columns).map_err(DataFusionError::from)?;
            for rejected in projection.rejected(source, &events.columns, &rows).map_err(failed)? {
                without.insert(numbers.value(rejected.row));
            }
        }
        Ok(())
    }
}
