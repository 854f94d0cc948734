//! The types of events: by their subjects, and by a member such as `type`.

use std::collections::{BTreeMap, BTreeSet};

use super::names::words_of;
use super::payloads::Event;
use super::seen::Seen;

/// More distinct words than these in one place of a subject are data, such as identifiers.
const MOST_WORDS: usize = 12;
/// The most types to list.
const MOST_LISTED: usize = 20;
/// Names of members that tell the type of an event, the likeliest first.
const NAMES: [&str; 14] = [
    "event_type",
    "eventtype",
    "event_name",
    "eventname",
    "event",
    "type",
    "kind",
    "action",
    "op",
    "operation",
    "name",
    "category",
    "status",
    "state",
];

/// What tells events apart.
#[derive(Debug, Default)]
pub(super) struct EventTypes {
    /// Subjects, with `*` for words that are data, and how many events have one. Empty for files.
    pub(super) subjects: Vec<(String, u64)>,
    /// How many more there are.
    pub(super) more_subjects: usize,
    pub(super) member: Option<TypeMember>,
}

/// A member that tells the type.
#[derive(Debug)]
pub(super) struct TypeMember {
    pub(super) name: String,
    /// Its values, and how many events have one.
    pub(super) values: Vec<(String, u64)>,
}

impl EventTypes {
    /// `body` is what was seen of the bodies.
    pub(super) fn of(events: &[Event], body: &Seen, of_stream: bool) -> EventTypes {
        let mut subjects = if of_stream { patterns(events) } else { Vec::new() };
        let more_subjects = subjects.len().saturating_sub(MOST_LISTED);
        subjects.truncate(MOST_LISTED);
        EventTypes { subjects, more_subjects, member: type_member(events, body) }
    }
}

/// The subjects as patterns, the most frequent first. No two of them match one subject.
fn patterns(events: &[Event]) -> Vec<(String, u64)> {
    let mut words: BTreeMap<(usize, usize), BTreeSet<&str>> = BTreeMap::new();
    for event in events {
        let length = event.subject.split('.').count();
        for (place, word) in event.subject.split('.').enumerate() {
            words.entry((length, place)).or_default().insert(word);
        }
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let length = event.subject.split('.').count();
        let is_data = |place: usize, word: &str| {
            words.get(&(length, place)).is_some_and(|words| words.len() > MOST_WORDS) || word.len() > 24
        };
        let pattern = event.subject.split('.').enumerate().map(|(place, word)| if is_data(place, word) { "*" } else { word });
        *counts.entry(pattern.collect::<Vec<_>>().join(".")).or_default() += 1;
    }
    most_first(counts)
}

fn most_first(counts: BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
}

/// The member with the likeliest name whose values are few texts.
fn type_member(events: &[Event], body: &Seen) -> Option<TypeMember> {
    let is_type = |seen: &Seen| {
        seen.texts.count == seen.present
            && seen.present * 2 > body.objects
            && (2..=MOST_LISTED).contains(&seen.distinct.len())
            && (seen.distinct.len() as u64) * 2 <= seen.present
    };
    let rank = |name: &str| {
        let words = words_of(name);
        let (joined, whole) = (words.join("_"), words.concat());
        NAMES.iter().position(|known| *known == joined || *known == whole)
    };
    let members = body.members.iter().filter(|(_, seen)| is_type(seen));
    let (_, name) = members.filter_map(|(name, _)| Some((rank(name)?, name))).min()?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for event in events {
        let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(&event.payload) else { continue };
        if let Some(serde_json::Value::String(value)) = members.get(name) {
            *counts.entry(value.clone()).or_default() += 1;
        }
    }
    Some(TypeMember { name: name.to_owned(), values: most_first(counts) })
}
