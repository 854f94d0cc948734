//! A source whose producers may send an event more than once: what its declaration says of it.

use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Field};

use crate::catalog::batches;
use crate::catalog::types::map_of_texts;
use crate::declarations::{EventId, MESSAGE_ID, Once};
use crate::error::Error;
use crate::names::nearest;
use crate::text::Text;

const SEQUENCE: &str = "_sequence";
const HEADERS: &str = "_headers";

/// What a source declares; columns that only we read are added behind the declared ones.
pub(crate) fn once(
    options: &BTreeMap<String, String>,
    fields: &mut Vec<Field>,
    holds_batches: bool,
    text: &Text,
    errors: &mut Vec<Error>,
) -> Option<Once> {
    let mut wrong = |option: &str, message: String, help: String| {
        errors.push(Error { message, help: Some(help), at: text.value_of(option).unwrap_or_else(|| text.head()) });
        None
    };
    let within = match options.get("deduplicate_within") {
        None => None,
        Some(written) => match events(written) {
            Some(events) => Some(events),
            None => {
                return wrong(
                    "deduplicate_within",
                    format!("deduplicate_within is '{written}'"),
                    "write for instance '100000 events'".to_owned(),
                );
            }
        },
    };
    let Some(id) = options.get("deduplicate") else {
        return within.and_then(|_| {
            wrong(
                "deduplicate_within",
                "deduplicate_within is given, and nothing identifies an event".to_owned(),
                "write the option deduplicate 'event_id', or deduplicate 'Nats-Msg-Id'".to_owned(),
            )
        });
    };
    if holds_batches && within.is_some() {
        return wrong(
            "deduplicate_within",
            "deduplicate_within counts messages, and a message of this source may hold several events".to_owned(),
            "leave the option out: every identifier is kept".to_owned(),
        );
    }
    let visible = fields.len();
    let found = fields.iter().position(|field| field.name() == id);
    let id = match found.or_else(|| fields.iter().position(|field| field.name().eq_ignore_ascii_case(id))) {
        Some(column) => EventId::Column(column),
        None if id.eq_ignore_ascii_case(MESSAGE_ID) => {
            EventId::MessageId(match fields.iter().position(|field| field.name() == HEADERS) {
                None => {
                    fields.push(Field::new(HEADERS, map_of_texts(), true));
                    visible
                }
                Some(column) if matches!(fields[column].data_type(), DataType::Map(..)) => column,
                Some(_) => {
                    return wrong(
                        "deduplicate",
                        format!("the header {MESSAGE_ID} is not found in {HEADERS}, which is declared as text"),
                        format!("write {HEADERS} MAP(VARCHAR, VARCHAR)"),
                    );
                }
            })
        }
        None => {
            let near = nearest(id, fields.iter().map(|field| field.name().as_str()));
            let help =
                near.map_or_else(|| format!("name a column, or the header {MESSAGE_ID}"), |near| format!("did you mean {near}?"));
            return wrong("deduplicate", format!("deduplicate names {id}, which is no column of the source"), help);
        }
    };
    let sequence = fields.iter().position(|field| field.name() == SEQUENCE).unwrap_or_else(|| {
        fields.push(Field::new(SEQUENCE, DataType::UInt64, false));
        fields.len() - 1
    });
    let ordinal = holds_batches.then(|| batches::ordinal(fields));
    Some(Once { id, visible, sequence, ordinal, within })
}

/// `100000 events`, or `100000`.
fn events(written: &str) -> Option<u64> {
    let mut words = written.split_ascii_whitespace();
    let count: u64 = words.next()?.replace('_', "").parse().ok()?;
    let unit = words.next().is_none_or(|word| word.eq_ignore_ascii_case("events") || word.eq_ignore_ascii_case("event"));
    (unit && words.next().is_none() && (1..=i64::MAX as u64).contains(&count)).then_some(count)
}
