//! Torture: views of every class over a real nats-server whose publishers never stop, while a driver kills, stops, cuts, slows, fills,
//! edits, damages, deletes, loses, purges and moves the clock at random. After each round, every view equals DuckDB's answer over the events
//! that the stream has held and the view has committed, or a fence has stopped it for a reason that the round explains.
//!
//! `make torture MINUTES=20 SEED=7`, or `ALLUVIUM_TORTURE_SECONDS` and `ALLUVIUM_SEED`. The seed decides what is done; when it meets what
//! the engine is doing is left to the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod actions;
mod clock;
mod compare;
mod disk;
#[allow(dead_code)]
#[path = "../it/duckdb.rs"]
mod duckdb;
mod ledger;
#[allow(dead_code)]
#[path = "../it/orders.rs"]
mod orders;
mod proxy;
mod publishers;
#[path = "../../../connectors/tests/it/server.rs"]
mod server;
mod settle;
mod torture;
mod views;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use torture::{Expected, Torture};

/// How long it runs as a part of the tests.
const SECONDS: u64 = 180;

/// How long it may take until the engine notices that the stream has lost its end, once everything works again.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);

/// Prints also where tests are captured.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn views_stay_right_whatever_happens() {
    let seed = variable("ALLUVIUM_SEED").unwrap_or_else(|| fastrand::u64(..));
    let limit = Duration::from_secs(variable("ALLUVIUM_TORTURE_SECONDS").unwrap_or(SECONDS));
    let mut torture = Torture::new(seed);
    say(&format!("torture: ALLUVIUM_SEED={seed}, {limit:?}, in {}", torture.orders.dir().display()));
    if !torture.disk.is_mounted() {
        say("torture: no file system can be mounted here: a full disk is a limit on the size of the engine's files");
    }
    let (began, mut round) = (Instant::now(), 0);
    while began.elapsed() < limit {
        round += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| one_round(&mut torture, round))) {
            torture.engine = None;
            let dir = torture.orders.dir().to_owned();
            torture.disk.keep_in(&dir.join("data-kept"));
            say(&format!("torture: failed with ALLUVIUM_SEED={seed} in round {round}; kept: {}", dir.display()));
            std::panic::resume_unwind(panic);
        }
    }
    let counts: Vec<String> = torture.counts.iter().map(|(what, count)| format!("  {count:>6} {what}")).collect();
    say(&format!(
        "torture: {round} rounds over {} events in {:?}, ALLUVIUM_SEED={seed}\n{}",
        torture.ledger.len(),
        began.elapsed(),
        counts.join("\n")
    ));
    torture.finish();
}

fn one_round(torture: &mut Torture, round: u64) {
    torture.note(&format!("round {round}"));
    let began = Instant::now();
    torture.expected = Expected::default();
    let actions: Vec<&str> = (0..torture.orders.rng.u32(1..=4)).map(|_| torture.act()).collect();
    let acted = began.elapsed();
    torture.settle();
    let settled = began.elapsed();
    let mut different = torture.compare();
    while !different.is_empty() {
        // Until the server has answered again, the engine does not know that the stream has lost its end, and serves the last commit.
        let may_not_know = torture.expected.lost_tail && began.elapsed() < settled + NOTICED_WITHIN;
        assert!(may_not_know, "views differ from their SQL (compare.txt shows it):\n{}", different.join("\n"));
        std::thread::sleep(Duration::from_millis(500));
        torture.settle();
        different = torture.compare();
    }
    let line = format!(
        "round {round}: {}; quiet after {acted:?} + {:?}, compared in {:?}",
        actions.join(", "),
        settled - acted,
        began.elapsed() - settled
    );
    torture.note(&line);
    if std::env::var_os("ALLUVIUM_TORTURE_VERBOSE").is_some() {
        say(&line);
    }
}
