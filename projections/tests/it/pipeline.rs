//! Views that read each other, fed and flushed as the engine does it. Checkpoints stay in memory.

use std::collections::{BTreeMap, HashMap};

use alluvium_projections::{BatchId, Delta, Projection, Rejected, TableCheckpoint};
use alluvium_sql::{Catalog, View};
use arrow::record_batch::RecordBatch;

use crate::rows::{Bag, rows_of};

/// Stands in for the disk of one view: the batches of its tables.
#[derive(Debug, Clone, Default)]
struct Stored {
    tables: BTreeMap<String, (BTreeMap<BatchId, RecordBatch>, Vec<BatchId>)>,
}

impl Stored {
    fn write(&mut self, checkpoints: Vec<TableCheckpoint>) {
        for checkpoint in checkpoints {
            let (batches, live) = self.tables.entry(checkpoint.table).or_default();
            for (id, batch) in checkpoint.added {
                assert!(batches.insert(id, batch).is_none(), "an id is given once");
            }
            batches.retain(|id, _| checkpoint.live.contains(id));
            *live = checkpoint.live;
        }
    }

    fn read(&self) -> HashMap<String, Vec<(BatchId, RecordBatch)>> {
        let batches = |(batches, live): &(BTreeMap<BatchId, RecordBatch>, Vec<BatchId>)| {
            live.iter().map(|id| (*id, batches[id].clone())).collect()
        };
        self.tables.iter().map(|(name, table)| (name.clone(), batches(table))).collect()
    }
}

pub struct Running {
    pub view: View,
    projection: Projection,
    stored: Stored,
    /// The rows of the view, computed from the changes that it emitted.
    pub rows: Bag,
    /// How many changes it emitted.
    pub changes: usize,
    /// How many rows were left out, without the rejected rows of sources.
    pub left_out: u64,
}

pub struct Pipeline {
    pub views: Vec<Running>,
}

impl Pipeline {
    pub async fn new(catalog: &Catalog) -> Pipeline {
        let mut views = Vec::new();
        for view in &catalog.views {
            let projection = Projection::new(&view.plan).await.unwrap_or_else(|error| panic!("{}: {error}", view.sql));
            views.push(Running {
                view: view.clone(),
                projection,
                stored: Stored::default(),
                rows: Bag::default(),
                changes: 0,
                left_out: 0,
            });
        }
        Pipeline { views }
    }

    /// Pushes rows of a source to all views that read it.
    pub async fn push(&mut self, source: &str, rows: &RecordBatch) -> Vec<Rejected> {
        let mut rejected = Vec::new();
        let columns: Vec<usize> = (0..rows.num_columns()).collect();
        for running in &mut self.views {
            if running.view.plan.reads.iter().any(|(_, name)| name == source) {
                let delta = Delta { rows: rows.clone(), weights: None };
                let pushed = running.projection.push(source, &columns, &delta).await;
                rejected.extend(pushed.unwrap_or_else(|error| panic!("{}: {error}", running.view.sql)));
            }
        }
        rejected
    }

    /// Ends the epoch of all views, each before those that read it.
    pub async fn flush(&mut self) {
        for index in 0..self.views.len() {
            let running = &mut self.views[index];
            let deltas = running.projection.flush().await.unwrap_or_else(|error| panic!("{}: {error}", running.view.sql));
            let mut both = Bag::default();
            for delta in &deltas {
                assert_eq!(delta.rows.schema().fields().len(), running.view.plan.schema.fields().len());
                let all_in = running.view.plan.root.retracts || delta.weights.is_none();
                let only_in = delta.weights.as_ref().is_none_or(|weights| weights.values().iter().all(|weight| *weight > 0));
                assert!(all_in || only_in, "{} retracts rows, but its plan says that it does not", running.view.sql);
                for (row, weight) in rows_of(&delta.rows).into_iter().zip(delta.weights_iter()) {
                    assert_ne!(weight, 0);
                    let sign = both.0.entry(row.clone()).or_insert(weight.signum());
                    assert_eq!(*sign, weight.signum(), "{}: a row comes both in and out: {row:?}", running.view.sql);
                    running.rows.add(row, weight);
                    running.changes += 1;
                }
            }
            running.rows.settle();
            if let Some(left_out) = running.projection.take_left_out() {
                assert!(left_out.first_error.is_some());
                running.left_out += left_out.rows;
            }
            let name = running.view.name.clone();
            let columns: Vec<usize> = (0..running.view.plan.schema.fields().len()).collect();
            for reader in &mut self.views[index + 1..] {
                if reader.view.plan.reads.iter().any(|(_, read)| *read == name) {
                    for delta in &deltas {
                        reader.projection.push(&name, &columns, delta).await.unwrap();
                    }
                }
            }
        }
    }

    pub fn checkpoint(&mut self) {
        for running in &mut self.views {
            let tables = running.projection.checkpoint();
            running.stored.write(tables);
        }
    }

    /// Returns the number of state rows of all views.
    pub fn state_rows(&self) -> u64 {
        self.views.iter().map(|running| running.projection.state_size().0).sum()
    }

    /// Restarts all views from their last checkpoint. Everything else is lost.
    pub async fn restart(&mut self) {
        for running in &mut self.views {
            running.projection = Projection::new(&running.view.plan).await.unwrap();
            running.projection.restore(running.stored.read()).unwrap();
        }
        let changes: Vec<usize> = self.views.iter().map(|running| running.changes).collect();
        self.flush().await;
        let after: Vec<usize> = self.views.iter().map(|running| running.changes).collect();
        assert_eq!(changes, after, "a flush after a restart gives nothing");
    }
}
