//! Turns the panics of a pipeline into errors that say which events were in hand.
//!
//! The events in hand are kept by thread, since each pipeline has its own. A panic on a thread of rayon is raised again on the
//! thread that waits for it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::error::Events;

thread_local! {
    static IN_HAND: RefCell<Events> = const { RefCell::new(Events(BTreeMap::new())) };
}

/// A panic that was caught.
#[derive(Debug)]
pub(crate) struct Panic {
    /// The panic's message.
    pub(crate) message: String,
    /// The events taken in since the last commit.
    pub(crate) events: Events,
}

/// Adds these events to those that this thread's pipeline has taken in since its last commit.
pub(crate) fn take_in_hand(source: &str, sequences: Range<u64>) {
    IN_HAND.with_borrow_mut(|events| {
        let known = events.0.entry(source.to_owned()).or_insert_with(|| sequences.clone());
        known.end = known.end.max(sequences.end);
    });
}

/// Clears the events in hand, after a commit.
pub(crate) fn clear_hand() {
    IN_HAND.with_borrow_mut(|events| events.0.clear());
}

/// Runs `work` on this thread and returns its panic as an error.
pub(crate) fn catching<T>(work: impl FnOnce() -> T) -> Result<T, Panic> {
    clear_hand();
    // Unwind safe: what the work shares is either behind a lock that ignores poison, or dropped with the work.
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let events = IN_HAND.with_borrow_mut(std::mem::take);
        Panic { message: message(payload.as_ref()), events }
    })
}

/// Installs a hook, once, that logs panics with their thread and the events in hand. The default hook would write into the progress bars.
pub(crate) fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // A failing test prints its reason.
            if cfg!(test) {
                before(info);
            }
            let events = IN_HAND.try_with(|events| events.try_borrow().map(|events| events.to_string()).unwrap_or_default());
            let thread = std::thread::current();
            tracing::error!(
                thread = thread.name().unwrap_or("unnamed"),
                place = info.location().map(ToString::to_string),
                in_hand = events.ok(),
                "panic: {}",
                message(info.payload())
            );
        }));
    });
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_back_with_the_events_in_hand() {
        let result = catching(|| -> u32 {
            take_in_hand("orders", 1..5);
            clear_hand();
            take_in_hand("orders", 5..9);
            take_in_hand("orders", 9..12);
            take_in_hand("payments", 7..8);
            panic!("capacity {}", "overflow")
        });
        let panic = result.map_err(|panic| (panic.events.to_string(), panic.message));
        assert_eq!(panic, Err(("events 5 to 11 of orders and event 7 of payments".into(), "capacity overflow".into())));
        assert!(matches!(catching(|| 3), Ok(3)));
    }
}
