//! Two known benchmarks, with each query as a view: Nexmark over RisingWave's generator, and TPC-H over eight streams with their events
//! interleaved at random. The queries are in `tests/suites`.
//!
//! `ALLUVIUM_SEED` sets the seed. `ALLUVIUM_SUITE_ONLY` selects queries by a part of their file name.

mod nexmark;
mod tpch;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use alluvium_sql::{Catalog, SqlFile};

use crate::law::{Cut, Event, Prefixes, class, hold};
use crate::oracle;

fn seed() -> u64 {
    std::env::var("ALLUVIUM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// Checks that every query of a folder holds the law, over events of the sources in `declarations`. The `small` events are also cut one
/// by one.
fn run(folder: &str, declarations: &str, events: &[Event], small: &[Event]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suites").join(folder);
    let only = std::env::var("ALLUVIUM_SUITE_ONLY").unwrap_or_default();
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let seed = seed();
    println!("seed {seed}, {} events and {} one by one", events.len(), small.len());
    let mut failed = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let query = std::fs::read_to_string(file).unwrap();
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            runtime.block_on(one(&name, declarations, &query, events, small, seed));
        }));
        if held.is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

async fn one(name: &str, declarations: &str, query: &str, events: &[Event], small: &[Event], seed: u64) {
    let begun = Instant::now();
    let text = format!("{declarations}\nCREATE MATERIALIZED VIEW asked AS {query}");
    let catalog = Catalog::load(&[SqlFile { path: name.to_owned(), text }]).unwrap_or_else(|errors| panic!("{errors}"));
    let asked = catalog.views.iter().position(|view| view.name == "asked").unwrap();
    let queries = BTreeMap::from([("asked".to_owned(), query.trim().trim_end_matches(';').to_owned())]);
    let plain = oracle::plain(&catalog, &queries, &[], events).await.unwrap();
    let mut prefixes = Prefixes::default();
    for cut in [Cut::Every(usize::MAX), Cut::Every(1_000), Cut::Large(seed, events.len() / 4)] {
        let (kept, _) = hold(&catalog, events, &cut, &mut prefixes).await;
        if let Some(difference) = kept[asked].difference(&plain[asked]) {
            panic!("{name}, cut {cut:?}: kept and plain:\n{difference}");
        }
    }
    let mut prefixes = Prefixes::default();
    for cut in [Cut::Every(1), Cut::Random(seed)] {
        hold(&catalog, small, &cut, &mut prefixes).await;
    }
    let rows: i64 = plain[asked].0.values().sum();
    println!("{name}: {}, {rows} rows, {:.1?}", class(&catalog.views[asked].plan.root), begun.elapsed());
    assert!(rows > 0, "{name} has an empty answer: it shows nothing");
}
