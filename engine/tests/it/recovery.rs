//! Missing or damaged files of the data folder: the program restores what it can, and otherwise stops with the name of the file.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::duckdb;
use crate::orders::{Orders, VIEWS};

fn overwrite(path: &Path, rng: &mut fastrand::Rng) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    assert!(length > 64, "{} is empty", path.display());
    let start = rng.u64(..length / 2);
    let garbage: Vec<u8> = (start..length).map(|_| rng.u8(..)).collect();
    file.write_all_at(&garbage, start).unwrap();
    println!("{} is garbage from byte {start} of {length} on", path.display());
}

#[test]
fn a_database_that_is_lost_or_damaged_is_restored_from_the_records_beside_the_views() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    // A dead letter: the program must not forget which ones were kept.
    orders.publish_bodies(vec![b"no order".to_vec()]);
    orders.catch_up_with_letters();
    let checkpoints = orders.dir().join("data/checkpoints");
    for damage in ["removed", "overwritten", "emptied", "unfinished snapshot"] {
        orders.publish(500);
        let epoch = orders.epoch("totals");
        let mut rng = fastrand::Rng::with_seed(orders.rng.u64(..));
        match damage {
            "removed" => std::fs::remove_dir_all(&checkpoints).unwrap(),
            "overwritten" => overwrite(&checkpoints.join("db"), &mut rng),
            "emptied" => drop(std::fs::File::create(checkpoints.join("db")).unwrap()),
            _ => std::fs::write(checkpoints.join("snap.00000000000003A8.generating"), [7; 100]).unwrap(),
        }
        let log = orders.catch_up_saying();
        let said = if damage == "unfinished snapshot" { "set aside" } else { "restored from the record beside the view" };
        assert!(log.contains(said) && !log.contains("rebuilding"), "{damage}: {log}");
        assert!(orders.epoch("totals") > epoch, "{damage}: {log}");
        orders.assert_equal(VIEWS);
    }
    std::fs::remove_dir_all(&checkpoints).unwrap();
    orders.succeed(&["rebuild", "totals"]);
    orders.succeed(&["rebuild", "by_customer"]);
    orders.assert_equal(VIEWS);
    let letters = format!(
        "SELECT CAST(sequence AS BIGINT) AS sequence FROM read_parquet('{}/data/dead_letters/*.parquet')",
        orders.dir().display()
    );
    let letters = duckdb::rows(&letters).unwrap();
    assert_eq!(letters.iter().map(|row| row["sequence"].as_u64().unwrap()).collect::<Vec<_>>(), [1_001]);
}

#[test]
fn views_that_are_committed_together_share_one_record_from_which_all_are_restored() {
    const SQL: &str = "CREATE EXTERNAL TABLE events (id BIGINT) STORED AS FILE LOCATION 'events.jsonl';
        CREATE MATERIALIZED VIEW first AS SELECT id % 7 AS k, count(*) AS n FROM events GROUP BY id % 7;
        CREATE MATERIALIZED VIEW second AS SELECT k, n FROM first WHERE k > 2;
        CREATE MATERIALIZED VIEW third AS SELECT sum(n) AS n FROM second;";
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let run = |count: u64| {
        let events: String = (0..count).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        std::fs::write(dir.join("events.jsonl"), events).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_alluvium"));
        let output = command.env_clear().args(["run", "--until-caught-up", "--http", "off", "-C"]).arg(dir).output().unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        log
    };
    std::fs::write(dir.join("views.sql"), SQL).unwrap();
    run(70);
    let twin = |view: &str| dir.join("data/views").join(view).join("checkpoint.json");
    let file = |view: &str| std::fs::metadata(twin(view)).unwrap().ino();
    let files = std::collections::BTreeSet::from([file("first"), file("second"), file("third")]);
    assert_eq!(files.len(), 2, "the records of a commit are written twice, so that one damaged file is not the only one");

    std::fs::remove_dir_all(dir.join("data/checkpoints")).unwrap();
    let log = run(140);
    assert_eq!(log.matches("restored from the record beside the view").count(), 3, "{log}");
    assert!(!log.contains("rebuilding"), "{log}");
    let third =
        format!("SELECT CAST(n AS BIGINT) AS n FROM read_parquet('{}/data/views/third/current/*.parquet')", dir.display());
    assert_eq!(duckdb::rows(&third).unwrap()[0]["n"], 80);
}

/// Returns a state file of the view.
pub(crate) fn state_file(orders: &Orders, view: &str) -> PathBuf {
    let incarnations = std::fs::read_dir(orders.dir().join("data/state").join(view)).unwrap();
    let files = incarnations.flat_map(|incarnation| std::fs::read_dir(incarnation.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).max_by_key(|path| path.metadata().unwrap().len()).unwrap()
}

#[test]
fn a_state_file_that_is_lost_or_damaged_stops_its_view_until_it_is_rebuilt() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(20_000);
    orders.catch_up();
    for damage in ["removed", "overwritten", "one bit", "emptied"] {
        let file = state_file(&orders, "by_customer");
        let before = orders.offset("by_customer");
        match damage {
            "removed" => std::fs::remove_file(&file).unwrap(),
            "overwritten" => overwrite(&file, &mut orders.rng),
            "emptied" => drop(std::fs::File::create(&file).unwrap()),
            _ => {
                let mut bytes = std::fs::read(&file).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 4;
                std::fs::write(&file, bytes).unwrap();
            }
        }
        orders.publish(1_000);
        let stopped = orders.ask(&["run", "--until-caught-up"]);
        let error = String::from_utf8(stopped.stderr).unwrap();
        assert_eq!(stopped.status.code(), Some(1), "{damage}: {error}");
        // A long path is broken into lines, each after a bar.
        let joined: String =
            error.rsplit('\u{d7}').next().unwrap().split(|c: char| c.is_whitespace() || c == '\u{2502}').collect();
        assert!(joined.contains(file.file_name().unwrap().to_str().unwrap()), "{damage}: {error}");
        assert!(joined.contains("viewby_customer") && joined.contains("alluviumrebuildby_customer"), "{damage}: {error}");
        // The other views have gone on, and the last commit of this one can be read.
        assert_eq!((orders.offset("by_customer"), orders.offset("totals")), (before, before + 1_000), "{damage}: {error}");
        orders.assert_equal_so_far(VIEWS);
        orders.succeed(&["rebuild", "by_customer"]);
        orders.assert_equal(VIEWS);
    }
}
