//! Damage of any file that a record names, from one flipped bit to the file of an earlier commit: it is never served and never carried on, it
//! concerns its view alone, and a rebuild of that view heals it.

mod kinds;

use std::path::{Path, PathBuf};

use self::kinds::Damage;
use crate::duckdb;
use crate::orders::{Orders, VIEWS, wait_until};
use crate::recovery::state_file;
use crate::served::Served;

/// Flips one bit of a file, anywhere in it.
pub(crate) fn flip(path: &Path, rng: &mut fastrand::Rng) {
    let mut bytes = std::fs::read(path).unwrap();
    let (at, bit) = (rng.usize(..bytes.len()), rng.u8(..8));
    bytes[at] ^= 1 << bit;
    println!("bit {bit} of byte {at} of {} in {} is flipped", bytes.len(), path.display());
    std::fs::write(path, bytes).unwrap();
}

/// The parts of a view's last commit.
pub(crate) fn parts(view: &Path) -> Vec<PathBuf> {
    let manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(view.join("manifest.json")).unwrap()).unwrap();
    let parts = manifest["parts"].as_array().unwrap().iter();
    parts.map(|part| view.join("parts").join(part["file"].as_str().unwrap())).collect()
}

/// What a command printed, in one line: a report breaks long paths.
pub(crate) fn joined(output: &std::process::Output) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    text.chars().filter(|character| !character.is_whitespace() && *character != '\u{2502}').collect()
}

/// The files of dead letters, in order.
pub(crate) fn letter_files(orders: &Orders) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(orders.dir().join("data/dead_letters")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn a_flipped_bit_in_a_part_is_neither_served_nor_carried_on() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(20_000);
    orders.catch_up();
    for _ in 0..4 {
        let parts = parts(&orders.view("by_customer"));
        let mut rng = fastrand::Rng::with_seed(orders.rng.u64(..));
        let damaged = &parts[rng.usize(..parts.len())];
        let name = damaged.file_name().unwrap().to_str().unwrap();
        flip(damaged, &mut rng);
        let served =
            orders.ask(&["query", "SELECT sum(n), sum(revenue), max(newest), count(DISTINCT customer) FROM by_customer"]);
        let said = joined(&served);
        assert!(served.status.code() == Some(1) && said.contains(name) && said.contains("damaged"), "{said}");

        // So many customers that each part changes.
        orders.publish(1_000);
        let run = orders.ask(&["run", "--until-caught-up"]);
        let said = joined(&run);
        assert!(run.status.code() == Some(1) && said.contains(name) && !said.contains("internalerror"), "{said}");
        assert!(said.contains("viewby_customer:") && said.contains("alluviumrebuildby_customer"), "{said}");
        let status = orders.succeed(&["status"]);
        assert!(status.lines().any(|line| line.contains("by_customer") && line.contains("failed")), "{status}");
        let others: Vec<_> = VIEWS.iter().copied().filter(|(view, _)| *view != "by_customer").collect();
        orders.assert_equal(&others);
        orders.succeed(&["rebuild", "by_customer"]);
        orders.assert_equal(VIEWS);
        orders.succeed(&["query", "SELECT sum(n) FROM by_customer"]);
    }
}

#[test]
fn a_flipped_bit_in_what_says_where_things_are_is_mended_from_the_record() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(5_000);
    orders.catch_up();
    for file in ["manifest.json", "checkpoint.json"] {
        for _ in 0..4 {
            let mut rng = fastrand::Rng::with_seed(orders.rng.u64(..));
            let path = orders.view("by_bucket").join(file);
            let expected = orders.succeed(&["query", "SELECT sum(n), sum(revenue) FROM by_bucket"]);
            flip(&path, &mut rng);
            let output = orders.ask(&["query", "SELECT sum(n), sum(revenue) FROM by_bucket"]);
            let said = joined(&output);
            assert!(
                output.stdout == expected.as_bytes() || (output.status.code() == Some(1) && said.contains(file)),
                "{file}: {said}"
            );
            orders.publish(500);
            let output = orders.ask(&["run", "--until-caught-up"]);
            assert!(output.status.success(), "{file}: {}", joined(&output));
            orders.assert_equal(VIEWS);
        }
    }
}

