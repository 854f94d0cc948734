//! The cost of a commit follows the change: the figures that `cost` is made of. Run with ALLUVIUM_MEASURE=1 and --nocapture.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;

use super::super::*;
use super::{change, simple_rows, simple_schema, snapshot};

#[test]
fn commits_after_a_hundred_changed_keys() {
    let measure = std::env::var_os("ALLUVIUM_MEASURE").is_some();
    let sizes: &[i64] = if measure { &[10_000, 100_000, 1_000_000] } else { &[10_000] };
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/..").unwrap();
    for rows in sizes.iter().copied() {
        let root = folder.path().join(format!("v{rows}"));
        let mut writer = ViewWriter::open(&root, simple_schema(), Layout::Hashed { columns: vec![0] }, Vec::new()).unwrap();
        writer.write(1, &[Change { rows: simple_rows((0..rows).map(|key| (key, 0))), weights: None }]).unwrap();
        let mut values = vec![0; rows as usize];
        let mut rng = Rng::with_seed(9);
        let (mut writes, mut publishes, mut sweeps) = (Vec::new(), Vec::new(), Vec::new());
        let commits = if measure { 120 } else { 12 };
        for epoch in 2..2 + commits {
            let keys: BTreeSet<i64> = (0..100).map(|_| rng.i64(0..rows)).collect();
            let olds = simple_rows(keys.iter().map(|key| (*key, values[*key as usize])));
            keys.iter().for_each(|key| values[*key as usize] = epoch);
            let changes = [change(olds, -1), change(simple_rows(keys.iter().map(|key| (*key, epoch))), 1)];
            let start = Instant::now();
            let parts = writer.write(epoch as u64, &changes).unwrap();
            let written = Instant::now();
            publish(&root, &snapshot(epoch as u64, epoch as u64, &parts)).unwrap();
            let published = Instant::now();
            sweep(&root, &parts, Retention { kept: 10, min_age: Duration::ZERO }, SystemTime::now()).unwrap();
            writes.push(written - start);
            publishes.push(published - written);
            sweeps.push(published.elapsed());
        }
        let median = |times: &[Duration]| {
            let mut times = times[times.len() / 2..].to_vec();
            times.sort();
            times[times.len() / 2]
        };
        println!(
            "{rows} rows, {} parts: write {:?}, publish {:?}, sweep {:?}; slowest write {:?}",
            writer.parts().len(), median(&writes), median(&publishes), median(&sweeps), writes.iter().max().unwrap()
        );
        assert_eq!(writer.rows(), rows as u64);
    }
}
