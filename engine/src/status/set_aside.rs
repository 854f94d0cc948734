//! Counts of the events that a run has read and set aside, and the sentences that report them.

use std::collections::BTreeMap;
use std::fmt;

use alluvium_sql::listed;

/// Counts of the events that a view has read from one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadEvents {
    /// Events, good and bad.
    pub events: u64,
    /// By kind: how many of them were set aside, and the error of the first.
    set_aside: BTreeMap<String, (u64, String)>,
}

impl ReadEvents {
    /// Counts events of one kind that were set aside.
    pub fn set_aside(&mut self, kind: &str, count: u64, error: &str) {
        match self.set_aside.get_mut(kind) {
            Some((known, _)) => *known += count,
            None => drop(self.set_aside.insert(kind.to_owned(), (count, error.to_owned()))),
        }
    }

    /// How many were set aside, by kind.
    pub fn counts(&self) -> impl Iterator<Item = (&str, u64)> {
        self.set_aside.iter().map(|(kind, (count, _))| (kind.as_str(), *count))
    }

    /// Adds the counts of a later period.
    pub fn add(&mut self, later: &ReadEvents) {
        self.events += later.events;
        for (kind, (count, error)) in &later.set_aside {
            self.set_aside(kind, *count, error);
        }
    }
}

/// Events of a source that some views have set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    source: String,
    views: Vec<String>,
    read: ReadEvents,
}

impl SetAside {
    /// Keeps the counts of view and source with events that were set aside. Groups the views of a source that have equal counts.
    pub(super) fn of<'a>(read: impl Iterator<Item = (&'a String, &'a String, &'a ReadEvents)>) -> Vec<SetAside> {
        let mut all: Vec<SetAside> = Vec::new();
        for (view, source, read) in read.filter(|(_, _, read)| !read.set_aside.is_empty()) {
            match all.iter_mut().find(|one| one.source == *source && one.read == *read) {
                Some(one) => one.views.push(view.clone()),
                None => all.push(SetAside { source: source.clone(), views: vec![view.clone()], read: read.clone() }),
            }
        }
        all
    }
}

/// `3 of 10 events of orders were set aside in by_country, totals (3 wrong_type: total: expected a number)`.
impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count: u64 = self.read.set_aside.values().map(|(count, _)| count).sum();
        let (events, views) = (self.read.events, listed(&self.views));
        write!(f, "{count} of {events} events of {} were set aside in {views} (", self.source)?;
        for (index, (kind, (count, error))) in self.read.set_aside.iter().enumerate() {
            write!(f, "{}{count} {kind}: {error}", if index > 0 { "; " } else { "" })?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_that_have_set_aside_the_same_are_named_together() {
        let mut read = ReadEvents { events: 10, ..ReadEvents::default() };
        read.set_aside("not_json", 1, "expected value");
        let mut more = ReadEvents { events: 5, ..ReadEvents::default() };
        more.set_aside("not_json", 1, "another");
        read.add(&more);
        let mut other = read.clone();
        other.set_aside("expression", 1, "divide by zero");
        let (orders, views) = ("orders".to_owned(), ["a", "b", "c", "d"].map(str::to_owned));
        let good = ReadEvents { events: 15, ..ReadEvents::default() };
        let all = [(&views[0], &read), (&views[1], &other), (&views[2], &read), (&views[3], &good)];
        let said: Vec<String> =
            SetAside::of(all.into_iter().map(|(view, read)| (view, &orders, read))).iter().map(ToString::to_string).collect();
        let expected = [
            "2 of 15 events of orders were set aside in a, c (2 not_json: expected value)",
            "3 of 15 events of orders were set aside in b (1 expression: divide by zero; 2 not_json: expected value)",
        ];
        assert_eq!(said, expected);
    }
}
