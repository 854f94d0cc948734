//! What the next run does with each view, found without touching anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use alluvium_connectors::source::Source;

use super::kept::Kept;
use super::losses::Change;
use super::needs::{Needs, reads_once, usable_records};
use crate::error::{Error, Kind};
use crate::project::Project;
use crate::record::Record;
use crate::runtime::component::{Component, views_read};
use crate::runtime::request::Accept;
use crate::settings::OnStreamChange;

/// What becomes of one view.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ViewChange {
    /// The view.
    pub view: String,
    /// It has been committed before.
    pub committed: bool,
    /// What is done.
    #[serde(flatten)]
    pub step: Step,
}

/// What the next run does with a view.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum Step {
    /// It goes on from its last commit.
    Unchanged,
    /// It is made from what these views hold.
    FromState {
        /// The views.
        views: Vec<String>,
    },
    /// It is made anew from events.
    Rebuilt {
        /// By source; none where it cannot be told.
        from: Vec<Events>,
    },
    /// It would lose events: the version that serves goes on.
    Blocked {
        /// What would be lost.
        losses: Vec<String>,
        /// The version that serves can follow new events; else its last commit is served and stays as it is.
        follows: bool,
    },
    /// A source does not answer.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Events that are read again.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Events {
    /// The source.
    pub source: String,
    /// The first sequence that it holds.
    pub first: u64,
    /// How many events that is now; none for a source that does not know its end.
    pub events: Option<u64>,
}

/// What a run would do with each view of a project, by the records of its last commits.
///
/// # Errors
/// Declarations of sources that are wrong, and a source that refuses us.
pub async fn plan(project: &Project, records: &BTreeMap<String, Record>) -> Result<Vec<ViewChange>, Error> {
    let sources: BTreeMap<String, Arc<dyn Source>> =
        project.connect()?.into_iter().map(|source| (source.config().name.clone(), source)).collect();
    let read_once = sources.iter().filter(|(_, source)| source.promises().read_once).map(|(name, _)| name.clone()).collect();
    let mut changes = Vec::new();
    let components = Component::all(&project.catalog, &read_once);
    for component in &components {
        changes.extend(of_component(project, (component, &components), records, &sources, &read_once).await?);
    }
    let order = |change: &ViewChange| project.catalog.views.iter().position(|view| view.name == change.view);
    changes.sort_by_key(order);
    Ok(changes)
}

async fn of_component(
    project: &Project,
    (component, all): (&Component, &[Component]),
    records: &BTreeMap<String, Record>,
    sources: &BTreeMap<String, Arc<dyn Source>>,
    read_once: &BTreeSet<String>,
) -> Result<Vec<ViewChange>, Error> {
    let Needs { anew, .. } = Needs::of(component, records, &BTreeSet::new(), read_once);
    let once = reads_once(component, read_once);
    let serves = component.views.iter().any(|view| anew.contains(&view.name) && records.contains_key(&view.name));
    let kept = if serves && !once { Kept::of(project, component, records, &anew) } else { None };
    let change = Change { component, records, anew: &anew, sources, kept: kept.as_ref() };
    let mut losses = match change.losses().await {
        Ok(losses) => Ok(losses),
        Err(error) if error.kind() == Kind::Unavailable => Err(error.to_string()),
        Err(error) => return Err(error),
    };
    if let (Ok(losses), Accept::AnotherStream) = (&mut losses, accepted(project)) {
        losses.retain(|loss| !loss.of_stream);
    }
    let follows = |view: &str| {
        kept.as_ref().is_some_and(|kept| {
            let goes_on = |part: &Component| {
                usable_records(part, records).contains_key(view)
                    && !part.views.iter().any(|view| component.leaves_to_another(&view.name, all))
            };
            kept.components().iter().any(goes_on)
        })
    };
    let mut changes = Vec::new();
    for view in &component.views {
        let name = &view.name;
        let step = match &losses {
            _ if !anew.contains(name) => Step::Unchanged,
            Err(reason) => Step::Unknown { reason: reason.clone() },
            Ok(losses) if !losses.is_empty() => {
                let all: BTreeSet<String> = losses.iter().map(|loss| format!("{} ({})", loss.what, loss.view)).collect();
                let own: BTreeSet<String> =
                    losses.iter().filter(|loss| loss.view == *name).map(|loss| loss.what.clone()).collect();
                // Views that are committed together wait for each other.
                let losses = if own.is_empty() { all } else { own };
                Step::Blocked { losses: losses.into_iter().collect(), follows: follows(name) }
            }
            Ok(_) => made_anew(&change, name).await?,
        };
        changes.push(ViewChange { view: name.clone(), committed: records.contains_key(name), step });
    }
    Ok(changes)
}

/// What the settings let go without a word on the command line.
pub(in crate::runtime) fn accepted(project: &Project) -> Accept {
    match project.settings.on_stream_change {
        OnStreamChange::Rebuild => Accept::AnotherStream,
        OnStreamChange::Stop => Accept::Nothing,
    }
}

async fn made_anew(change: &Change<'_>, view: &str) -> Result<Step, Error> {
    let read_again = change.read_again(view);
    if read_again.is_empty() {
        let declared = change.component.views.iter().find(|declared| declared.name == view);
        return Ok(Step::FromState { views: declared.into_iter().flat_map(views_read).map(str::to_owned).collect() });
    }
    let mut from = Vec::new();
    for name in read_again {
        let Some(source) = change.sources.get(&name) else { continue };
        if !source.promises().knows_end {
            from.push(Events { source: name, first: 1, events: None });
            continue;
        }
        let first = match source.extent(0).await {
            Ok(extent) => extent.first,
            Err(error) => match Error::from(error) {
                error if error.kind() == Kind::Unavailable => return Ok(Step::Unknown { reason: error.to_string() }),
                error => return Err(error),
            },
        };
        from.push(Events { source: name, first, events: source.events_from(first).await.ok() });
    }
    Ok(Step::Rebuilt { from })
}

/// `rebuilt from sequence 51 of orders (50 events)`.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Unchanged => f.write_str("unchanged"),
            Step::FromState { views } if views.is_empty() => f.write_str("from state: it reads no event"),
            Step::FromState { views } => write!(f, "from state: the rows of {}", views.join(", ")),
            Step::Rebuilt { from } => {
                let each = |events: &Events| {
                    let count = match events.events {
                        Some(1) => " (1 event)".to_owned(),
                        Some(count) => format!(" ({count} events)"),
                        None => String::new(),
                    };
                    format!("from sequence {} of {}{count}", events.first, events.source)
                };
                write!(f, "rebuilt {}", from.iter().map(each).collect::<Vec<_>>().join(" and "))
            }
            Step::Blocked { losses, follows } => {
                let goes_on = if *follows { "the version that serves goes on" } else { "its last commit stays as it is" };
                write!(f, "blocked: {}; {goes_on}", losses.join("; "))
            }
            Step::Unknown { reason } => write!(f, "not known: {reason}"),
        }
    }
}
