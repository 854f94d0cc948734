//! The events that an error is about.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// By source: a range of sequences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Events(pub BTreeMap<String, Range<u64>>);

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (source, range)) in self.0.iter().enumerate() {
            let last = range.end.saturating_sub(1);
            write!(f, "{}", if index > 0 { " and " } else { "" })?;
            match last == range.start {
                true => write!(f, "event {last} of {source}")?,
                false => write!(f, "events {} to {last} of {source}", range.start)?,
            }
        }
        if self.0.is_empty() { f.write_str("no event") } else { Ok(()) }
    }
}
