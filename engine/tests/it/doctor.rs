//! `alluvium doctor` and `alluvium backup`: what is wrong is said and mended; a copy of a running or a stopped engine goes on where it was
//! taken.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::damage::{flip, joined, letter_files, parts};
use crate::duckdb;
use crate::orders::{Orders, Paced, VIEWS, wait_until};
use crate::recovery::state_file;

#[test]
fn doctor_says_what_is_wrong_and_mends_it() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(5_000);
    orders.publish_bodies(vec![b"no order".to_vec()]);
    orders.catch_up_with_letters();
    let said = orders.succeed(&["doctor"]);
    assert!(said.contains("of 6 views read") && said.contains("all as written"), "{said}");
    let data = orders.dir().join("data");
    for kind in
        ["part", "state", "lost part", "manifest", "current", "record", "lost record", "old record", "database", "letters"]
    {
        let mut rng = fastrand::Rng::with_seed(orders.rng.u64(..));
        let view = orders.view("by_customer");
        let (file, remedy) = match kind {
            "part" => (parts(&view)[0].clone(), "have by_customer rebuilt"),
            "lost part" => (parts(&view)[0].clone(), "have by_customer rebuilt"),
            "state" => (state_file(&orders, "by_customer"), "have by_customer rebuilt"),
            "manifest" => (view.join("manifest.json"), "make the manifest and the links of by_customer"),
            "current" => (view.join("current"), "make the manifest and the links of by_customer"),
            "record" | "lost record" | "old record" => (view.join("checkpoint.json"), "write the record of by_customer again"),
            "database" => (data.join("checkpoints/db"), "set the database aside"),
            _ => (letter_files(&orders)[0].clone(), "move the file"),
        };
        match kind {
            "old record" => {
                let old = std::fs::read(&file).unwrap();
                orders.publish(200);
                orders.catch_up_perhaps_with_letters();
                std::fs::write(&file, old).unwrap();
            }
            "lost part" | "lost record" | "current" => std::fs::remove_file(&file).unwrap(),
            "database" => std::fs::write(&file, vec![0xa5; 4096]).unwrap(),
            _ => flip(&file, &mut rng),
        }
        for _ in 0..2 {
            let output = orders.ask(&["doctor"]);
            let found = joined(&output);
            let remedy: String = remedy.split_whitespace().collect();
            assert!(output.status.code() == Some(1) && found.contains(&remedy), "{kind}: {found}");
            assert!(found.contains("doctor--repair") && !found.contains("internalerror"), "{kind}: {found}");
        }
        let said = orders.succeed(&["doctor", "--repair"]);
        assert!(said.ends_with("done\n"), "{kind}: {said}");
        orders.publish(200);
        orders.catch_up_perhaps_with_letters();
        orders.assert_equal(VIEWS);
        let said = orders.succeed(&["doctor"]);
        assert!(said.contains("all as written"), "{kind}: {said}");
    }
    assert!(data.join("dead_letters/.damaged").read_dir().unwrap().next().is_some());
}

#[test]
fn doctor_and_backup_work_beside_an_engine_and_a_copy_goes_on() {
    let mut orders = Orders::new(VIEWS);
    // In the place of the first order, so that the number of each other one is its sequence.
    orders.next();
    let mut bodies = vec![b"no order".to_vec()];
    let mut lines = String::new();
    for _ in 0..20_000 {
        let order = orders.next();
        writeln!(lines, "{order}").unwrap();
        bodies.push(order.into_bytes());
    }
    orders.append(&lines);
    let mut running = orders.start();
    let publisher = Paced::start(&orders, "totals", bodies);
    wait_until("it commits", || VIEWS.iter().all(|(name, _)| orders.offset(name) > 1_000));
    let copies: Vec<_> = (0..3).map(|index| orders.dir().join(format!("copies/{index}"))).collect();
    for copy in &copies {
        orders.succeed(&["doctor"]);
        orders.succeed(&["backup", copy.to_str().unwrap()]);
        let refused = orders.ask(&["backup", copy.to_str().unwrap()]);
        assert!(refused.status.code() == Some(1) && joined(&refused).contains("isthere"), "{}", joined(&refused));
    }
    publisher.finish();
    running.kill();
    let stopped = orders.dir().join("copies/stopped");
    orders.succeed(&["backup", stopped.to_str().unwrap()]);
    assert!(stopped.join("checkpoints").is_dir() && !copies[0].join("checkpoints").is_dir());
    assert_eq!(std::fs::read_dir(orders.dir().join("copies")).unwrap().count(), 4, "nothing unfinished is left");
    for copy in copies.iter().chain([&stopped]) {
        restore(copy, &orders.dir().join("data"));
        orders.assert_equal_so_far(VIEWS);
        orders.succeed(&["verify"]);
        orders.succeed(&["query", "SELECT * FROM totals"]);
        orders.publish(300);
        orders.catch_up_perhaps_with_letters();
        orders.assert_equal(VIEWS);
        assert_eq!(letters(&orders), [1], "{}", copy.display());
        orders.succeed(&["doctor"]);
    }
}

