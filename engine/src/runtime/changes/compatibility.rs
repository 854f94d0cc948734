//! Whether the schemas of sources still read what they read when views were committed. It compares texts: those in the records with those in
//! the files. It touches nothing. It asks a schema registry what a change has to leave possible, where the registry decides that.

use std::collections::BTreeMap;
use std::fmt;

use alluvium_connectors::decode::{Break, Comparison, Compatibility, Direction, compare};

use crate::error::Error;
use crate::project::Project;
use crate::record::Record;

/// The most members that an error names.
const MOST_NAMED: usize = 8;

/// A schema that is not the one of the last commit, and may be another one.
#[derive(Debug)]
pub struct SchemaChange {
    source: String,
    view: String,
    comparison: Comparison,
}

impl SchemaChange {
    /// The source whose schema it is.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

/// `schema of orders: changed since the last commit of v: backward compatible; not forward compatible: total: long before, string now`.
impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Comparison { backward, forward } = &self.comparison;
        write!(f, "schema of {}: changed since the last commit of {}: ", self.source, self.view)?;
        match (backward.is_empty(), forward.is_empty()) {
            (true, true) => f.write_str("fully compatible"),
            (true, false) => write!(f, "backward compatible; not forward compatible: {}", named(forward)),
            (false, true) => write!(f, "forward compatible; not backward compatible: {}", named(backward)),
            (false, false) => write!(f, "not compatible: backward: {}; forward: {}", named(backward), named(forward)),
        }
    }
}

/// Compares the schema of each source with those of the records of the views that read it. Returns the changes that option
/// `compatibility`, or the registry's rule for the subject, allows.
///
/// # Errors
/// Every change that it does not allow, with the place of its source; a schema that cannot be read.
pub fn schema_changes(project: &Project, records: &BTreeMap<String, Record>) -> Result<Vec<SchemaChange>, Error> {
    let (mut changes, mut wrong) = (Vec::new(), Vec::new());
    for (name, now) in &project.schemas {
        let (Some(config), Some(source)) = (project.sources.get(name), project.catalog.sources.get(name)) else { continue };
        // Asked for only where schemas differ: it may be known to a registry alone.
        let mut in_force = None;
        let mut compared = Vec::new();
        for view in &project.catalog.views {
            let definition = records.get(&view.name).and_then(|record| record.definition.as_ref());
            let Some(before) = definition.and_then(|definition| definition.schemas.get(name)) else { continue };
            if before == now || compared.contains(&before) {
                continue;
            }
            compared.push(before);
            let compatibility = match in_force {
                Some(known) => known,
                None => *in_force.insert(Compatibility::in_force(config)?.rule),
            };
            let comparison = match compare(config, before, now) {
                Ok(comparison) => comparison,
                Err(_) if compatibility == Compatibility::None => continue,
                Err(error) => return Err(error.into()),
            };
            let change = SchemaChange { source: name.clone(), view: view.name.clone(), comparison };
            match change.refused(compatibility) {
                None => changes.push(change),
                Some((message, help)) => {
                    let at = source.at.of_what_is_named_in(&message);
                    wrong.push(alluvium_sql::Error { message, help: Some(help), at });
                }
            }
        }
    }
    if wrong.is_empty() { Ok(changes) } else { Err(Error::Sql(alluvium_sql::Errors(wrong))) }
}

impl SchemaChange {
    /// Why a change is refused, and what to do.
    fn refused(&self, compatibility: Compatibility) -> Option<(String, String)> {
        let Comparison { backward, forward } = &self.comparison;
        let broken = [(Direction::Backward, "backward", backward), (Direction::Forward, "forward", forward)];
        let (_, word, breaks) =
            broken.into_iter().find(|(direction, _, breaks)| compatibility.asks_for(*direction) && !breaks.is_empty())?;
        let (source, view) = (&self.source, &self.view);
        let message = format!(
            "source {source}: option 'schema': the schema is not {word} compatible with that of the last commit of {view}: {}",
            named(breaks)
        );
        let help = format!(
            "change the schema so that it reads both, or give the option compatibility 'none': {view} is then made anew, and events that do \
             not fit become dead letters"
        );
        Some((message, help))
    }
}

fn named(breaks: &[Break]) -> String {
    let mut texts: Vec<String> = breaks.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    if breaks.len() > MOST_NAMED {
        texts.push(format!("{} more", breaks.len() - MOST_NAMED));
    }
    texts.join("; ")
}
