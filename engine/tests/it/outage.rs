//! The server goes away and comes back; the stream is made anew.

use crate::orders::{Orders, VIEWS, wait_until};

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
    assert!(error.contains("made anew") && error.contains("alluvium rebuild"), "{error}");
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
    // While nothing runs; the new stream is longer, then shorter than the old one.
    for count in [30_000, 5_000] {
        make_anew(&mut orders, count);
        let log = orders.catch_up_saying();
        assert!(log.contains("rebuilding, as the settings say"), "{log}");
        orders.assert_equal(VIEWS);
    }
    // While it runs.
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
