//! Runs pipelines with different cuts and restarts, and compares them with the oracle.

use std::collections::BTreeMap;

use alluvium_sql::{Catalog, Class, Node};
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;

use crate::oracle;
use crate::pipeline::Pipeline;
use crate::rows::Bag;

/// One row of a source.
#[derive(Debug, Clone)]
pub struct Event {
    pub source: String,
    pub rows: RecordBatch,
}

/// How the events of a run are cut into flushes.
#[derive(Debug, Clone)]
pub enum Cut {
    /// This many events a flush.
    Every(usize),
    /// Random steps, several pushes a flush, and restarts from the checkpoint in between. Has the seed.
    Random(u64),
    /// As `Random`, but with steps of up to this many events.
    Large(u64, usize),
}

impl Cut {
    fn seed(&self) -> Option<u64> {
        match self {
            Cut::Every(_) => None,
            Cut::Random(seed) | Cut::Large(seed, _) => Some(*seed),
        }
    }
}

/// Caches the oracle's answers by the number of events.
#[derive(Default)]
pub struct Prefixes(BTreeMap<usize, Vec<Bag>>);

impl Prefixes {
    async fn at(&mut self, catalog: &Catalog, events: &[Event], count: usize) -> &Vec<Bag> {
        if let std::collections::btree_map::Entry::Vacant(entry) = self.0.entry(count) {
            entry.insert(oracle::views(catalog, &events[..count]).await.unwrap());
        }
        &self.0[&count]
    }
}

/// Returns the class of the most expensive operator of a tree, including constant rows.
pub fn class(node: &Node) -> Class {
    node.inputs.iter().map(class).fold(node.class(), Class::max)
}

/// Runs the views over the events and compares them with the oracle at every flush. Returns their final rows, and how many changes each
/// of them emitted.
pub async fn hold(catalog: &Catalog, events: &[Event], cut: &Cut, prefixes: &mut Prefixes) -> (Vec<Bag>, Vec<usize>) {
    let mut pipeline = Pipeline::new(catalog).await;
    let mut random = fastrand::Rng::with_seed(cut.seed().unwrap_or_default());
    let mut done = 0;
    loop {
        compare(&mut pipeline, catalog, events, done, cut, prefixes).await;
        if cut.seed().is_some() && random.bool() {
            pipeline.checkpoint();
            if random.bool() {
                // Rows that arrive after the checkpoint are lost, and arrive again.
                let held: Vec<(Bag, usize)> = pipeline.views.iter().map(|view| (view.rows.clone(), view.changes)).collect();
                if done < events.len() && random.bool() {
                    push(&mut pipeline, &events[done..], 1 + random.usize(..events.len() - done)).await;
                    pipeline.flush().await;
                    for (view, (rows, changes)) in pipeline.views.iter_mut().zip(held) {
                        (view.rows, view.changes) = (rows, changes);
                    }
                }
                pipeline.restart().await;
            }
        }
        if done == events.len() {
            break;
        }
        match cut {
            Cut::Every(count) => {
                let count = *count.min(&(events.len() - done));
                push(&mut pipeline, &events[done..], count).await;
                done += count;
            }
            Cut::Large(_, most) => {
                let count = 1 + random.usize(..(events.len() - done).min(*most));
                push(&mut pipeline, &events[done..], count).await;
                done += count;
            }
            Cut::Random(_) => {
                for _ in 0..random.usize(..4) {
                    let count = random.usize(..=(events.len() - done).min(6));
                    push(&mut pipeline, &events[done..], count).await;
                    done += count;
                }
            }
        }
    }
    let changes = pipeline.views.iter().map(|view| view.changes).collect();
    (pipeline.views.into_iter().map(|view| view.rows).collect(), changes)
}

/// Pushes events, with one push for each run of events of the same source.
async fn push(pipeline: &mut Pipeline, events: &[Event], count: usize) {
    for run in events[..count].chunk_by(|one, next| one.source == next.source) {
        let rows = concat_batches(&run[0].rows.schema(), run.iter().map(|event| &event.rows)).unwrap();
        let rejected = pipeline.push(&run[0].source, &rows).await;
        assert_eq!(rejected, [], "no row is rejected");
    }
}

async fn compare(pipeline: &mut Pipeline, catalog: &Catalog, events: &[Event], done: usize, cut: &Cut, prefixes: &mut Prefixes) {
    pipeline.flush().await;
    let wanted = prefixes.at(catalog, events, done).await;
    for (view, wanted) in pipeline.views.iter().zip(wanted) {
        if let Some(difference) = view.rows.difference(wanted) {
            panic!(
                "{}\nafter {done} events cut {cut:?}, kept and batch:\n{difference}\nof {:#?}",
                view.view.sql,
                events[..done.min(200)]
                    .iter()
                    .map(|event| (&event.source, crate::rows::rows_of(&event.rows)))
                    .collect::<Vec<_>>()
            );
        }
    }
}
