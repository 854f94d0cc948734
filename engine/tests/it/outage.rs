//! The server goes away and comes back; the stream is recreated.

use futures::TryStreamExt;

use crate::orders::{Orders, Running, VIEWS, wait_until};
use crate::served::Served;

#[test]
fn a_server_that_was_away_is_found_again() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(50_000);
    let mut running = orders.start();
    wait_until("something is committed", || orders.epoch("totals") > 0);
    for _ in 0..2 {
        let refused = |orders: &Orders| orders.log().matches("cannot read").count();
        let before = refused(&orders);
        orders.server.stop();
        wait_until("it finds the server away", || refused(&orders) > before);
        assert!(running.0.try_wait().unwrap().is_none(), "it ended: {}", orders.log());
        orders.server.resume();
        orders.publish(20_000);
    }
    wait_until("every view has committed everything", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 90_001));
    assert_eq!(running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(VIEWS);
}

#[test]
fn a_stream_made_anew_stops_the_run_and_a_rebuild_recovers() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(20_000);
    orders.catch_up();
    orders.assert_equal(VIEWS);
    orders.with_jetstream(async |context| {
        context.delete_stream("ORDERS").await.unwrap();
    });
    orders.make_stream();
    std::fs::remove_file(orders.file()).unwrap();
    orders.publish(30_000);

    let stopped = orders.ask(&["run", "--until-caught-up"]);
    let error = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert_eq!(stopped.status.code(), Some(1), "{error}");
    assert!(error.contains("was recreated") && error.contains("alluvium rebuild"), "{error}");
    assert_eq!(orders.offset("totals"), 20_001);

    for (name, _) in VIEWS {
        orders.succeed(&["rebuild", name]);
    }
    orders.assert_equal(VIEWS);
    orders.publish(100);
    orders.catch_up();
    orders.assert_equal(VIEWS);
}

#[test]
fn a_stream_made_anew_is_followed_where_the_settings_say_so() {
    let mut orders = Orders::new(VIEWS);
    std::fs::write(orders.dir().join("alluvium.toml"), "on_stream_change = \"rebuild\"\n").unwrap();
    orders.publish(20_000);
    orders.catch_up();
    orders.assert_equal(VIEWS);
    let make_anew = |orders: &mut Orders, count| {
        orders.with_jetstream(async |context| {
            context.delete_stream("ORDERS").await.unwrap();
        });
        orders.make_stream();
        std::fs::remove_file(orders.file()).unwrap();
        orders.publish(count);
    };
    // While no engine runs. The new stream is longer, then shorter than the old one.
    for count in [30_000, 5_000] {
        make_anew(&mut orders, count);
        let log = orders.catch_up_saying();
        assert!(log.contains("rebuilding, as the settings say"), "{log}");
        orders.assert_equal(VIEWS);
    }
    // While the engine runs.
    let mut running = orders.start();
    orders.publish(1_000);
    wait_until("it follows the stream", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 6_001));
    make_anew(&mut orders, 3_000);
    wait_until("it follows the new stream", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 3_001));
    orders.publish(500);
    wait_until("it goes on", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 3_501));
    assert_eq!(running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(VIEWS);
}

#[test]
fn views_of_a_server_that_is_away_say_so() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    let mut served = Served::start(&orders, &[]);
    wait_until("every view has committed everything", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 1_001));
    wait_until("it is ready", || served.ready());
    let metric = |served: &Served, line: &str| {
        let metrics = served.get("/metrics").1;
        metrics.lines().any(|found| found == line)
    };
    wait_until("nothing is stale", || metric(&served, "alluvium_view_lag_seconds{view=\"totals\",source=\"orders\"} 0"));
    assert!(metric(&served, "alluvium_source_connected{source=\"orders\"} 1"), "{}", served.get("/metrics").1);
    assert!(orders.succeed(&["status"]).contains("\nsource orders: connected, last contact"), "{}", orders.succeed(&["status"]));

    orders.server.stop();
    wait_until("every view says so", || VIEWS.iter().all(|(name, _)| served.phase(name) == "disconnected"));
    let (code, text) = served.get("/readyz");
    assert!(code == 503 && text.contains("\"disconnected\"") && text.contains("\"source\":\"orders\""), "{code}: {text}");
    let metrics = served.get("/metrics").1;
    for line in [
        "alluvium_source_connected{source=\"orders\"} 0",
        "alluvium_view_lag_events{view=\"totals\",source=\"orders\"} NaN",
        "alluvium_view_lag_seconds{view=\"totals\",source=\"orders\"} NaN",
        "alluvium_view_disconnected{view=\"best\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    let view = served.view("best");
    assert!(view["staleness_seconds"].is_null() && view["error"].is_string(), "{view}");
    let status = orders.succeed(&["status"]);
    assert!(status.contains("\nsource orders: disconnected, last contact") && status.contains("unknown"), "{status}");

    orders.server.resume();
    orders.publish(10);
    wait_until("every view goes on", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 1_011));
    wait_until("it is ready", || served.ready());
    wait_until("it is live", || served.phase("best") == "live");
    assert!(metric(&served, "alluvium_source_connected{source=\"orders\"} 1"));
    assert_eq!(served.running.end(), Some(0), "{}", orders.log());
    orders.assert_equal(VIEWS);
}

