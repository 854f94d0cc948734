//! The text of a declaration: its head with what was sampled, and its columns, each with a comment.

use std::fmt::Write as _;
use std::ops::Range;

use super::event_types::EventTypes;
use super::names::written;
use super::payloads::Payloads;
use super::place::Place;
use super::proposal::{comment, propose, shortened};
use super::seen::{Reading, Seen};
use super::types::Type;

/// Columns that are filled from the message, whatever a payload has under their names.
const OF_MESSAGE: [&str; 6] = ["_sequence", "_ordinal", "_subject", "_timestamp", "_headers", "_payload"];
/// The most columns that are declared. Further members are named in a comment.
const MOST_COLUMNS: usize = 250;
/// With fewer events than these, that all have a value says nothing.
const FEWEST_FOR_NOT_NULL: u64 = 20;
/// The most sequences or names to list.
const LISTED: usize = 8;

/// A declaration and what it was inferred from.
#[derive(Debug)]
pub struct Inferred {
    /// The statement, with comments. It ends with a line end.
    pub sql: String,
    /// The source's name.
    pub name: String,
    /// Its columns that are read from the payload, in the order of the text.
    pub columns: Vec<Found>,
    /// Whether it is a stream, whose events have a time at which they were stored.
    pub is_stream: bool,
    /// A member that tells the type of an event.
    pub event_type: Option<String>,
    /// The number of events sampled.
    pub events: u64,
    /// The number of these that do not decode, whatever is declared.
    pub undecodable: u64,
}

/// A column as it was inferred, for those who write views over it.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its name, as SQL has to write it.
    pub written: String,
    /// Its name.
    pub name: String,
    /// Whether it holds times.
    pub is_time: bool,
    /// Whether it holds one plain value: a number, text or a boolean.
    pub is_scalar: bool,
    /// Whether it is text.
    pub is_text: bool,
    /// Whether equal values mean the same thing: it is a whole number or text.
    pub can_be_key: bool,
    /// Whether it is NOT NULL.
    pub not_null: bool,
    /// How many of the sampled events have a value.
    pub present: u64,
    /// How many distinct values were seen.
    pub distinct: u64,
}

/// A column that is read from the payload.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of_type: Type,
    /// The types that remain to try, if a value does not fit.
    pub(super) wider: Vec<Type>,
    pub(super) not_null: bool,
    /// The value of option `epoch` for it.
    pub(super) epoch: Option<&'static str>,
    /// Whether an option of a source can name it: option names are in lower case.
    pub(super) has_options: bool,
    /// Whether values that fit no type are read as NULL.
    pub(super) bad_is_null: bool,
    pub(super) comment: String,
    pub(super) present: u64,
    pub(super) distinct: u64,
}

impl Column {
    pub(super) fn found(&self) -> Found {
        Found {
            written: written(&self.name),
            name: self.name.clone(),
            is_time: self.of_type.is_time(),
            is_scalar: self.of_type.is_scalar(),
            is_text: self.of_type == Type::Varchar,
            can_be_key: matches!(self.of_type, Type::Varchar | Type::BigInt | Type::UnsignedBigInt),
            not_null: self.not_null,
            present: self.present,
            distinct: self.distinct,
        }
    }

    /// Makes the column accept more. Returns false if it accepts everything already.
    pub(super) fn widen(&mut self) -> bool {
        if self.not_null && self.of_type == Type::Varchar {
            self.not_null = false;
            return true;
        }
        self.epoch = None;
        if self.wider.is_empty() {
            self.not_null = false;
            return self.has_options && !std::mem::replace(&mut self.bad_is_null, true);
        }
        self.of_type = self.wider.remove(0);
        true
    }
}

/// A declaration in the making.
#[derive(Debug)]
pub(super) struct Declaration {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) columns: Vec<Column>,
    /// Members that cannot be columns, and why.
    pub(super) left_out: Vec<(String, &'static str)>,
    pub(super) event_types: EventTypes,
    /// The sequences of events that do not decode, whatever is declared, with the error of each.
    pub(super) undecodable: Vec<(u64, String)>,
    sampled: String,
    /// Whether there are too few events to declare NOT NULL.
    few: bool,
    /// Whether `_subject` is declared.
    subjects: bool,
}

