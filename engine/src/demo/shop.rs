//! A shop's events, drawn at random from a seed: orders, their payments and their shipments.
//!
//! # Contract
//! - The same seed, start and rate give the same events, byte by byte (checked by `a_seed_decides_every_byte`).
//! - Events come in the order in which they are published (checked by `events_come_in_order_with_what_goes_wrong_among_them`).
//!
//! Of a thousand events, some thirty tell of a time long before, some twenty come twice, and some five cannot be read or have a value that is
//! not of its column's type.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;

/// Where an event belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A customer has ordered something.
    Order,
    /// An order is paid.
    Payment,
    /// An order is on its way.
    Shipment,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 3] = [Kind::Order, Kind::Payment, Kind::Shipment];

    /// The source that reads it.
    #[must_use]
    pub fn source(self) -> &'static str {
        match self {
            Kind::Order => "orders",
            Kind::Payment => "payments",
            Kind::Shipment => "shipments",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Event {
    /// When it is published, in milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Which event it is, from 0.
    number: u64,
    /// Where it belongs.
    pub kind: Kind,
    /// Its body, one line of JSON if it is not broken.
    pub body: String,
}

/// Countries with how often they come.
const COUNTRIES: &[(&str, u32)] =
    &[("DE", 26), ("FR", 18), ("GB", 16), ("US", 14), ("IT", 9), ("ES", 7), ("NL", 5), ("AT", 3), ("DK", 1), ("PT", 1)];
/// Products with their prices in cents.
const PRODUCTS: &[(&str, u64)] = &[
    ("kettle", 3_990),
    ("lamp", 5_950),
    ("desk", 24_900),
    ("chair", 12_900),
    ("notebook", 450),
    ("pen", 190),
    ("headphones", 8_900),
    ("backpack", 6_490),
    ("bottle", 1_790),
    ("clock", 2_990),
];
const METHODS: &[&str] = &["card", "card", "card", "invoice", "transfer", "wallet"];
const CARRIERS: &[&str] = &["North", "Parcel24", "Swift"];
const CUSTOMERS: u64 = 2_000;
/// How many events an order has on average.
const EVENTS_AN_ORDER: f64 = 2.8;

/// An endless stream of events.
#[derive(Debug)]
pub struct Shop {
    random: Rng,
    /// When the next order comes, in milliseconds since the Unix epoch.
    next_order_ms: f64,
    /// The mean time from one order to the next, in milliseconds.
    gap_ms: f64,
    orders: u64,
    events: u64,
    waiting: BinaryHeap<Reverse<Event>>,
}

impl Shop {
    /// A shop that opens at `start_ms`, in milliseconds since the Unix epoch, and has about `rate` events a second.
    #[must_use]
    pub fn new(seed: u64, start_ms: u64, rate: u32) -> Shop {
        let gap_ms = 1e3 * EVENTS_AN_ORDER / f64::from(rate.max(1));
        Shop {
            random: Rng::with_seed(seed),
            next_order_ms: start_ms as f64,
            gap_ms,
            orders: 0,
            events: 0,
            waiting: BinaryHeap::new(),
        }
    }

    /// Draws an order, with all that follows from it.
    fn order(&mut self) {
        let at = self.next_order_ms as u64;
        self.next_order_ms += self.gap_ms * 2.0 * self.random.f64();
        self.orders += 1;
        let (order, customer, country) = (self.orders, self.customer(), self.country());
        let (product, price) = PRODUCTS[self.random.usize(..PRODUCTS.len())];
        let quantity = self.random.u64(1..=4);
        let total = price * quantity;
        let late = self.one_in(30);
        let placed = if late { at - self.random.u64(20_000..180_000) } else { at };
        let total_text = if self.one_in(400) { "n/a".to_owned() } else { money(total) };
        let broken = self.one_in(400);
        let mut body = format!(
            "{{\"order_id\": {order}, \"customer_id\": {customer}, \"country\": \"{country}\", \"product\": \"{product}\", \
             \"quantity\": {quantity}, \"total\": \"{total_text}\", \"placed_at\": \"{}\"}}",
            time(placed)
        );
        if broken {
            body.truncate(body.len() / 2);
        }
        self.publish(Kind::Order, at, body, !broken);
        if broken || self.one_in(14) {
            return;
        }
        let paid = at + 400 + self.random.u64(..120) * self.random.u64(..120);
        self.payment(order, total, paid);
        if !self.one_in(7) {
            let shipped = paid + 1_500 + self.random.u64(..200) * self.random.u64(..200);
            self.shipment(order, shipped);
        }
    }

    fn payment(&mut self, order: u64, total: u64, at: u64) {
        let method = METHODS[self.random.usize(..METHODS.len())];
        // Another system writes these, and sometimes gives its own name of the order.
        let named = if self.one_in(300) { format!("\"A-{order}\"") } else { order.to_string() };
        let body = format!(
            "{{\"payment_id\": {}, \"order_id\": {named}, \"method\": \"{method}\", \"amount\": \"{}\", \"paid_at\": \"{}\"}}",
            1_000_000 + order,
            money(total),
            time(at)
        );
        self.publish(Kind::Payment, at, body, true);
    }

    fn shipment(&mut self, order: u64, at: u64) {
        let carrier = CARRIERS[self.random.usize(..CARRIERS.len())];
        let when = if self.one_in(300) { "soon".to_owned() } else { time(at) };
        let body = format!("{{\"order_id\": {order}, \"carrier\": \"{carrier}\", \"shipped_at\": \"{when}\"}}");
        self.publish(Kind::Shipment, at, body, false);
    }

    /// Publishes an event, and some a second time, as producers do that did not hear of the first.
    fn publish(&mut self, kind: Kind, at_ms: u64, body: String, perhaps_twice: bool) {
        if perhaps_twice && self.one_in(40) {
            let again = at_ms + self.random.u64(100..6_000);
            self.push(kind, again, body.clone());
        }
        self.push(kind, at_ms, body);
    }

    fn push(&mut self, kind: Kind, at_ms: u64, body: String) {
        self.waiting.push(Reverse(Event { at_ms, number: self.events, kind, body }));
        self.events += 1;
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.random.u32(..many) == 0
    }

    /// Some customers order more than others.
    fn customer(&mut self) -> u64 {
        1 + self.random.u64(..CUSTOMERS).min(self.random.u64(..CUSTOMERS))
    }

    fn country(&mut self) -> &'static str {
        let all: u32 = COUNTRIES.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.u32(..all);
        for (country, weight) in COUNTRIES {
            if left < *weight {
                return country;
            }
            left -= weight;
        }
        COUNTRIES[0].0
    }
}

