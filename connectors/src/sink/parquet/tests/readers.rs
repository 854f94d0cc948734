//! Readers during commits never get a wrong answer, and never fail if they use the manifest.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::*;

const KEYS: i64 = 2_000;

/// Each commit moves an amount between two keys. Rows and sum are constant, but only within one snapshot.
#[test]
fn readers_never_see_a_wrong_answer() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("v");
    let mut writer = ViewWriter::open(&root, simple_schema(), PartLayout::Hashed { columns: vec![0] }, Vec::new()).unwrap();
    let mut values = vec![1_i64; KEYS as usize];
    let parts = writer.write(1, &[Delta { rows: simple_rows((0..KEYS).map(|key| (key, 1))), weights: None }]).unwrap();
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    publish(&root, &snapshot(1, now_ms(), &parts)).unwrap();
    let right = (KEYS as u64, KEYS);
    let stop = AtomicBool::new(false);
    let (queries, missed) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let manifest = read_manifest(&root).unwrap().unwrap();
                let files: Vec<_> = manifest.files.iter().map(std::path::PathBuf::from).collect();
                assert_eq!(rows_and_sum(&files), Ok(right));
                queries.fetch_add(1, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Like a glob: lists the names first, then opens each file by its path through the link.
                let Ok(entries) = fs::read_dir(root.join("current")) else { continue };
                let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
                let files: Vec<_> = names
                    .iter()
                    .filter(|name| name.to_string_lossy().ends_with(".parquet"))
                    .map(|name| root.join("current").join(name))
                    .collect();
                match rows_and_sum(&files) {
                    Ok(seen) => assert_eq!(seen, right),
                    // The link moved between listing and reading. The file is then missing, but never has other content.
                    Err(error) => {
                        assert!(error.contains("No such file"), "{error}");
                        missed.fetch_add(1, Ordering::Relaxed);
                    }
                }
                queries.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut rng = fastrand::Rng::with_seed(3);
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let mut epoch = 1;
        while (queries.load(Ordering::Relaxed) < 1_000 || epoch < 300) && std::time::Instant::now() < deadline {
            epoch += 1;
            let (a, b) = (rng.i64(0..KEYS / 2), rng.i64(KEYS / 2..KEYS));
            let old = simple_rows([(a, values[a as usize]), (b, values[b as usize])]);
            values[a as usize] += 5;
            values[b as usize] -= 5;
            let new = simple_rows([(a, values[a as usize]), (b, values[b as usize])]);
            let parts = writer.write(epoch, &[change(old, -1), change(new, 1)]).unwrap();
            publish(&root, &snapshot(epoch, now_ms(), &parts)).unwrap();
            let retention = Retention { kept: 10, min_age: Duration::from_secs(1) };
            sweep(&root, &parts, retention, SystemTime::now()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        println!(
            "{} queries, {} missed the list, {epoch} commits",
            queries.load(Ordering::Relaxed),
            missed.load(Ordering::Relaxed)
        );
        assert!(queries.load(Ordering::Relaxed) >= 100 && epoch > 50);
    });
}