/// Views that have committed 5,000 orders. A file stands where the snapshots of `best`, which reads another view, are made at the next start.
fn with_best_in_the_way() -> (Orders, PathBuf) {
    let mut orders = Orders::new(VIEWS);
    orders.publish(5_000);
    orders.catch_up();
    let snapshots = orders.view("best").join("snapshots");
    std::fs::remove_dir_all(&snapshots).unwrap();
    std::fs::write(&snapshots, "in the way").unwrap();
    (orders, snapshots)
}

#[test]
fn a_view_that_reads_another_and_cannot_be_published_again_fails_alone() {
    let (mut orders, snapshots) = with_best_in_the_way();
    orders.publish(500);
    let output = orders.ask(&["run", "--until-caught-up"]);
    let said = joined(&output);
    assert!(output.status.code() == Some(1) && said.contains("views/best/current") && !said.contains("panic"), "{said}");
    let others: Vec<_> = VIEWS.iter().copied().filter(|(view, _)| *view != "best").collect();
    orders.assert_equal(&others);

    // What is in the way goes away: the next run makes it from its first event, since the view that it reads has gone on.
    std::fs::remove_file(&snapshots).unwrap();
    orders.publish(500);
    orders.catch_up();
    orders.assert_equal(VIEWS);
}

#[test]
fn a_view_that_could_not_be_published_again_is_restarted_beside_the_view_that_it_reads() {
    let (mut orders, snapshots) = with_best_in_the_way();
    // No new event: both views are at one position.
    let mut served = Served::start(&orders, &[]);
    wait_until("it has failed alone", || served.phase("best") == "failed" && served.phase("by_bucket") == "live");
    std::fs::remove_file(&snapshots).unwrap();
    orders.succeed(&["restart", "best"]);
    orders.publish(500);
    wait_until("both have committed everything", || ["best", "by_bucket"].iter().all(|view| orders.offset(view) == 5_501));
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(VIEWS);
}

#[test]
fn a_damaged_file_of_dead_letters_is_passed_over_and_stops_nothing() {
    let mut orders = Orders::new(VIEWS);
    orders.publish_bodies(vec![b"no order".to_vec()]);
    orders.catch_up_with_letters();
    orders.publish_bodies(vec![b"no order either".to_vec()]);
    orders.catch_up_with_letters();
    let files = letter_files(&orders);
    assert_eq!(files.len(), 2, "{files:?}");
    let mut rng = fastrand::Rng::with_seed(orders.rng.u64(..));
    flip(&files[0], &mut rng);
    let listed = orders.ask(&["dead-letters", "list"]);
    let said = joined(&listed);
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(listed.status.success() && said.contains(name) && said.contains("damaged"), "{said}");
    let shown = orders.succeed(&["dead-letters", "show"]);
    assert!(shown.contains("no order either") && !shown.contains("no order\n"), "{shown}");
    // One that is written again, since a letter of it was dropped, is sealed again.
    orders.publish_bodies(vec![b"third".to_vec(), b"fourth".to_vec()]);
    orders.catch_up_with_letters();
    orders.succeed(&["dead-letters", "drop", "--sequence", "3", "--yes"]);
    let shown = orders.succeed(&["dead-letters", "show", "--sequence", "4"]);
    assert!(shown.contains("fourth"), "{shown}");
    orders.publish(5_000);
    orders.catch_up();
    orders.assert_equal(VIEWS);
    let rows = duckdb::rows(&format!("SELECT count(*) AS n FROM read_parquet('{}')", files[1].display())).unwrap();
    assert_eq!(rows[0]["n"], 1);
}

/// A file of `by_customer` of each kind.
fn file_of(orders: &Orders, kind: &str) -> PathBuf {
    let view = orders.view("by_customer");
    match kind {
        "part" => parts(&view)[0].clone(),
        "state" => state_file(orders, "by_customer"),
        _ => view.join(kind),
    }
}

