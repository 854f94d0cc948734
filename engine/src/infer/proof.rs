//! Decodes the sample by the declaration, as a source would, and widens each column that a value does not fit, until all fit.

use std::path::Path;

use alluvium_connectors::decode::{Decoder, Message};

use super::declaration::{Column, Declaration};
use super::payloads::{Event, Payloads};
use crate::error::Error;
use crate::project::Project;
use crate::settings::Settings;

/// Returns the declaration with columns that every sampled event fits. An event that is no object fits no declaration.
///
/// # Errors
/// The source's name or an option is refused.
pub(super) fn prove(
    mut declaration: Declaration,
    payloads: &Payloads,
    dir: &Path,
    settings: &Settings,
) -> Result<Declaration, Error> {
    loop {
        let (sql, places) = declaration.sql();
        let config = match Project::source(dir, settings, &sql) {
            Ok(config) => config,
            Err(Error::Sql(errors)) => {
                refuse(&mut declaration, &places, &errors)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        alluvium_connectors::source::open(config.clone())?;
        let mut config = config;
        if declaration.place.is_csv() {
            config.options.entry("null_text".to_owned()).or_default();
        }
        let decoder = Decoder::new(&config)?;
        let decoded = decoder.decode(payloads.events.len(), payloads.events.iter().map(message))?;
        let mut bad: Vec<usize> = decoded.unfit.iter().map(|unfit| unfit.column).collect();
        bad.sort_unstable();
        bad.dedup();
        if bad.is_empty() {
            let undecodable = decoded.dead_letters.iter().map(|letter| (letter.sequence, letter.error.clone()));
            declaration.undecodable = undecodable.collect();
            return Ok(declaration);
        }
        for index in bad.into_iter().rev() {
            let widened = declaration.columns.get_mut(index).map(Column::widen);
            match widened {
                Some(true) => {}
                Some(false) => leave_out(&mut declaration, index, "it has values that fit no type, and no option can name it"),
                None => return Err(Error::bug("an event does not fit a column that is filled from the message")),
            }
        }
    }
}

/// Widens the columns at which the declaration is refused, or leaves them out.
fn refuse(declaration: &mut Declaration, places: &[std::ops::Range<usize>], errors: &alluvium_sql::Errors) -> Result<(), Error> {
    let at_fault = |offset: usize| places.iter().position(|place| place.contains(&offset));
    let mut columns: Vec<usize> = errors.0.iter().filter_map(|error| at_fault(error.at.offset)).collect();
    columns.sort_unstable();
    columns.dedup();
    if columns.is_empty() {
        // The name of the source, or an option, which the user gave.
        return Err(Error::Sql(errors.clone()));
    }
    for index in columns.into_iter().rev() {
        let Some(column) = declaration.columns.get_mut(index) else { continue };
        if column.of_type.is_scalar() || !column.widen() {
            leave_out(declaration, index, "it cannot be the name of a column");
        }
    }
    Ok(())
}

fn leave_out(declaration: &mut Declaration, index: usize, why: &'static str) {
    let column = declaration.columns.remove(index);
    declaration.left_out.push((column.name, why));
}

fn message(event: &Event) -> Message<'_> {
    Message {
        sequence: event.sequence,
        subject: &event.subject,
        timestamp_ns: event.timestamp_ns,
        headers: None,
        payload: &event.payload,
    }
}
