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
    /// Whether a fraction of several digits ends with a 0: its scale is meant. `1.0` is how many programs write a whole float.
    pub(super) padded: bool,
    /// Whether a floating-point number holds each of them without rounding.
    pub(super) exact: bool,
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
            exact: true,
        }
    }
}

impl Numbers {
    /// Adds a number as JSON writes it.
    pub(super) fn add(&mut self, text: &str) {
        self.count += 1;
        let value: f64 = text.parse().unwrap_or(f64::NAN);
        (self.least, self.most) = (self.least.min(value), self.most.max(value));
        self.exact &= is_exact(text, value);
        if text.contains(['e', 'E']) {
            self.exponents = true;
            return;
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        self.integer_digits = self.integer_digits.max(whole.trim_start_matches('-').len());
        self.least_scale = self.least_scale.min(fraction.len());
        self.most_scale = self.most_scale.max(fraction.len());
        self.padded |= fraction.len() >= 2 && fraction.ends_with('0');
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
            exact: self.exact && other.exact,
        }
    }

    pub(super) fn are_whole(&self) -> bool {
        self.whole == self.count
    }
}

/// Checks whether a floating-point number gives the digits back: any 15 of them do, and those that a program wrote for such a number.
fn is_exact(text: &str, value: f64) -> bool {
    let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let significant = digits.trim_start_matches('0').trim_end_matches('0').len();
    significant <= 15 || value.to_string() == text || format!("{value:e}") == text.to_ascii_lowercase().replace("e+", "e")
}