#[test]
fn a_copy_after_a_kill_within_a_commit_is_of_one_commit() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(2_000);
    orders.catch_up();
    orders.publish(1_000);
    orders.publish_bodies(vec![b"no order".to_vec()]);
    // The database knows of the commit, the records beside the views do not.
    let mut killed = orders.alluvium(&["run", "--until-caught-up"]);
    let output = killed.env("ALLUVIUM_FAILPOINT", "after_commit:7").output().unwrap();
    assert!(!output.status.success(), "{}", joined(&output));
    let copy = orders.dir().join("copy");
    orders.succeed(&["backup", copy.to_str().unwrap()]);
    restore(&copy, &orders.dir().join("data"));
    orders.succeed(&["doctor"]);
    orders.catch_up_perhaps_with_letters();
    orders.assert_equal(VIEWS);
    assert_eq!(letters(&orders), [3_001]);

    let typo = orders.ask(&["--data", orders.dir().join("typo").to_str().unwrap(), "backup", "never"]);
    assert!(typo.status.code() == Some(1) && !orders.dir().join("typo").exists(), "{}", joined(&typo));
}

#[test]
fn one_repair_mends_a_commit_that_is_not_shown_and_a_snapshot_that_sled_did_not_finish() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(2_000);
    orders.catch_up();
    orders.publish(1_000);
    let mut killed = orders.alluvium(&["run", "--until-caught-up"]);
    let output = killed.env("ALLUVIUM_FAILPOINT", "after_commit:7").output().unwrap();
    assert!(!output.status.success(), "{}", joined(&output));
    // Newer than any other, as the one that a kill leaves.
    std::fs::write(orders.dir().join("data/checkpoints/snap.0000000000FFFFFF.generating"), []).unwrap();
    let found = joined(&orders.ask(&["doctor"]));
    assert!(!found.contains("setthedatabaseaside"), "the database is whole: {found}");
    // The records beside the views are behind the database, and damaged ones at that.
    flip(&orders.view("by_customer").join("checkpoint.json"), &mut orders.rng);
    let said = orders.succeed(&["doctor", "--repair"]);
    assert!(said.ends_with("done\n"), "{said}");
    orders.succeed(&["doctor"]);
    orders.assert_equal_so_far(VIEWS);
    orders.catch_up();
    orders.assert_equal(VIEWS);
}

/// As the help says.
fn restore(copy: &Path, data: &Path) {
    std::fs::remove_dir_all(data).unwrap();
    assert!(Command::new("cp").arg("-a").arg(copy).arg(data).status().unwrap().success());
}

/// The sequences of all letters.
fn letters(orders: &Orders) -> Vec<u64> {
    let files = orders.dir().join("data/dead_letters/*.parquet");
    let rows = duckdb::rows(&format!("SELECT CAST(sequence AS BIGINT) AS sequence FROM read_parquet('{}')", files.display()));
    rows.unwrap().iter().map(|row| row["sequence"].as_u64().unwrap()).collect()
}

#[test]
fn doctor_tells_apart_what_no_run_rebuilds_and_what_has_no_checksum() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    orders.publish_bodies(vec![b"no order".to_vec()]);
    orders.catch_up_with_letters();
    assert!(!orders.succeed(&["doctor"]).contains("earlier release"));
    // As a release wrote it that knew no checksums.
    let letter = &letter_files(&orders)[0];
    let copied = format!("COPY (FROM read_parquet('{0}')) TO '{0}.new' (FORMAT parquet)", letter.display());
    duckdb::rows(&copied).unwrap();
    std::fs::rename(format!("{}.new", letter.display()), letter).unwrap();
    let said = orders.succeed(&["doctor"]);
    assert!(said.contains("1 files are of an earlier release and have no checksum"), "{said}");

    std::fs::remove_file(orders.dir().join("large_orders.sql")).unwrap();
    let mut rng = fastrand::Rng::with_seed(orders.rng.u64(..));
    flip(&parts(&orders.view("large_orders"))[0], &mut rng);
    for arguments in [&["doctor"][..], &["doctor", "--repair"]] {
        let output = orders.ask(arguments);
        let said = joined(&output);
        assert!(output.status.code() == Some(1) && said.contains("noSQLfiledeclareslarge_orders"), "{arguments:?}: {said}");
    }
    orders.succeed(&["drop", "large_orders", "--yes"]);
    orders.succeed(&["doctor"]);
}
