//! Faults of the program and of its surroundings: what it does about them, and how it reports them.

use std::path::Path;

use crate::duckdb;
use crate::orders::{Orders, VIEWS, wait_until};
use crate::served::Served;

#[test]
fn a_panic_is_said_and_stops_only_its_own_pipeline() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    let mut served = Served::start(&orders, &[("ALLUVIUM_FAILPOINT", "panic:by_country:*")]);
    wait_until("the pipeline has failed", || served.phase("by_country") == "failed");
    let view = served.view("by_country");
    let error = view["error"].as_str().unwrap();
    assert!(error.contains("of orders") && error.contains("capacity overflow"), "{error}");
    assert!(view["restarts"].as_u64().unwrap() >= 3, "{view}");
    let others = || VIEWS.iter().map(|(name, _)| *name).filter(|name| *name != "by_country");
    wait_until("the others have committed everything", || others().all(|view| orders.offset(view) == 1_001));
    let (code, text) = served.get("/readyz");
    assert!(code == 503 && text.contains("by_country"), "{code}: {text}");
    let metrics = served.get("/metrics").1;
    assert!(metrics.contains("alluvium_view_failed{view=\"by_country\"} 1"), "{metrics}");
    assert!(metrics.contains("alluvium_view_restarts_total{view=\"by_country\",kind=\"bug\"}"), "{metrics}");

    // After a restart by command it fails again. The other views go on undisturbed.
    let told = orders.succeed(&["restart", "by_country"]);
    assert!(told.contains("restarting by_country"), "{told}");
    let refused = orders.ask(&["restart", "totals"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is running"));
    wait_until("it has failed again", || served.phase("by_country") == "failed");
    orders.publish(100);
    wait_until("the others go on", || others().all(|view| orders.offset(view) == 1_101));
    assert_eq!(served.running.end(), Some(1), "{}", orders.log());
    assert!(orders.log().contains("panic: capacity overflow"), "{}", orders.log());

    let mut command = orders.alluvium(&["run", "--until-caught-up"]);
    let ended = command.env("ALLUVIUM_FAILPOINT", "panic:by_country:*").output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    orders.catch_up();
    orders.assert_equal(VIEWS);
}

#[test]
fn the_event_on_which_a_view_panics_is_set_aside() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(5_000);
    let mut served = Served::start(&orders, &[("ALLUVIUM_FAILPOINT", "panic:by_country:2345")]);
    wait_until("every view has committed everything", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 5_001));
    orders.publish(100);
    wait_until("every view goes on", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 5_101));
    wait_until("it is ready", || served.ready());
    let metrics = served.get("/metrics").1;
    assert!(metrics.contains("alluvium_dead_letters_total{source=\"orders\",view=\"by_country\",kind=\"crash\"} 1"), "{metrics}");
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    let letters = format!(
        "SELECT CAST(sequence AS BIGINT) AS sequence, view, kind FROM read_parquet('{}/data/dead_letters/*.parquet')",
        orders.dir().display()
    );
    let letters = duckdb::rows(&letters).unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(
        (&letters[0]["sequence"], &letters[0]["view"], &letters[0]["kind"]),
        (&2_345.into(), &"by_country".into(), &"crash".into())
    );
    let others: Vec<_> = VIEWS.iter().copied().filter(|(name, _)| *name != "by_country").collect();
    orders.assert_equal(&others);
    // The view is its SQL over all other events.
    let file = std::fs::read_to_string(orders.file()).unwrap();
    let left: String = file.lines().enumerate().filter(|(line, _)| *line != 2_344).map(|(_, text)| format!("{text}\n")).collect();
    std::fs::write(orders.file(), left).unwrap();
    orders.assert_equal(&VIEWS[..1]);
}