/// A user of the server who may read streams but not create consumers.
const NO_CONSUMERS: &str = "max_payload: 8388608
authorization { users: [
  { user: publisher, password: p }
  { user: reader, password: r, permissions: { publish: { deny: [\"$JS.API.CONSUMER.>\"] } } }
] }
no_auth_user: publisher";

#[test]
fn what_the_server_does_not_permit_is_said() {
    let mut orders = Orders::on(NO_CONSUMERS, VIEWS);
    orders.publish(100);
    let reader = [("ALLUVIUM_NATS_USER", "reader"), ("ALLUVIUM_NATS_PASSWORD", "r")];
    let served = Served::start(&orders, &reader);
    wait_until("it says why it waits", || {
        served.view("totals")["error"].as_str().is_some_and(|text| text.contains("Permissions Violation"))
    });
    assert_eq!(served.phase("totals"), "disconnected");
    assert!(orders.log().contains("Permissions Violation"), "{}", orders.log());
    assert!(orders.succeed(&["status"]).contains("Permissions Violation"), "{}", orders.succeed(&["status"]));
    drop(served);

    let mut command = orders.alluvium(&["run", "--until-caught-up"]);
    let ended = command.envs(reader).env("ALLUVIUM_SOURCE_TIMEOUT", "1s").output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("gave up after 1s") && error.contains("Permissions Violation"), "{error}");
}

#[test]
fn a_run_that_ends_by_itself_does_not_wait_for_a_server_for_ever() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(2_000);
    orders.server.stop();
    let mut command = orders.alluvium(&["run", "--until-caught-up"]);
    let ended = command.env("ALLUVIUM_SOURCE_TIMEOUT", "1s").output().unwrap();
    let error = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("gave up after 1s") && error.contains("no connection to"), "{error}");
    orders.server.resume();
    orders.catch_up();
    orders.assert_equal(VIEWS);
}

#[test]
fn nor_does_it_wait_where_the_server_goes_away_while_it_reads() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(200_000);
    let mut command = orders.alluvium(&["run", "--until-caught-up"]);
    command.env("ALLUVIUM_SOURCE_TIMEOUT", "1s").env("ALLUVIUM_BATCH_EVENTS", "50");
    let mut running = Running(orders.logging(&mut command).spawn().unwrap());
    wait_until("it is at work", || orders.epoch("totals") > 0);
    orders.server.stop();
    let mut code = None;
    wait_until("it ends", || {
        code = running.0.try_wait().unwrap().map(|status| status.code());
        code.is_some()
    });
    assert!(orders.offset("totals") < 200_001, "it had read everything before");
    assert!(code == Some(Some(1)) && orders.log().contains("gave up after 1s"), "{code:?}: {}", orders.log());
    orders.server.resume();
    orders.catch_up();
    orders.assert_equal(VIEWS);
}

#[test]
fn a_command_that_reads_events_gives_up_where_the_server_goes_away() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(200_000);
    // By consumer: how many messages were delivered.
    let consumers = |orders: &Orders| {
        orders.with_jetstream(async |context| {
            let stream = context.get_stream("ORDERS").await.unwrap();
            let infos: Vec<_> = stream.consumers().try_collect().await.unwrap();
            infos.iter().map(|info| info.delivered.consumer_sequence).collect::<Vec<u64>>()
        })
    };
    for arguments in [&["query", "SELECT count(*) FROM orders"][..], &["sample", "orders", "--last", "150000"]] {
        let mut command = orders.alluvium(arguments);
        command.env("ALLUVIUM_SOURCE_TIMEOUT", "1s").env("ALLUVIUM_BATCH_EVENTS", "50");
        command.stdout(std::process::Stdio::null());
        let reading = command.spawn().unwrap();
        // More than can be on their way to a reader.
        wait_until("it reads", || consumers(&orders).iter().any(|delivered| *delivered > 31_000));
        orders.server.stop();
        let ended = reading.wait_with_output().unwrap();
        let error = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains("source orders: gave up after 1s"), "{arguments:?}: {error}");
        orders.server.resume();
        wait_until("the server has forgotten its consumer", || consumers(&orders).is_empty());
    }
}
