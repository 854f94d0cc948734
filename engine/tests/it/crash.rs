//! Kills at random moments and at every step of a commit: the views end up as if nothing had happened.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use alluvium::runtime::COMMIT_POINTS;

use crate::orders::{Orders, Running, VIEWS};

#[test]
fn killed_at_random_moments() {
    let began = Instant::now();
    let mut orders = Orders::new(VIEWS);
    orders.publish(500_000);
    println!("published after {:?}", began.elapsed());
    let mut epochs = Vec::new();
    for _ in 0..30 {
        let mut command = orders.alluvium(&["run"]);
        let mut running = Running(orders.logging(command.env("ALLUVIUM_COMMIT_INTERVAL", "20ms")).spawn().unwrap());
        let commits = orders.rng.u64(0..=2);
        orders.wait_for_commits(&mut running, "totals", commits, 500_001);
        running.kill();
        epochs.push(orders.epoch("totals"));
    }
    println!("epochs after each kill: {epochs:?}, after {:?}", began.elapsed());
    assert!(epochs.is_sorted(), "a commit was lost: {epochs:?}");
    orders.catch_up();
    orders.assert_equal(VIEWS);
    println!("took {:?}", began.elapsed());
}

#[test]
fn dies_at_every_point_of_the_commit() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(20_000);
    for point in COMMIT_POINTS {
        for passing in 1..=3 {
            let name = format!("{point}:{passing}");
            // Give each run something to commit.
            orders.publish(300);
            let mut command = orders.alluvium(&["run"]);
            let mut running = Running(orders.logging(command.env("ALLUVIUM_FAILPOINT", &name)).spawn().unwrap());
            let began = Instant::now();
            let status = loop {
                if let Some(status) = running.0.try_wait().unwrap() {
                    break status;
                }
                assert!(began.elapsed() < Duration::from_secs(90), "{name} was never reached: {}", orders.log());
                orders.publish(10);
            };
            assert_eq!(status.signal(), Some(6), "{name}: {}", orders.log());
        }
        orders.catch_up();
        orders.assert_equal(VIEWS);
    }
}