/// What another view's file of this kind holds.
fn other_of(orders: &Orders, kind: &str) -> Vec<u8> {
    let view = orders.view("by_bucket");
    let path = match kind {
        "part" => parts(&view)[0].clone(),
        "state" => state_file(orders, "by_bucket"),
        _ => view.join(kind),
    };
    std::fs::read(path).unwrap()
}

/// What another state file of the same view holds, which is of another commit.
fn beside(file: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    std::fs::read(files.filter(|other| other != file).max().unwrap()).unwrap()
}

/// Damages a file of each kind in each way, and asserts that it is noticed or that every answer is right.
fn damage_in_every_way(kind: &str, has_to_be_noticed: bool) {
    let mut orders = Orders::new(VIEWS);
    orders.publish(5_000);
    orders.catch_up();
    let others: Vec<_> = VIEWS.iter().copied().filter(|(view, _)| *view != "by_customer").collect();
    let question = "SELECT sum(n), sum(revenue), max(newest), count(DISTINCT customer) FROM by_customer";
    for damage in Damage::ALL {
        let older = std::fs::read(file_of(&orders, kind)).unwrap();
        let answered_before = orders.succeed(&["query", question]);
        // So many customers that each part changes.
        orders.publish(2_000);
        orders.catch_up();
        let expected = orders.succeed(&["query", question]);
        let mut rng = fastrand::Rng::with_seed(orders.rng.u64(..));
        let (file, other) = (file_of(&orders, kind), other_of(&orders, kind));
        let older = if kind == "state" { beside(&file) } else { older };
        let changed = (0..100).any(|_| damage.apply(&file, (&other, &older), &mut rng));
        assert!(changed, "{kind}, {damage:?}: the file is as it was");
        let name: String = file.file_name().unwrap().to_str().unwrap().to_owned();
        let said_of = |output: &std::process::Output| {
            let said = joined(output);
            assert!(!said.contains("internalerror") && !said.contains("panic"), "{kind}, {damage:?}: {said}");
            said
        };
        let output = orders.ask(&["query", question]);
        let said = said_of(&output);
        // A manifest of another view names files that are not there.
        let refused = output.status.code() == Some(1) && (said.contains(&name) || said.contains("amanifestbelow"));
        // The manifest of an earlier commit is whole: what it lists is the answer of that commit.
        let of_that_commit = damage == Damage::Older && output.stdout == answered_before.as_bytes();
        assert!(refused || output.stdout == expected.as_bytes() || of_that_commit, "{kind}, {damage:?}: {said}");
        orders.publish(2_000);
        let output = orders.ask(&["run", "--until-caught-up"]);
        let said = said_of(&output);
        let failed = !output.status.success();
        if failed {
            assert!(output.status.code() == Some(1) && said.contains(&name), "{kind}, {damage:?}: {said}");
            assert!(
                said.contains("viewby_customer:") && said.contains("alluviumrebuildby_customer"),
                "{kind}, {damage:?}: {said}"
            );
            orders.assert_equal(&others);
            orders.succeed(&["rebuild", "by_customer"]);
        }
        assert!(refused || failed || !has_to_be_noticed, "{kind}, {damage:?}: nobody noticed: {said}");
        orders.assert_equal(VIEWS);
        orders.succeed(&["verify", "by_customer"]);
    }
}

#[test]
fn a_part_that_is_damaged_in_any_way_is_noticed() {
    damage_in_every_way("part", true);
}

#[test]
fn a_state_file_that_is_damaged_in_any_way_is_noticed() {
    damage_in_every_way("state", true);
}

#[test]
fn a_manifest_that_is_damaged_in_any_way_gives_no_wrong_answer() {
    damage_in_every_way("manifest.json", false);
}

#[test]
fn a_record_beside_its_view_that_is_damaged_in_any_way_gives_no_wrong_answer() {
    damage_in_every_way("checkpoint.json", false);
}
