//! `alluvium dead-letters retry`: applies events that were set aside, after what kept them out has been mended.
//!
//! An event belongs where its sequence puts it, and what came after it may depend on it. So the views that it concerns are made anew from
//! the first event; each serves as it is until then. No letter is removed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::logical_expr::col;

use crate::cli::client::Client;
use crate::cli::global::{Global, print, runtime};
use crate::cli::run::{Work, run};
use crate::dead_letters::{self, Selection};
use crate::error::{Error, Finding};
use crate::layout::Layout;
use crate::lock::running;
use crate::progress::Progress;
use crate::project::Project;
use crate::record::{dead_letter_key, newest_records};
use crate::runtime::{CRASH, sources_read};
use crate::status::{Phase, ViewStatus};

/// Between two looks at an engine that rebuilds.
const PAUSE: Duration = Duration::from_millis(100);

/// Letters that name the same views.
#[derive(Debug)]
struct Group {
    source: String,
    /// As the letters name them; none where all are concerned.
    named: Option<String>,
    /// Those of them that some SQL file declares.
    views: Vec<String>,
    letters: u64,
    /// The program panicked on some of them.
    crashed: bool,
}

/// What is known of letters of one group before it is known which views are declared.
#[derive(Debug, Default)]
struct Count {
    letters: u64,
    crashed: bool,
}

pub(super) fn retry(global: &Global, selection: &Selection, progress: &Progress) -> Result<(), Error> {
    let project = Arc::new(global.project()?);
    let layout = project.layout();
    let groups = runtime()?.block_on(groups(&project, &layout, selection))?;
    let views: BTreeSet<String> = groups.iter().flat_map(|group| group.views.iter().cloned()).collect();
    if groups.is_empty() || views.is_empty() {
        return print("no such event was set aside by a view that is declared\n");
    }
    let names: Vec<&str> = views.iter().map(String::as_str).collect();
    print(&format!(
        "{} events belong among others, in their order: {} rebuilt from the first event\n",
        groups.iter().map(|group| group.letters).sum::<u64>(),
        if let [one] = names[..] { format!("{one} is") } else { format!("{} are", names.join(", ")) }
    ))?;
    let crashed: Vec<&Group> = groups.iter().filter(|group| group.crashed).collect();
    rebuild(&project, &layout, &views, &crashed, progress)?;
    tell(&layout, &groups)
}

/// The selected letters, by the views that they name.
async fn groups(project: &Project, layout: &Layout, selection: &Selection) -> Result<Vec<Group>, Error> {
    let Some(letters) = dead_letters::select(layout, selection).await? else { return Ok(Vec::new()) };
    let mut groups: BTreeMap<(String, Option<String>), Count> = BTreeMap::new();
    for batch in letters.select(["source", "view", "kind"].map(col).to_vec())?.collect().await? {
        let (source, view) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
        let kind = batch.column(2).as_string::<i32>();
        for row in 0..batch.num_rows() {
            let named = view.is_valid(row).then(|| view.value(row).to_owned());
            let count = groups.entry((source.value(row).to_owned(), named)).or_default();
            count.letters += 1;
            count.crashed |= kind.value(row) == CRASH;
        }
    }
    let of = |((source, named), count): ((String, Option<String>), Count)| {
        let is_named = |view: &str| named.as_ref().is_none_or(|named| named.split(", ").any(|one| one == view));
        let reads = |view: &alluvium_sql::View| sources_read(view).any(|read| read == source);
        let views: Vec<String> = project
            .catalog
            .views
            .iter()
            .filter(|view| is_named(&view.name) && reads(view))
            .map(|view| view.name.clone())
            .collect();
        Group { source, named, views, letters: count.letters, crashed: count.crashed }
    };
    Ok(groups.into_iter().map(of).collect())
}

fn rebuild(
    project: &Arc<Project>,
    layout: &Layout,
    views: &BTreeSet<String>,
    crashed: &[&Group],
    progress: &Progress,
) -> Result<(), Error> {
    let Some(info) = running(layout)? else {
        let all: Vec<String> = views.iter().cloned().collect();
        let meet_again = met_again(project, crashed);
        let work = Work { until_caught_up: true, rebuild: all.clone(), only: all, meet_again, ..Work::default() };
        return run(project, work, progress).map(drop);
    };
    if !crashed.is_empty() {
        return Err(Error::config(
            format!("the program panicked on some of these events, and process {} runs the folder", info.pid),
            "stop it and try again: should the program panic once more, nothing else stops then",
        ));
    }
    let client = Client::of(&info).ok_or_else(|| {
        Error::config(
            format!("process {} runs this folder with its HTTP server off, and cannot be told", info.pid),
            "stop it and try again, or start it again with an HTTP address",
        )
    })?;
    let mut left = views.clone();
    // One after the other: views that are committed together can be rebuilt once at a time, and those that read one are rebuilt with it.
    while let Some(view) = left.pop_first() {
        client.command("rebuild", &view)?;
        let done = loop {
            std::thread::sleep(PAUSE);
            let all = client.status()?;
            let rebuilding = all.iter().filter(|status| status.phase == Phase::Rebuilding);
            left.retain(|other| !rebuilding.clone().any(|status| status.view == *other));
            if let Some(done) = all.into_iter().find(|status| status.view == view && status.phase != Phase::Rebuilding) {
                break done;
            }
        };
        if let ViewStatus { rebuild_error: Some(error), .. } | ViewStatus { held: Some(error), .. } = done {
            return Err(Error::config(format!("the rebuild of {view} failed: {error}"), "the view serves as it did before"));
        }
    }
    Ok(())
}

/// The dead-letter keys of the views on which the program panicked: their rebuild meets the events again.
fn met_again(project: &Project, crashed: &[&Group]) -> BTreeSet<String> {
    let views = |group: &Group| {
        let named = project.catalog.views.iter().filter(|view| group.views.contains(&view.name));
        named.map(|view| dead_letter_key(&group.source, Some((&view.name, &view.plan.fingerprint)))).collect::<Vec<_>>()
    };
    crashed.iter().flat_map(|group| views(group)).collect()
}

/// Says of which views the events are applied now, and what is left. No letter is removed: one may be of an event that is gone.
fn tell(layout: &Layout, groups: &[Group]) -> Result<(), Error> {
    let records = newest_records(layout)?;
    let mut left = Vec::new();
    for group in groups {
        let set_aside: u64 = group
            .views
            .iter()
            // Of a view of which nothing is known, it cannot be told.
            .map(|view| records.get(view).and_then(|record| record.tallies.get(&group.source)).map_or(1, |tally| tally.set_aside))
            .max()
            .unwrap_or(0);
        if group.views.is_empty() || set_aside > 0 {
            left.push(format!("{set_aside} events of {} are still set aside in {}", group.source, group.views.join(", ")));
            continue;
        }
        let named = group.named.as_ref().map_or_else(String::new, |_| format!(" --view {}", group.views.join(" or ")));
        print(&format!(
            "{}: no event of {} is set aside any more; the letters are kept until `alluvium dead-letters drop --source {}{named}`\n",
            group.views.join(", "),
            group.source,
            group.source
        ))?;
    }
    if left.is_empty() {
        return Ok(());
    }
    Err(Error::Found {
        finding: Finding::SetAside,
        message: left.join("\n"),
        help: "`alluvium dead-letters list` shows why; they are kept".to_owned(),
    })
}
