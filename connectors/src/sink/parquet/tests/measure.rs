//! Measures the cost of a commit, which follows the size of the change. The constants in `cost` come from here. Set
//! ALLUVIUM_MEASURE=10000,1000000 to see them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;

use super::*;

#[test]
fn commits_after_a_hundred_changed_keys() {
    let sizes = std::env::var("ALLUVIUM_MEASURE").ok();
    let measure = sizes.is_some();
    let sizes: Vec<i64> = sizes.map_or(vec![10_000], |sizes| sizes.split(',').map(|size| size.parse().unwrap()).collect());
    let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/..").unwrap();
    for rows in sizes {
        let root = folder.path().join(format!("v{rows}"));
        let mut writer = ViewWriter::open(&root, simple_schema(), PartLayout::Hashed { columns: vec![0] }, Vec::new()).unwrap();
        writer.write(1, &[Delta { rows: simple_rows((0..rows).map(|key| (key, 0))), weights: None }]).unwrap();
        let mut values = vec![0; rows as usize];
        let mut rng = Rng::with_seed(9);
        let (mut writes, mut publishes, mut sweeps) = (Vec::new(), Vec::new(), Vec::new());
        let commits = if measure { 120 } else { 12 };
        let mut ticks = 0;
        for epoch in 2..2 + commits {
            let keys: BTreeSet<i64> = (0..100).map(|_| rng.i64(0..rows)).collect();
            let olds = simple_rows(keys.iter().map(|key| (*key, values[*key as usize])));
            keys.iter().for_each(|key| values[*key as usize] = epoch);
            let changes = [change(olds, -1), change(simple_rows(keys.iter().map(|key| (*key, epoch))), 1)];
            if epoch == 2 + commits / 2 {
                ticks = cpu_ticks();
            }
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
        let cpu = (cpu_ticks() - ticks) as f64 * 10.0 / f64::from(commits as u32 / 2);
        let median = |times: &[Duration]| {
            let mut times = times[times.len() / 2..].to_vec();
            times.sort();
            times[times.len() / 2]
        };
        println!(
            "{rows} rows, {} parts: write {:?}, publish {:?}, sweep {:?}; slowest write {:?}; CPU of all {cpu:.1} ms",
            writer.parts().len(),
            median(&writes),
            median(&publishes),
            median(&sweeps),
            writes.iter().max().unwrap()
        );
        assert_eq!(writer.rows(), rows as u64);
    }
}

/// The CPU time of this process, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
