//! Two views to begin with over a source that was inferred: how many events there are by type and minute, and the latest event of each key.

use super::Inferred;
use super::declaration::Found;
use super::names::{words_of, written};

/// A view: its name and the text of its file.
#[derive(Debug)]
pub struct FirstView {
    /// The name.
    pub name: String,
    /// The text.
    pub sql: String,
}

/// More distinct values than these are no types.
const MOST_TYPES: u64 = 50;

/// Returns views that make sense for a source.
#[must_use]
pub fn first_views(inferred: &Inferred) -> Vec<FirstView> {
    let mut views = vec![counts(inferred)];
    views.extend(latest(inferred));
    views
}

/// Counts events by type and minute; without a time, by type.
fn counts(inferred: &Inferred) -> FirstView {
    let source = written(&inferred.name);
    let of_type = inferred
        .event_type
        .as_ref()
        .and_then(|name| inferred.columns.iter().find(|column| column.name == *name && *name != "events"));
    let of_type = of_type.or_else(|| inferred.columns.iter().find(|column| is_type(column, inferred)));
    let by: Vec<String> = of_type.map(|column| column.written.clone()).into_iter().collect();
    let time = time(inferred);
    let (name, columns, from, what) = match &time {
        Some(time) => {
            let columns: Vec<String> = std::iter::once("window_start".to_owned()).chain(by).collect();
            (
                format!("{}_by_minute", inferred.name),
                columns,
                format!("TUMBLE({source}, {time}, INTERVAL '1 minute')"),
                "in each minute",
            )
        }
        None => (format!("{}_by_type", inferred.name), by, source, "in all"),
    };
    let of_each = if of_type.is_some() { " of each type" } else { "" };
    let sql = if columns.is_empty() {
        format!(
            "-- How many events there are {what}.\nCREATE MATERIALIZED VIEW {} AS\nSELECT count(*) AS events\nFROM {from};\n",
            written(&name)
        )
    } else {
        let list = columns.join(", ");
        format!(
            "-- How many events{of_each} there are {what}.\nCREATE MATERIALIZED VIEW {} AS\nSELECT {list}, count(*) AS events\nFROM {from}\n\
             GROUP BY {list};\n",
            written(&name)
        )
    };
    FirstView { name, sql }
}

fn is_type(column: &Found, inferred: &Inferred) -> bool {
    let few = column.distinct >= 2 && column.distinct <= MOST_TYPES && column.distinct * 4 <= column.present;
    column.is_text && column.name != "events" && few && column.present * 2 > inferred.events
}

/// The column with the time of an event: one that each event has, or when the event was stored.
fn time(inferred: &Inferred) -> Option<String> {
    // A window adds columns of these names.
    if inferred.columns.iter().any(|column| matches!(column.name.to_ascii_lowercase().as_str(), "window_start" | "window_end")) {
        return None;
    }
    let times = || inferred.columns.iter().filter(|column| column.is_time && column.present * 10 >= inferred.events * 9);
    let best = times().max_by_key(|column| (column.not_null, column.distinct));
    best.map(|column| column.written.clone()).or_else(|| inferred.is_stream.then(|| "_timestamp".to_owned()))
}

/// The latest event of each key.
fn latest(inferred: &Inferred) -> Option<FirstView> {
    let key =
        inferred.columns.iter().filter(|column| column.present > 0).filter_map(|column| Some((rank(column, inferred)?, column)));
    let (_, key) = key.max_by_key(|(rank, _)| *rank)?;
    let name = format!("latest_{}", inferred.name);
    let columns = inferred.columns.iter().map(|column| column.written.as_str());
    let columns: Vec<&str> = columns.chain(["_sequence", "_timestamp"]).collect();
    let list = columns.join(",\n       ");
    let sql = format!(
        "-- The latest event of each {}.\nCREATE MATERIALIZED VIEW {} AS\nSELECT {list}\nFROM (\n  SELECT *, row_number() OVER (PARTITION BY {} ORDER \
         BY _sequence DESC) AS place_from_latest\n  FROM {}\n)\nWHERE place_from_latest = 1;\n",
        key.name.replace(|letter: char| letter.is_control(), " "),
        written(&name),
        key.written,
        written(&inferred.name)
    );
    Some(FirstView { name, sql })
}

/// How likely a column is a key: larger is likelier. `None` if it is not.
fn rank(column: &Found, inferred: &Inferred) -> Option<(bool, bool, bool, bool)> {
    let words = words_of(&column.name);
    let last = words.last().map(String::as_str).unwrap_or_default();
    let is_named =
        matches!(last, "id" | "key" | "uuid" | "guid" | "code" | "number" | "no" | "name" | "sku" | "slug" | "symbol" | "ident");
    let names_the_source = words.iter().any(|word| inferred.name.starts_with(word.as_str()) && word.len() > 2);
    let is_event_id = words.iter().any(|word| matches!(word.as_str(), "event" | "message" | "trace" | "request")) && is_named;
    let is_key = column.is_scalar && column.can_be_key && !column.is_time && (is_named || column.distinct > 1);
    // The latest of each says more where keys come again.
    is_key.then_some((is_named && !is_event_id, column.not_null, column.distinct < column.present, names_the_source))
}
