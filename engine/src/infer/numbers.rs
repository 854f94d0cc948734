//! What numbers have in common: whether they are whole, how many digits they have, their range.

/// What was seen of numbers.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub(super) count: u64,
    /// How many have neither a fraction nor an exponent.
    pub(super) whole: u64,
    /// The smallest and the largest, rounded.
    pub(super) least: f64,
    pub(super) most: f64,
    /// Whether each whole number fits 64 bits with a sign, and without one.
    pub(super) fit_signed: bool,
    pub(super) fit_unsigned: bool,
    /// The most digits before the point.
    pub(super) integer_digits: usize,
    /// The fewest and the most digits after the point.
    pub(super) least_scale: usize,
    pub(super) most_scale: usize,
    /// Whether one is written with an exponent.
    pub(super) exponents: bool,
    /// Whether a fraction is written with a 0 at its end: its scale is meant.
    pub(super) padded: bool,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers {
            count: 0,
            whole: 0,
            least: f64::INFINITY,
            most: f64::NEG_INFINITY,
            fit_signed: true,
            fit_unsigned: true,
            integer_digits: 0,
            least_scale: usize::MAX,
            most_scale: 0,
            exponents: false,
            padded: false,
        }
    }
}

impl Numbers {
    /// Adds a number as JSON writes it.
    pub(super) fn add(&mut self, text: &str) {
        self.count += 1;
        let value: f64 = text.parse().unwrap_or(f64::NAN);
        (self.least, self.most) = (self.least.min(value), self.most.max(value));
        if text.contains(['e', 'E']) {
            self.exponents = true;
            return;
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        self.integer_digits = self.integer_digits.max(whole.trim_start_matches('-').len());
        self.least_scale = self.least_scale.min(fraction.len());
        self.most_scale = self.most_scale.max(fraction.len());
        self.padded |= fraction.ends_with('0');
        if fraction.is_empty() {
            self.whole += 1;
            self.fit_signed &= whole.parse::<i64>().is_ok();
            self.fit_unsigned &= whole.parse::<u64>().is_ok();
        }
    }

    /// Numbers of two kinds together: those written as numbers, and those written as text.
    pub(super) fn with(&self, other: &Numbers) -> Numbers {
        Numbers {
            count: self.count + other.count,
            whole: self.whole + other.whole,
            least: self.least.min(other.least),
            most: self.most.max(other.most),
            fit_signed: self.fit_signed && other.fit_signed,
            fit_unsigned: self.fit_unsigned && other.fit_unsigned,
            integer_digits: self.integer_digits.max(other.integer_digits),
            least_scale: self.least_scale.min(other.least_scale),
            most_scale: self.most_scale.max(other.most_scale),
            exponents: self.exponents || other.exponents,
            padded: self.padded || other.padded,
        }
    }

    pub(super) fn are_whole(&self) -> bool {
        self.whole == self.count
    }
}
