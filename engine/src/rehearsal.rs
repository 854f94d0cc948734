//! Runs views over a sample of their events, in memory: how many rows they would have, and what looks wrong with them. It reads the sources
//! and writes nothing.
//!
//! The sample is no stream: counts are those of the sample, and a join may miss partners that were not sampled.

use std::collections::{BTreeMap, BTreeSet};

use alluvium_connectors::Batch;
use alluvium_projections::{Delta, Projection};
use alluvium_sql::describe::summary;
use alluvium_sql::{Class, RelationKind, View};
use datafusion::arrow::array::Array;

use crate::error::Error;
use crate::project::Project;
use crate::sample::{self, Wanted};

/// With fewer events than these, their keys say nothing.
const FEWEST_FOR_KEYS: u64 = 100;
/// Keys explode from this share of the events on.
const EXPLODED: f64 = 0.9;

/// What a view does with a sample.
#[derive(Debug)]
pub struct Rehearsed {
    /// The view.
    pub view: String,
    /// Events read, of all sources of the view.
    pub events: u64,
    /// Rows that the view has then.
    pub rows: u64,
    /// Events that it sets aside, by kind: how many, and the error of the first.
    pub set_aside: BTreeMap<&'static str, (u64, String)>,
    /// Rows that are left out, since an expression fails on them.
    pub left_out: u64,
    /// The error of the first one.
    pub left_out_error: Option<String>,
    /// Columns that are NULL in each row. Empty if there are no rows.
    pub always_null: Vec<String>,
    /// Rows of state.
    pub state_rows: u64,
    /// The columns of its key, if nearly each event has a key of its own though the view groups or joins.
    pub exploding_key: Option<String>,
}

/// A view that runs.
struct Running<'p> {
    view: &'p View,
    projection: Projection,
    done: Rehearsed,
}

/// Runs all views over about `events` events of each source: half from its start, half from its end.
///
/// # Errors
/// Those of the sources; a view's operators fail.
pub async fn rehearse(project: &Project, events: u64) -> Result<Vec<Rehearsed>, Error> {
    let mut views = Vec::new();
    for view in &project.catalog.views {
        views.push(Running::new(view).await?);
    }
    for (name, config) in &project.sources {
        if !views.iter().any(|view| view.reads(RelationKind::Source, name)) {
            continue;
        }
        let wanted = Wanted::BothEnds(events);
        let source = sample::open_columns(config.clone(), config.columns.clone(), wanted)?;
        let sample = sample::read(&source, wanted, project.settings.source_timeout).await?;
        for view in views.iter_mut().filter(|view| view.reads(RelationKind::Source, name)) {
            view.done.events += sample.events;
            for batch in &sample.batches {
                view.push(name, &config.columns, batch).await?;
            }
        }
    }
    for index in 0..views.len() {
        let (before, rest) = views.split_at_mut(index + 1);
        let Some(view) = before.last_mut() else { continue };
        let deltas = view.flush().await?;
        for reader in rest.iter_mut().filter(|reader| reader.reads(RelationKind::View, &view.view.name)) {
            reader.done.events += view.done.rows;
            let columns: Vec<usize> = (0..view.view.plan.schema.fields().len()).collect();
            for delta in &deltas {
                let pushed = reader.projection.push(&view.view.name, &columns, delta).await;
                pushed.map_err(|error| Error::projection(reader.view, error))?;
            }
        }
    }
    Ok(views.into_iter().map(|view| view.done).collect())
}

impl Running<'_> {
    async fn new(view: &View) -> Result<Running<'_>, Error> {
        let done = Rehearsed {
            view: view.name.clone(),
            events: 0,
            rows: 0,
            set_aside: BTreeMap::new(),
            left_out: 0,
            left_out_error: None,
            always_null: Vec::new(),
            state_rows: 0,
            exploding_key: None,
        };
        let projection = Projection::new(&view.plan).await.map_err(|error| Error::projection(view, error))?;
        Ok(Running { view, projection, done })
    }

    fn reads(&self, kind: RelationKind, name: &str) -> bool {
        self.view.plan.reads.iter().any(|(read, relation)| *read == kind && relation == name)
    }

    /// Pushes the events of a source that the view can apply, and counts the others.
    async fn push(&mut self, source: &str, columns: &[usize], batch: &Batch) -> Result<(), Error> {
        let reads = |column: usize| self.view.plan.columns_read.contains(source, column);
        let mut rows = BTreeSet::new();
        for unfit in batch.unfit.iter().filter(|unfit| reads(unfit.column)) {
            // An event counts once, whatever number of its values do not fit.
            if rows.insert(unfit.row) {
                add(&mut self.done.set_aside, unfit.kind, &unfit.error);
            }
        }
        for letter in &batch.dead_letters {
            add(&mut self.done.set_aside, letter.kind, &letter.error);
        }
        let fitting = batch.fitting(reads)?;
        let delta = Delta { rows: fitting.rows.clone(), weights: fitting.weights.clone() };
        let rejected = self.projection.push(source, columns, &delta).await;
        for row in rejected.map_err(|error| Error::projection(self.view, error))? {
            add(&mut self.done.set_aside, "expression", &row.error);
        }
        Ok(())
    }

    /// Takes the rows of the view. It is flushed once, so each change adds rows.
    async fn flush(&mut self) -> Result<Vec<Delta>, Error> {
        let deltas = self.projection.flush().await.map_err(|error| Error::projection(self.view, error))?;
        let mut nulls = vec![0; self.view.plan.schema.fields().len()];
        for delta in &deltas {
            self.done.rows += delta.weights_iter().filter_map(|weight| u64::try_from(weight).ok()).sum::<u64>();
            for (nulls, column) in nulls.iter_mut().zip(delta.rows.columns()) {
                *nulls += column.logical_null_count() as u64;
            }
        }
        let held: u64 = deltas.iter().map(|delta| delta.rows.num_rows() as u64).sum();
        let fields = self.view.plan.schema.fields().iter().zip(&nulls);
        let null = fields.filter(|(_, nulls)| held > 0 && **nulls == held).map(|(field, _)| field.name().clone());
        self.done.always_null = null.collect();
        if let Some(left_out) = self.projection.take_left_out() {
            (self.done.left_out, self.done.left_out_error) = (left_out.rows, left_out.first_error);
        }
        self.done.state_rows = self.projection.state_size().0;
        let summary = summary(self.view);
        let explode = self.done.events >= FEWEST_FOR_KEYS && self.done.rows as f64 >= EXPLODED * self.done.events as f64;
        let key = summary.key.filter(|key| explode && summary.class != Class::Linear && !key.is_empty());
        self.done.exploding_key = key.map(|key| key.join(", "));
        Ok(deltas)
    }
}

fn add(reasons: &mut BTreeMap<&'static str, (u64, String)>, kind: &'static str, error: &str) {
    reasons.entry(kind).or_insert_with(|| (0, error.to_owned())).0 += 1;
}
