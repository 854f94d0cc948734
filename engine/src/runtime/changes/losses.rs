//! Which events that the version of a view that serves has applied cannot be read again by the version that would take its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_connectors::Error as Connector;
use alluvium_connectors::source::{Held, Past, Source};

use super::kept::Kept;
use crate::error::{Error, Kind};
use crate::record::Record;
use crate::runtime::component::{Component, sources_read, views_read};
use crate::runtime::request::Accept;
use crate::runtime::shared::Shared;

/// What one view would lose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) view: String,
    /// `events 1 to 50 of orders are gone`.
    pub(crate) what: String,
    /// The source is another one than the view was made from, or has lost what the view has not read yet.
    pub(crate) of_stream: bool,
}

/// What of a source's past is gone, in words, and whether the source is another one; none where nothing is gone.
type Answer = Option<(String, bool)>;

/// A change of a component, and what the records say of the versions that serve.
pub(crate) struct Change<'a> {
    pub(crate) component: &'a Component,
    pub(crate) records: &'a BTreeMap<String, Record>,
    /// The views that are made anew.
    pub(crate) anew: &'a BTreeSet<String>,
    /// Sources as the files declare them.
    pub(crate) sources: &'a BTreeMap<String, Arc<dyn Source>>,
    /// The versions that serve, where their SQL is known.
    pub(crate) kept: Option<&'a Kept>,
}

/// What a rebuild must not lose, for as long as it is not swapped in.
pub(crate) struct Guard {
    pub(crate) records: BTreeMap<String, Record>,
    pub(crate) anew: BTreeSet<String>,
    pub(crate) kept: Option<Kept>,
    pub(crate) accept: Accept,
}

impl Guard {
    /// Asked once a rebuild has its readers: what is there then is theirs.
    ///
    /// # Errors
    /// As [`Change::check`].
    pub(crate) async fn check(&self, component: &Component, shared: &Shared) -> Result<(), Error> {
        let (records, anew, kept) = (&self.records, &self.anew, self.kept.as_ref());
        Change { component, records, anew, sources: &shared.sources(), kept }.check(self.accept).await
    }
}

impl Change<'_> {
    /// Nothing where the views may be made anew.
    ///
    /// # Errors
    /// [`Error::Held`] where events would be lost that `accept` does not name, and those of the sources.
    pub(crate) async fn check(&self, accept: Accept) -> Result<(), Error> {
        if accept == Accept::Loss {
            return Ok(());
        }
        let mut losses = self.losses().await?;
        losses.retain(|loss| !loss.of_stream || accept < Accept::AnotherStream);
        if losses.is_empty() { Ok(()) } else { Err(Error::Held { message: held(&losses) }) }
    }

    /// What would be lost.
    ///
    /// # Errors
    /// Those of the sources.
    pub(crate) async fn losses(&self) -> Result<Vec<Loss>, Error> {
        let mut losses = Vec::new();
        let mut asked: Vec<(String, Past, Answer)> = Vec::new();
        for view in &self.component.views {
            let Some(record) = self.records.get(&view.name).filter(|_| self.anew.contains(&view.name)) else { continue };
            let read_again = self.read_again(&view.name);
            for (source, past) in pasts(record, self.records) {
                let what = if read_again.contains(&source) {
                    match asked.iter().find(|(name, known, _)| *name == source && *known == past) {
                        Some((_, _, answer)) => answer.clone(),
                        None => {
                            let answer = self.ask(&source, &past).await?;
                            asked.push((source, past, answer.clone()));
                            answer
                        }
                    }
                } else if self.reads_through_upstream(&view.name, &source) {
                    self.not_in_upstream(&view.name, &source, &past).map(|what| (what, false))
                } else if read_again.iter().any(|name| !record.positions.contains_key(name)) {
                    // Another source takes its place, perhaps under another name.
                    self.ask_replaced(&source, &past).await?
                } else {
                    None
                };
                losses.extend(what.map(|(what, of_stream)| Loss { view: view.name.clone(), what, of_stream }));
            }
        }
        Ok(losses)
    }

    /// The sources that are read from their first event on to make a view anew: by itself, and by views made anew that it reads.
    pub(crate) fn read_again(&self, view: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut wanted: BTreeSet<&str> = BTreeSet::from([view]);
        for view in self.component.views.iter().rev() {
            if wanted.contains(view.name.as_str()) && self.anew.contains(&view.name) {
                found.extend(sources_read(view).map(str::to_owned));
                wanted.extend(views_read(view));
            }
        }
        found
    }

    /// Whether the view gets the source by way of a view that is not made anew.
    fn reads_through_upstream(&self, view: &str, source: &str) -> bool {
        let declared = self.component.views.iter().find(|declared| declared.name == view);
        let stays = |upstream: &&str| !self.anew.contains(*upstream);
        let has = |upstream: &str| self.records.get(upstream).is_some_and(|record| record.positions.contains_key(source));
        declared.is_some_and(|declared| views_read(declared).filter(stays).any(has))
    }

    /// The view has read a source itself, and would now see it by way of a view that has begun later.
    fn not_in_upstream(&self, view: &str, source: &str, past: &Past) -> Option<String> {
        let began = past.began?;
        let declared = self.component.views.iter().find(|declared| declared.name == view)?;
        views_read(declared).filter(|upstream| !self.anew.contains(*upstream)).find_map(|upstream| {
            let record = self.records.get(upstream)?;
            let later = pasts(record, self.records).remove(source)?.began.filter(|later| *later > began)?;
            Some(format!("{} of {source} are not in view {upstream}", numbers(began, later)))
        })
    }

    /// What of a source's past is gone, and whether the source is another one.
    async fn ask(&self, name: &str, past: &Past) -> Result<Answer, Error> {
        let new = self.sources.get(name);
        let old = self.kept.and_then(|kept| kept.sources.get(name));
        if let (Some(new), Some(old)) = (new, old)
            && new.config().location != old.config().location
        {
            // What the other place holds decides: it is read from now on.
            return ask_one(name, past, new).await;
        }
        // The same stream may be reached by another way now, and another selection of it counts other events.
        let alike = old.is_none_or(|old| new.is_some_and(|new| old.config().options == new.config().options));
        let mut answer = None;
        if let Some(new) = new.filter(|_| alike) {
            answer = ask_one(name, past, new).await?;
            if !answer.as_ref().is_some_and(|(_, of_stream)| *of_stream) {
                return Ok(answer);
            }
        }
        let Some(old) = old else { return Ok(answer) };
        if answer.is_some() {
            // The new source has answered, so that an error of the old one decides nothing.
            return ask_one(name, past, old).await.or(Ok(answer));
        }
        ask_old(name, past, old).await
    }

    /// What of a source's past is gone that the new version does not read under its name.
    async fn ask_replaced(&self, name: &str, past: &Past) -> Result<Answer, Error> {
        let Some(old) = self.kept.and_then(|kept| kept.sources.get(name)) else {
            return Ok(Some((format!("{name} is not read any more, and whether it still has its events is not known"), true)));
        };
        ask_old(name, past, old).await
    }
}