impl Declaration {
    /// Proposes a declaration of what was sampled of a place.
    pub(super) fn propose(name: &str, place: &Place, payloads: &Payloads) -> Declaration {
        let reading = Reading { empty_is_null: place.is_csv(), hidden: false };
        let mut body = Seen::default();
        for event in &payloads.events {
            body.add_body(&event.payload, reading);
        }
        let mut left_out = Vec::new();
        let mut columns = Vec::new();
        for (name, seen) in body.members.iter() {
            if OF_MESSAGE.contains(&name) {
                left_out.push((name.to_owned(), "a column of this name is filled from the message"));
            } else if columns.len() == MOST_COLUMNS {
                left_out.push((name.to_owned(), "there are many names: perhaps they are data"));
            } else {
                columns.push(column(name, seen, &body, reading));
            }
        }
        let several = payloads.events.iter().any(|event| payloads.events.first().is_some_and(|one| one.subject != event.subject));
        Declaration {
            name: name.to_owned(),
            place: place.clone(),
            columns,
            left_out,
            event_types: EventTypes::of(&payloads.events, &body, place.is_stream()),
            undecodable: Vec::new(),
            sampled: sampled(place, payloads),
            few: body.objects < FEWEST_FOR_NOT_NULL,
            subjects: place.is_stream() || several,
        }
    }

    /// The text, and the bytes at which each column stands in it.
    pub(super) fn sql(&self) -> (String, Vec<Range<usize>>) {
        let mut text = self.head();
        let mut places = Vec::with_capacity(self.columns.len());
        let mut list = String::from("\n");
        let width = self.columns.iter().map(|column| written(&column.name).chars().count()).max().unwrap_or(0).clamp(10, 30);
        for column in &self.columns {
            let start = list.len();
            let _ = write!(list, "  {:width$} ", written(&column.name));
            column.of_type.write(Some(2), &mut list);
            list.push_str(if column.not_null { " NOT NULL" } else { "" });
            places.push(start..list.len());
            let bad = if column.bad_is_null { ", NULL where a value does not fit" } else { "" };
            let _ = writeln!(list, ",  -- {}{bad}", column.comment);
        }
        let _ = writeln!(list, "  {:width$} BIGINT UNSIGNED,  -- from the message, as are the next", "_sequence");
        if self.subjects {
            let what = if self.place.is_stream() { "the subject" } else { "the file" };
            let _ = writeln!(list, "  {:width$} VARCHAR,  -- {what}", "_subject");
        }
        let stored = if self.place.is_stream() { "when it was stored" } else { "NULL for files" };
        let _ = writeln!(list, "  {:width$} TIMESTAMP  -- {stored}", "_timestamp");
        let mut options = Vec::new();
        for column in &self.columns {
            if let Some(unit) = column.epoch {
                options.push((format!("epoch.{}", column.name.to_lowercase()), unit.to_owned()));
            }
            if column.bad_is_null {
                options.push((format!("on_bad_member.{}", column.name.to_lowercase()), "null".to_owned()));
            }
        }
        let statement = self.place.declared(&self.name, &list, &options);
        let before = text.len() + statement.find('(').map_or(0, |bracket| bracket + 1);
        text.push_str(&statement);
        (text, places.into_iter().map(|place| place.start + before..place.end + before).collect())
    }