#[test]
fn an_event_that_was_set_aside_is_not_met_again() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(3_000);
    let fault = [("ALLUVIUM_FAILPOINT", "panic:by_country:1234")];
    let mut served = Served::start(&orders, &fault);
    wait_until("every view has committed everything", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 3_001));
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    let panics = orders.log().matches("panic: capacity overflow").count();
    assert!(panics > 0);

    // A rebuild in another process reads all events again.
    let mut rebuild = orders.alluvium(&["rebuild", "by_country"]);
    let rebuilt = orders.logging(rebuild.envs(fault)).status().unwrap();
    assert!(rebuilt.success(), "{}", orders.log());
    assert_eq!(orders.log().matches("panic: capacity overflow").count(), panics, "{}", orders.log());
    let letters = format!("SELECT sequence FROM read_parquet('{}/data/dead_letters/*.parquet')", orders.dir().display());
    assert_eq!(duckdb::rows(&letters).unwrap().len(), 1);
    orders.assert_equal(&VIEWS[1..]);

    // A new version of the view gets the event again.
    let changed = "SELECT country, count(*) AS n, sum(total) AS revenue, max(total) AS most FROM orders GROUP BY country";
    orders.declare("by_country", changed);
    orders.publish(10);
    orders.catch_up();
    let mut views = VIEWS.to_vec();
    views[0].1 = changed;
    orders.assert_equal(&views);
}

#[test]
fn a_second_rebuild_is_refused_until_the_first_is_swapped_in() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(20_000);
    let mut served = Served::start(&orders, &[]);
    wait_until("every view is live", || served.ready());
    let mut begun = 0;
    for _ in 0..10 {
        for view in ["by_bucket", "best"] {
            let answer = orders.ask(&["rebuild", view]);
            let error = String::from_utf8(answer.stderr).unwrap();
            begun += usize::from(answer.status.success());
            assert!(answer.status.success() || error.contains("is under way"), "{error}");
        }
        orders.publish(50);
    }
    assert!(begun > 1, "{begun}");
    wait_until("all is swapped in", || orders.log().matches("rebuilt and swapped in").count() == 2 * begun);
    wait_until("every view goes on", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 20_501));
    assert!(served.ready(), "{}", served.get("/readyz").1);
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(VIEWS);
}

#[test]
fn a_server_that_is_away_while_a_view_reads_for_itself_is_waited_for() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(20_000);
    orders.catch_up();
    let mut views = VIEWS.to_vec();
    views.push(("sized", "SELECT o.order_id, b.n FROM orders o JOIN by_bucket b ON o.customer % 1000 = b.bucket"));
    orders.declare("sized", views[VIEWS.len()].1);
    orders.server.stop();
    let mut served = Served::start(&orders, &[]);
    wait_until("the rebuild is tried again", || served.view("sized")["rebuild_error"].as_str().is_some());
    wait_until("the others say what they wait for", || {
        served.phase("totals") == "disconnected"
            && served.view("totals")["error"].as_str().is_some_and(|text| text.contains("orders"))
    });
    assert!(!served.ready());
    orders.server.resume();
    orders.publish(100);
    wait_until("every view has committed everything", || views.iter().all(|(name, _)| orders.offset(name) == 20_101));
    wait_until("it is ready", || served.ready());
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(&views);
}

#[test]
fn a_stream_that_is_not_there_yet_is_waited_for() {
    let mut orders = Orders::new(VIEWS);
    orders.with_jetstream(async |context| {
        context.delete_stream("ORDERS").await.unwrap();
    });
    let ended = orders.ask(&["run", "--until-caught-up"]);
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(1) && error.contains("no stream ORDERS"), "{error}");

    let mut served = Served::start(&orders, &[]);
    wait_until("it says what it waits for", || {
        served.phase("totals") == "retrying"
            && served.view("totals")["error"].as_str().is_some_and(|text| text.contains("no stream ORDERS"))
    });
    orders.make_stream();
    orders.publish(1_000);
    wait_until("every view has committed everything", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 1_001));
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(VIEWS);
}

#[test]
fn a_view_that_is_damaged_stops_alone_and_can_be_rebuilt() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(5_000);
    orders.catch_up();
    std::fs::remove_dir_all(orders.view("by_country")).unwrap();
    std::fs::write(orders.view("totals").join("manifest.json"), "no manifest").unwrap();
    let parts = orders.view("large_orders").join("parts");
    for part in std::fs::read_dir(parts).unwrap() {
        std::fs::remove_file(part.unwrap().path()).unwrap();
    }
    orders.publish(500);
    let ended = orders.ask(&["run", "--until-caught-up"]);
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("by_country") && error.contains("rebuild"), "{error}");
    for view in ["totals", "by_customer", "best"] {
        assert_eq!(orders.offset(view), 5_501, "{view}: {error}");
    }
    for view in ["by_country", "large_orders"] {
        orders.succeed(&["rebuild", view]);
    }
    orders.catch_up();
    orders.assert_equal(VIEWS);
}

