//! Which numbers are times since 1970, and in which unit. The magnitude tells the unit, and the name whether it is a time at all: an
//! identifier can have the same magnitude.

use super::numbers::Numbers;

/// A unit of times that are written as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
}

/// 1990 and 2100 in seconds since 1970.
const FROM: f64 = 631_152_000.0;
const TO: f64 = 4_102_444_800.0;

impl Unit {
    const ALL: [Unit; 4] = [Unit::Second, Unit::Millisecond, Unit::Microsecond, Unit::Nanosecond];

    fn a_second(self) -> f64 {
        match self {
            Unit::Second => 1.0,
            Unit::Millisecond => 1e3,
            Unit::Microsecond => 1e6,
            Unit::Nanosecond => 1e9,
        }
    }

    /// The digits of a second that the unit has.
    pub(super) fn digits(self) -> u8 {
        match self {
            Unit::Second => 0,
            Unit::Millisecond => 3,
            Unit::Microsecond => 6,
            Unit::Nanosecond => 9,
        }
    }

    /// The value of option `epoch`.
    pub(super) fn option(self) -> &'static str {
        match self {
            Unit::Second => "s",
            Unit::Millisecond => "ms",
            Unit::Microsecond => "us",
            Unit::Nanosecond => "ns",
        }
    }
}

/// Returns the unit in which all numbers lie between 1990 and 2100.
pub(super) fn unit(numbers: &Numbers) -> Option<Unit> {
    let lies = |unit: &Unit| numbers.least >= FROM * unit.a_second() && numbers.most < TO * unit.a_second();
    Unit::ALL.into_iter().find(|unit| numbers.count > 0 && !numbers.exponents && lies(unit))
}

/// Words that name a time, as a part of a name.
const WORDS: [&str; 24] = [
    "at",
    "on",
    "ts",
    "time",
    "times",
    "timestamp",
    "date",
    "datetime",
    "day",
    "epoch",
    "when",
    "created",
    "updated",
    "modified",
    "deleted",
    "expires",
    "expiry",
    "since",
    "until",
    "start",
    "started",
    "end",
    "ended",
    "seen",
];

/// Words that make a length of time of what is called a time.
const OF_LENGTHS: [&str; 20] = [
    "run",
    "runtime",
    "response",
    "elapsed",
    "wait",
    "waiting",
    "cpu",
    "execution",
    "up",
    "uptime",
    "down",
    "downtime",
    "life",
    "lifetime",
    "duration",
    "latency",
    "processing",
    "lead",
    "travel",
    "timeout",
];

/// Checks whether a name is that of a time in this unit: `created_at`, `createdAt`, `eventTime`, `ts`, `ts_ms` for milliseconds.
pub(super) fn is_name_of_a_time(name: &str, unit: Unit) -> bool {
    let words = super::names::words_of(name);
    if words.iter().any(|word| OF_LENGTHS.contains(&word.as_str())) {
        return false;
    }
    let last = words.last().map(String::as_str).unwrap_or_default();
    let before = words.iter().rev().nth(1).map(String::as_str).unwrap_or_default();
    let is_word = |word: &str| WORDS.contains(&word) || word.ends_with("time") || word.ends_with("timestamp");
    let told = match last {
        "ms" | "millis" => Some(Unit::Millisecond),
        "us" | "micros" => Some(Unit::Microsecond),
        "ns" | "nanos" => Some(Unit::Nanosecond),
        _ => None,
    };
    match told {
        Some(told) => told == unit && is_word(before),
        None => is_word(last),
    }
}
