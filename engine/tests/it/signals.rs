//! A signal while events stream in: the program commits what it has applied, and the next run goes on from there.

use rustix::process::Signal;

use crate::orders::{Orders, VIEWS, publish_to, wait_until};

#[test]
fn a_signal_while_busy_commits_and_ends_with_0() {
    let mut orders = Orders::new(VIEWS);
    for signal in [Signal::TERM, Signal::INT] {
        let bodies: Vec<String> = (0..60_000).map(|_| orders.next()).collect();
        orders.append(&format!("{}\n", bodies.join("\n")));
        let bodies: Vec<Vec<u8>> = bodies.into_iter().map(String::into_bytes).collect();
        let url = orders.server.url();
        let before = orders.offset("totals");
        let mut running = orders.start();
        let publisher = std::thread::spawn(move || publish_to(&url, bodies));
        wait_until("events are committed", || orders.offset("totals") > before.max(1) + 1_000);
        let seen: Vec<u64> = VIEWS.iter().map(|(name, _)| orders.offset(name)).collect();
        assert_eq!(running.end_by(signal), Some(0), "{}", orders.log());
        let left: Vec<u64> = VIEWS.iter().map(|(name, _)| orders.offset(name)).collect();
        println!("{signal:?}: committed {seen:?} when told, {left:?} when ended");
        assert!(seen.iter().zip(&left).all(|(seen, left)| seen <= left), "{seen:?} {left:?}");
        assert!(orders.log().trim_end().lines().last().unwrap().contains("everything that was applied is committed"));
        publisher.join().unwrap();
        orders.assert_equal_so_far(VIEWS);
        assert!(!orders.dir().join("data/run.lock").metadata().is_ok_and(|file| file.len() > 0), "the lock is let go");
    }
    orders.catch_up();
    orders.assert_equal(VIEWS);
}