    fn head(&self) -> String {
        let mut text = format!("-- {}\n", self.sampled);
        let types = &self.event_types;
        if types.subjects.len() > 1 {
            text.push_str("--\n-- Subjects, each a filter to read only these:\n");
            let width = types.subjects.iter().map(|(subject, _)| subject.chars().count()).max().unwrap_or_default();
            for (subject, count) in &types.subjects {
                let _ =
                    writeln!(text, "--   {:width$} {count:>8}   subject '{}'", shortened(subject), subject.replace('\'', "''"));
            }
            if types.more_subjects > 0 {
                let _ = writeln!(text, "--   and {} more", types.more_subjects);
            }
        }
        if let Some(member) = &types.member {
            let _ = writeln!(text, "--\n-- Event types by member {}:", shortened(&member.name));
            for (value, count) in &member.values {
                let _ = writeln!(text, "--   {:<24} {count:>8}", shortened(value));
            }
        }
        if !self.undecodable.is_empty() {
            let sequences = self.undecodable.iter().take(LISTED).map(|(sequence, _)| sequence.to_string()).collect::<Vec<_>>();
            let more = if self.undecodable.len() > LISTED { ", ..." } else { "" };
            let (count, list) = (self.undecodable.len(), sequences.join(", "));
            let _ = writeln!(text, "--\n-- {count} of the sampled events do not decode and become dead letters: {list}{more}");
            if let Some((_, error)) = self.undecodable.first() {
                let _ = writeln!(text, "--   {}", error.replace(|letter: char| letter.is_control(), " "));
            }
        }
        if self.few {
            text.push_str("-- These are few events: no column is NOT NULL, and types may be too narrow.\n");
        }
        for (name, why) in self.left_out.iter().take(LISTED) {
            let _ = writeln!(text, "-- Not declared: {}: {why}", shortened(name));
        }
        if self.left_out.len() > LISTED {
            let _ = writeln!(text, "-- and {} more members are not declared", self.left_out.len() - LISTED);
        }
        text
    }
}

fn column(name: &str, seen: &Seen, body: &Seen, reading: Reading) -> Column {
    let proposal = propose(name, seen, true, reading);
    let names = || body.members.iter().map(|(name, _)| name);
    // An option names a column in lower case.
    let lower = name.to_lowercase();
    let found = names().find(|other| *other == lower).or_else(|| names().find(|other| other.eq_ignore_ascii_case(&lower)));
    let has_options = found == Some(name);
    let (of_type, epoch) = match proposal.unit {
        Some(unit) if has_options => (proposal.of_type.clone(), Some(unit.option())),
        Some(unit) => (super::types::time_of(unit).unwrap_or(Type::BigInt), None),
        None => (proposal.of_type.clone(), None),
    };
    let mut wider = match &of_type {
        Type::Timestamp => vec![Type::TimestampOf(6)],
        Type::TimestampOf(_) => vec![Type::BigInt],
        Type::Struct(_) | Type::List(_) | Type::Map(_) => vec![of_type.in_text()],
        _ => Vec::new(),
    };
    if of_type != Type::Varchar {
        wider.push(Type::Varchar);
    }
    Column {
        name: name.to_owned(),
        wider,
        not_null: body.objects >= FEWEST_FOR_NOT_NULL && seen.present == body.objects,
        epoch,
        has_options,
        bad_is_null: false,
        comment: comment(name, seen, &of_type, body.objects, reading),
        present: seen.present,
        distinct: seen.distinct.len() as u64,
        of_type,
    }
}

/// Says how many events of what were sampled.
fn sampled(place: &Place, payloads: &Payloads) -> String {
    let events = payloads.events.len();
    let of = match payloads.held {
        Some(held) if held > events as u64 => format!(" of {held}"),
        _ => String::new(),
    };
    let ends = match (payloads.events.first(), payloads.events.last()) {
        (Some(first), Some(last)) if first.sequence < last.sequence => {
            format!(", sequences {} to {}", first.sequence, last.sequence)
        }
        (Some(first), _) => format!(", sequence {}", first.sequence),
        _ => String::new(),
    };
    let how = match (payloads.cut, payloads.held) {
        (true, Some(_)) => ", from its start and its end",
        (true, None) => ", and not those at its end, since it is large",
        _ => "",
    };
    let location = place.shown().replace(|letter: char| letter.is_control(), " ");
    format!("Inferred from {events}{of} events of {location}{ends}{how}.")
}