#[test]
fn a_signal_ends_a_run_that_is_busy_with_a_batch() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    let fault = [("ALLUVIUM_FAILPOINT", "hang:totals:500"), ("ALLUVIUM_SHUTDOWN_TIMEOUT", "300ms")];
    let mut served = Served::start(&orders, &fault);
    wait_until("the others have committed everything", || orders.offset("by_country") == 1_001);
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    assert!(orders.log().contains("totals") && orders.log().contains("the shutdown took too long"), "{}", orders.log());
    orders.catch_up();
    orders.assert_equal(VIEWS);
}

/// The limit on the size of a file, in bytes. Files of views and state are smaller; the checkpoint database grows beyond it.
#[cfg(target_os = "linux")]
const LIMIT_BYTES: u64 = 200 << 10;

#[cfg(target_os = "linux")]
#[test]
fn a_run_goes_on_when_the_disk_takes_its_commits_again() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let mut orders = Orders::new(VIEWS);
    // With this many orders, some are large.
    orders.publish(1_000);
    let program = orders.alluvium(&["run", "--http", "127.0.0.1:0"]);
    // With the signal ignored, a write beyond the limit fails with an error.
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
    command.env_clear().env("ALLUVIUM_COMMIT_INTERVAL", "20ms").stdin(std::process::Stdio::null());
    let mut served = Served::of(&orders, command);
    wait_until("every view is live", || served.ready());

    let pid = Pid::from_child(&served.running.0);
    let limit = |bytes| prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
    limit(Some(LIMIT_BYTES));
    let refused = |view: &serde_json::Value| {
        view["phase"] == "retrying" && view["error"].as_str().is_some_and(|text| text.contains("checkpoints"))
    };
    let mut published = 1_000;
    wait_until("the database cannot be written", || {
        orders.publish(1);
        published += 1;
        VIEWS.iter().any(|(name, _)| refused(&served.view(name)))
    });
    limit(None);
    orders.publish(100);
    wait_until("every view goes on", || VIEWS.iter().all(|(name, _)| orders.offset(name) == published + 101));
    wait_until("it is ready", || served.ready());
    assert!(orders.log().contains("opened again"), "{}", orders.log());
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(VIEWS);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = entry.map(|entry| (entry.path(), to.join(entry.file_name()))).unwrap();
        if path.is_dir() {
            copy(&path, &target)
        } else {
            {
                std::fs::copy(path, target).unwrap();
            }
        }
    }
}

#[test]
fn a_rebuild_after_a_lost_tail_ends() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    // The server's store goes back to an earlier state, as after a power cut.
    orders.server.stop();
    let (store, earlier) = (orders.server.folder().join("store"), orders.server.folder().join("earlier"));
    copy(&store, &earlier);
    let published = std::fs::read(orders.file()).unwrap();
    orders.server.resume();
    orders.publish(500);
    orders.publish_bodies(vec![b"lost".to_vec()]);
    orders.catch_up_with_letters();
    orders.server.stop();
    std::fs::remove_dir_all(&store).unwrap();
    copy(&earlier, &store);
    std::fs::write(orders.file(), published).unwrap();
    orders.server.resume();

    let ended = orders.ask(&["run", "--until-caught-up"]);
    let error = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(1) && error.contains("lost its end"), "{error}");
    assert_eq!(orders.offset("totals"), 1_502);
    for (name, _) in VIEWS {
        orders.succeed(&["rebuild", name]);
    }
    assert_eq!(orders.offset("totals"), 1_001);
    orders.assert_equal(VIEWS);
    orders.publish(10);
    // The stream has used the sequence of this event before.
    orders.publish_bodies(vec![b"bad".to_vec()]);
    orders.catch_up_with_letters();
    assert_eq!(orders.offset("totals"), 1_012);
    let letters = format!(
        "SELECT CAST(sequence AS BIGINT) AS sequence, decode(payload) AS body FROM read_parquet('{}/data/dead_letters/*.parquet') \
         ORDER BY sequence",
        orders.dir().display()
    );
    let letters: Vec<String> =
        duckdb::rows(&letters).unwrap().iter().map(|row| format!("{} {}", row["sequence"], row["body"])).collect();
    assert_eq!(letters, ["1011 \"bad\"", "1501 \"lost\""]);
}
