//! Lengths of time as people write them: `1 second`, `50ms`, `50 milliseconds`, `1 day 12 hours`. Knows no calendar.

use std::time::Duration;

/// The units that humantime has no long name for.
const LONG_NAMES: [(&str, &str); 9] = [
    ("milliseconds", "ms"),
    ("millisecond", "ms"),
    ("millis", "ms"),
    ("microseconds", "us"),
    ("microsecond", "us"),
    ("micros", "us"),
    ("nanoseconds", "ns"),
    ("nanosecond", "ns"),
    ("nanos", "ns"),
];

/// The length of time that a text says; none where it says none, or one without its unit.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    if let Ok(duration) = humantime::parse_duration(text) {
        return Some(duration);
    }
    let mut short = text.to_lowercase();
    for (long, unit) in LONG_NAMES {
        short = short.replace(long, unit);
    }
    humantime::parse_duration(&short).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_long_and_short_names() {
        for (text, milliseconds) in [
            ("50 milliseconds", Some(50)),
            ("50 Millisecond", Some(50)),
            ("50ms", Some(50)),
            ("2000 microseconds", Some(2)),
            ("1 SECOND", Some(1_000)),
            ("1 minute 5 milliseconds", Some(60_005)),
            ("50", None),
            ("soon", None),
        ] {
            assert_eq!(duration(text), milliseconds.map(Duration::from_millis), "{text}");
        }
    }
}
