//! What becomes of events that a view cannot apply, as the options `on_error` and `max_dead_letters` say it. Where they may be written, and
//! what is counted, is decided elsewhere.

use std::fmt;

/// `on_error`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnError {
    /// The event is set aside as a dead letter, and the view goes on.
    #[default]
    DeadLetter,
    /// The view stops, with the event not applied.
    Stop,
}

impl OnError {
    /// What to write, for messages.
    pub const WRITE: &str = "on_error = 'dead_letter', or 'stop'";

    /// Of an option's text.
    #[must_use]
    pub fn parse(text: &str) -> Option<OnError> {
        match text.trim().to_ascii_lowercase().as_str() {
            "dead_letter" => Some(OnError::DeadLetter),
            "stop" => Some(OnError::Stop),
            _ => None,
        }
    }
}

/// `max_dead_letters`: the share of events that may be set aside, in millionths; none where any share may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxDeadLetters(Option<u32>);

const WHOLE: u64 = 1_000_000;

impl MaxDeadLetters {
    /// What to write, for messages.
    pub const WRITE: &str = "max_dead_letters = '1%', from '0%' to '100%', or 'off'";

    /// Of an option's text: a share in per cent, or `off`.
    #[must_use]
    pub fn parse(text: &str) -> Option<MaxDeadLetters> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("off") {
            return Some(MaxDeadLetters(None));
        }
        let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
        (0.0..=100.0).contains(&percent).then(|| MaxDeadLetters(Some((percent * WHOLE as f64 / 100.0).round() as u32)))
    }

    /// Whether so many events of so many are more than the share.
    #[must_use]
    pub fn is_exceeded(self, set_aside: u64, of: u64) -> bool {
        self.0.is_some_and(|share| set_aside * WHOLE > u64::from(share) * of)
    }
}

impl fmt::Display for MaxDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("off"),
            Some(share) => write!(f, "{}%", f64::from(share) * 100.0 / WHOLE as f64),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_written_and_compared() {
        for (text, shown) in [("50%", "50%"), (" 0.25 % ", "0.25%"), ("OFF", "off"), ("0%", "0%"), ("100%", "100%")] {
            assert_eq!(MaxDeadLetters::parse(text).unwrap().to_string(), shown);
        }
        for text in ["", "50", "-1%", "101%", "x%", "NaN%"] {
            assert_eq!(MaxDeadLetters::parse(text), None, "{text}");
        }
        let exceeds = |text, set_aside, of| MaxDeadLetters::parse(text).unwrap().is_exceeded(set_aside, of);
        assert!(exceeds("1%", 2, 100) && !exceeds("1%", 1, 100) && exceeds("0%", 1, 1_000));
        assert!(!exceeds("100%", 5, 5) && !exceeds("off", 5, 5));
    }
}
