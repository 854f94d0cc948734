//! Writes the declaration of a source from a sample of its events: `CREATE EXTERNAL TABLE` with a type and a comment for each column.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`place`] | what is sampled: a stream, or files and what they hold |
//! | `payloads` | the sampled events |
//! | `seen` | what was seen of a member: kinds, nesting, distinct values |
//! | `numbers`, `texts` | what numbers have in common; the forms of text |
//! | `times` | which numbers are times, and in which unit |
//! | `proposal` | the type of a member |
//! | `types`, `names` | types and names as SQL writes them |
//! | `event_types` | the types of events, by subject or by a member |
//! | `secrets` | which examples may not be shown |
//! | `declaration` | the text |
//! | `of_schema` | the declaration of events that have a schema, of which the sample shows how many have a value |
//! | [`first_views`] | two views to begin with |
//! | `proof` | decodes the sample by the declaration, and widens columns until every event decodes |
//!
//! The proof is what makes the text right. A proposal only has to be a good guess.

mod declaration;
mod event_types;
pub mod first_views;
mod names;
mod numbers;
mod of_schema;
mod payloads;
pub mod place;
mod proof;
mod proposal;
mod secrets;
mod seen;
#[cfg(test)]
mod tests;
mod texts;
mod times;
mod types;

use std::path::Path;

use self::declaration::{Column, Declaration};
pub use self::declaration::{Found, Inferred};
use self::place::Place;
use crate::error::Error;
use crate::settings::Settings;

/// Samples `sample` events of a place and declares it as a source.
///
/// `name` is the source's name; without it, the place gives one. `dir` is the project's folder, in which the declaration is to stand.
///
/// # Errors
/// Those of the source; [`crate::error::Kind::Config`] if it has no events.
pub async fn infer(place: &Place, name: Option<&str>, sample: u64, dir: &Path, settings: &Settings) -> Result<Inferred, Error> {
    let name = name.map_or_else(|| place.name(), str::to_owned);
    if place.has_schema() {
        return of_schema::infer(place, &name, sample, dir, settings).await;
    }
    let (place, payloads) = place.read(&name, sample, dir, settings).await?;
    if payloads.events.is_empty() {
        return Err(Error::config(
            format!("{} has no events to infer from", place.shown()),
            "write some events first, or name another place or subject",
        ));
    }
    let declaration = Declaration::propose(&name, &place, &payloads);
    let declaration = proof::prove(declaration, &payloads, dir, settings)?;
    if let Some((sequence, error)) =
        declaration.undecodable.first().filter(|_| declaration.undecodable.len() == payloads.events.len())
    {
        return Err(Error::config(
            format!(
                "none of the {} sampled events of {} decodes; event {sequence}: {error}",
                payloads.events.len(),
                place.shown()
            ),
            "events are JSON objects, or the rows of CSV files with a header, Parquet, Arrow or Avro files; declare the columns of others by hand",
        ));
    }
    Ok(Inferred {
        sql: declaration.sql().0,
        name,
        columns: declaration.columns.iter().map(Column::found).collect(),
        is_stream: place.is_stream(),
        event_type: declaration.event_types.member.as_ref().map(|member| member.name.clone()),
        events: payloads.events.len() as u64,
        undecodable: declaration.undecodable.len() as u64,
    })
}
