//! Views that are changed, removed and added while their data stays.

use crate::duckdb;
use crate::orders::{Orders, Running, VIEWS, wait_until};

/// Returns `VIEWS` with some queries replaced.
fn with(changed: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    VIEWS.iter().map(|view| changed.iter().find(|(name, _)| *name == view.0).map_or(*view, |changed| *changed)).collect()
}

#[test]
fn a_changed_view_is_rebuilt_while_the_old_one_serves() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(200_000);
    orders.catch_up();
    let changed = with(&[(
        "by_bucket",
        "SELECT customer % 500 AS bucket, count(*) AS n, sum(total) AS revenue FROM orders GROUP BY customer % 500",
    )]);
    orders.declare("by_bucket", changed[1].1);
    let mut running = orders.start();
    let mut seen = Vec::new();
    wait_until("the changed view is swapped in", || {
        let answer = orders.succeed(&["query", "SELECT count(*) AS rows, sum(n) AS n FROM by_bucket", "--format", "csv"]);
        let answer = answer.lines().nth(1).unwrap().to_owned();
        assert!(["1000,200000", "500,200000"].contains(&answer.as_str()), "{answer}");
        let done = answer == "500,200000";
        seen.push(answer);
        done
    });
    println!("{} answers until the swap", seen.len());
    assert_eq!(running.end(), Some(0), "{}", orders.log());
    orders.catch_up();
    orders.assert_equal(&changed);
}

#[test]
fn a_view_whose_file_is_gone_stays_until_it_is_dropped() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(10_000);
    orders.catch_up();
    std::fs::remove_file(orders.dir().join("large_orders.sql")).unwrap();
    orders.publish(10_000);
    orders.catch_up();
    let rows = format!("SELECT count(*) AS n FROM read_parquet('{}/current/*.parquet')", orders.view("large_orders").display());
    assert!(duckdb::rows(&rows).unwrap()[0]["n"].as_u64().unwrap() > 0);
    let status: serde_json::Value = serde_json::from_str(&orders.succeed(&["status", "--format", "json"])).unwrap();
    let phase = |view: &str| {
        let views = status["views"].as_array().unwrap();
        views.iter().find(|one| one["view"] == view).unwrap()["phase"].clone()
    };
    assert_eq!((phase("large_orders"), phase("totals")), ("orphaned".into(), "stopped".into()));
    orders.succeed(&["drop", "large_orders", "--yes"]);
    assert!(!orders.view("large_orders").exists());
    orders.catch_up();
    let left: Vec<_> = VIEWS.iter().copied().filter(|(name, _)| *name != "large_orders").collect();
    orders.assert_equal(&left);
}

#[test]
fn a_new_view_of_a_view_is_right_though_old_events_are_gone() {
    for purged in [false, true] {
        let mut orders = Orders::new(VIEWS);
        orders.publish(20_000);
        orders.catch_up();
        if purged {
            orders.with_jetstream(async |context| {
                context.get_stream("ORDERS").await.unwrap().purge().sequence(15_001).await.unwrap();
            });
        }
        orders.publish(1_000);
        let mut views = VIEWS.to_vec();
        views.push(("busy", "SELECT bucket, n FROM by_bucket WHERE n > 15"));
        orders.declare("busy", views[VIEWS.len()].1);
        orders.catch_up();
        orders.assert_equal(&views);
        orders.publish(1_000);
        orders.catch_up();
        orders.assert_equal(&views);
    }
}

#[test]
fn a_running_engine_is_told_to_rebuild() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(50_000);
    let mut command = orders.alluvium(&["run", "--http", "127.0.0.1:0"]);
    let mut running = Running(orders.logging(&mut command).spawn().unwrap());
    let committed = |offset: u64| VIEWS.iter().all(|(name, _)| orders.offset(name) == offset);
    wait_until("every view has committed everything", || committed(50_001));
    let told = orders.succeed(&["rebuild", "by_bucket"]);
    assert!(told.contains("rebuilding by_bucket"), "{told}");
    wait_until("the rebuilt view is swapped in", || orders.log().contains("rebuilt and swapped in"));
    orders.publish(1_000);
    wait_until("the rebuilt view goes on", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 51_001));
    assert_eq!(running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(VIEWS);
}

/// Returns the folders of a view's state. There is more than one while the view is rebuilt.
fn incarnations(orders: &Orders, view: &str) -> Vec<std::ffi::OsString> {
    let entries = std::fs::read_dir(orders.dir().join("data/state").join(view)).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn a_rebuild_that_is_killed_leaves_the_old_view_and_is_finished_by_the_next_start() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(100_000);
    orders.catch_up();
    // Kill it as soon as it reads, at the last moment before the commit that swaps the views, and right after it.
    for point in ["", "before_state", "after_dead_letters", "after_commit", "after_twin"] {
        let (epoch, old) = (orders.epoch("by_bucket"), incarnations(&orders, "by_bucket"));
        let mut command = orders.alluvium(&["rebuild", "by_bucket"]);
        let mut rebuild = Running(orders.logging(command.env("ALLUVIUM_FAILPOINT", point)).spawn().unwrap());
        if point.is_empty() {
            wait_until("the rebuild has begun", || incarnations(&orders, "by_bucket").len() > 1);
            rebuild.kill();
        } else {
            assert_eq!(rebuild.0.wait().unwrap().code(), None, "{point} was never reached: {}", orders.log());
        }
        assert_eq!(orders.epoch("by_bucket"), epoch, "{point}: readers see the old view");
        orders.assert_equal(VIEWS);
        let log = orders.catch_up_saying();
        let swapped = ["after_commit", "after_twin"].contains(&point);
        assert_eq!(log.contains("rebuilding from the first event"), !swapped, "{point}: {log}");
        let new = incarnations(&orders, "by_bucket");
        assert!(new.len() == 1 && new != old, "{point}: {old:?} {new:?}");
        assert!(orders.epoch("by_bucket") > epoch, "{point}");
        orders.assert_equal(VIEWS);
        orders.publish(100);
        let log = orders.catch_up_saying();
        assert!(!log.contains("rebuilding"), "{point}: the rebuild is done twice: {log}");
        orders.assert_equal(VIEWS);
    }
}