impl Iterator for Shop {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        // What follows from an order comes after it, so nothing is earlier than what waits once the next order is later.
        while self.waiting.peek().is_none_or(|Reverse(event)| event.at_ms as f64 >= self.next_order_ms) {
            self.order();
        }
        self.waiting.pop().map(|Reverse(event)| event)
    }
}

fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

fn time(ms: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(ms)).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    const START: u64 = 1_767_225_600_000;

    #[test]
    fn a_seed_decides_every_byte() {
        let events = |seed| Shop::new(seed, START, 100).take(2_000).collect::<Vec<_>>();
        assert_eq!(events(7), events(7));
        assert_ne!(events(7), events(8));
    }

    #[test]
    fn events_come_in_order_with_what_goes_wrong_among_them() {
        let events: Vec<Event> = Shop::new(1, START, 100).take(20_000).collect();
        assert!(events.is_sorted_by_key(|event| event.at_ms));
        // About a hundred a second.
        let seconds = (events.last().unwrap().at_ms - START) as f64 / 1e3;
        assert!((150.0..250.0).contains(&seconds), "{seconds}");

        let (mut unread, mut unfit, mut twice, mut late) = (0, 0, 0, 0);
        let mut known = BTreeSet::new();
        for event in &events {
            let Ok(body) = serde_json::from_str::<serde_json::Value>(&event.body) else {
                unread += 1;
                continue;
            };
            let wrong = body["total"] == "n/a" || body["shipped_at"] == "soon" || body["order_id"].is_string();
            unfit += u32::from(wrong);
            twice += u32::from(!known.insert((event.kind, event.body.clone())));
            let placed = body["placed_at"].as_str().map(|text| humantime::parse_rfc3339(text).unwrap());
            let published = UNIX_EPOCH + Duration::from_millis(event.at_ms);
            late += u32::from(placed.is_some_and(|placed| published.duration_since(placed).unwrap() > Duration::from_secs(19)));
        }
        assert!(unread > 3 && unfit > 20 && twice > 100 && late > 100, "{unread} {unfit} {twice} {late}");
        for kind in Kind::ALL {
            assert!(events.iter().filter(|event| event.kind == kind).count() > 3_000, "{kind:?}");
        }
    }
}