/// Asks one source.
async fn ask_one(name: &str, past: &Past, source: &Arc<dyn Source>) -> Result<Answer, Error> {
    if source.promises().read_once {
        return Ok(None);
    }
    match source.holds(past).await {
        Ok(held) => Ok(of_held(name, past, held).map(|what| (what, false))),
        Err(Connector::StreamChanged { message, .. }) => Ok(Some((message, true))),
        Err(error) => Err(error.into()),
    }
}

/// Asks the source of the version that serves. That it is refused now is an answer.
async fn ask_old(name: &str, past: &Past, source: &Arc<dyn Source>) -> Result<Answer, Error> {
    match ask_one(name, past, source).await {
        Err(error) if error.kind() == Kind::Config => {
            Ok(Some((format!("{name} of the version that serves cannot be read any more: {error}"), true)))
        }
        other => other,
    }
}

/// What a record says that its view has read of each source, itself or by way of views that it is committed with.
fn pasts(record: &Record, records: &BTreeMap<String, Record>) -> BTreeMap<String, Past> {
    let past = |source: &String| {
        let position = record.positions.get(source)?.clone();
        let together = || record.commit.committed_with.iter().filter_map(|view| records.get(view));
        let upstream = || together().filter_map(|record| record.tallies.get(source)).min_by_key(|tally| tally.began);
        let tally = record.tallies.get(source).or_else(upstream);
        let began = tally.and_then(|tally| tally.began);
        Some((source.clone(), Past { began, events: tally.filter(|_| began.is_some()).map(|tally| tally.events), position }))
    };
    record.commit.offsets.keys().filter_map(past).collect()
}

fn of_held(source: &str, past: &Past, held: Held) -> Option<String> {
    let Held::Part { first, gone } = held else { return None };
    Some(match (gone, past.began, past.events) {
        (Some(gone), Some(began), _) if began + gone == first => {
            format!("{} of {source} {} gone", numbers(began, first), if gone == 1 { "is" } else { "are" })
        }
        (Some(gone), _, Some(events)) => {
            format!("{gone} of the {events} events of {source} up to sequence {} are gone", past.position.offset - 1)
        }
        _ if first > 1 => format!("events of {source} before sequence {first} are gone"),
        _ => format!("events of {source} before sequence {} are gone", past.position.offset),
    })
}

/// `events 1 to 50` up to an exclusive end.
fn numbers(first: u64, end: u64) -> String {
    if first + 1 == end { format!("event {first}") } else { format!("events {first} to {}", end - 1) }
}

/// `the change of a, b is held back: events 1 to 50 of orders are gone`.
fn held(losses: &[Loss]) -> String {
    let views: BTreeSet<&str> = losses.iter().map(|loss| loss.view.as_str()).collect();
    let what: BTreeSet<&str> = losses.iter().map(|loss| loss.what.as_str()).collect();
    let list = |words: BTreeSet<&str>, between| words.into_iter().collect::<Vec<_>>().join(between);
    format!("the new version of {} is held back: {}", list(views, ", "), list(what, "; "))
}
