//! Runs a test: the given events go through the runtime into a data folder of the test, and the views are read from there.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use futures::TryStreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::difference::{Difference, difference};
use super::file::Case;
use super::given::Given;
use crate::error::Error;
use crate::layout::Layout;
use crate::lock::lock;
use crate::project::Project;
use crate::query::query;
use crate::runtime::{self, Accept, RunRequest};
use crate::status::Board;

/// How often a run is restarted within a step at most, so that a test of many events ends.
const RESTARTS: usize = 40;

/// A way to run a test. The rows must be the same in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The events of a step in one batch.
    AtOnce,
    /// Each event in a batch of its own.
    OneByOne,
    /// The engine ends after each event, and goes on from its checkpoint.
    Restarted,
}

/// All ways.
pub const WAYS: [Way; 3] = [Way::AtOnce, Way::OneByOne, Way::Restarted];

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::AtOnce => "at once",
            Way::OneByOne => "one by one",
            Way::Restarted => "restarted after each event",
        })
    }
}

/// What is wrong after a step.
#[derive(Debug)]
pub struct Failure {
    /// In which way it was run.
    pub way: Way,
    /// The step, from 1.
    pub step: usize,
    /// The view, where it is one.
    pub view: Option<String>,
    /// What is wrong.
    pub what: Wrong,
}

/// Why a test fails.
#[derive(Debug)]
pub enum Wrong {
    /// A view has other rows.
    Rows(Difference),
    /// In words: what the test says cannot be, or events were set aside.
    Words(String),
    /// The engine failed.
    Error(Error),
}

/// Runs a test in each way until it fails in one. Returns `None` if it passes in all.
pub async fn run(project: &Project, case: &Case) -> Option<Failure> {
    for way in WAYS {
        if let Err(failure) = in_one_way(project, case, way).await {
            return Some(failure);
        }
    }
    None
}

async fn in_one_way(project: &Project, case: &Case, way: Way) -> Result<(), Failure> {
    let failed =
        |step: usize, view: Option<&str>, what: Wrong| Failure { way, step: step + 1, view: view.map(str::to_owned), what };
    let error = |step: usize| move |error: Error| failed(step, None, Wrong::Error(error));
    let folder = tempfile::tempdir().map_err(|io| error(0)(Error::io("making", std::env::temp_dir(), io)))?;
    let mut project = project.clone();
    project.settings.data = folder.path().join("data");
    project.settings.commit_interval = Duration::from_millis(1);
    if way == Way::OneByOne {
        project.sources.values_mut().for_each(|config| config.limits.max_events = 1);
    }
    let project = Arc::new(project);
    let given = Given::new(&project.sources, folder.path()).map_err(error(0))?;
    let mut aside = 0;
    for (index, step) in case.steps.iter().enumerate() {
        aside = step.set_aside.unwrap_or(aside);
        let words = |words: String| failed(index, None, Wrong::Words(words));
        for (source, written) in &step.given {
            let events = given.events(source, written).map_err(words)?;
            let size = if way == Way::Restarted { events.len().div_ceil(RESTARTS) } else { events.len() };
            for group in events.groups(size) {
                given.add(source, &group, way == Way::OneByOne).map_err(error(index))?;
                if way == Way::Restarted {
                    catch_up(&project, &given).await.map_err(error(index))?;
                }
            }
        }
        catch_up(&project, &given).await.map_err(error(index))?;
        let layout = project.layout();
        for (view, expected) in &step.expect {
            let rows = rows(&layout, &project, view).await.map_err(|what| failed(index, Some(view), what))?;
            let schema = rows.schema();
            let found = difference(&[rows], &schema, expected).map_err(|what| failed(index, Some(view), Wrong::Words(what)))?;
            if !found.is_none() {
                return Err(failed(index, Some(view), Wrong::Rows(found)));
            }
        }
        set_aside(&layout, aside).await.map_err(|what| failed(index, None, what))?;
    }
    Ok(())
}

/// Runs the engine until it has committed all events.
async fn catch_up(project: &Arc<Project>, given: &Given) -> Result<(), Error> {
    let _guard = lock(&project.layout(), None)?;
    let (_sender, commands) = mpsc::channel(1);
    let request = RunRequest {
        project: Arc::clone(project),
        until_caught_up: true,
        rebuild: Vec::new(),
        accept: Accept::default(),
        meet_again: BTreeSet::new(),
        only: Vec::new(),
        board: Arc::new(Board::default()),
        commands,
        shutdown: CancellationToken::new(),
    };
    runtime::run_over(request, given.open()?).await.map(drop)
}

/// All rows of a view, as one batch.
async fn rows(layout: &Layout, project: &Project, view: &str) -> Result<RecordBatch, Wrong> {
    let names = || project.catalog.views.iter().map(|view| view.name.as_str());
    if !names().any(|name| name == view) {
        let near = alluvium_sql::nearest(view, names()).map_or_else(String::new, |near| format!("; did you mean {near}?"));
        return Err(Wrong::Words(format!("no SQL file declares this view{near}")));
    }
    select(layout, &format!("SELECT * FROM {}", alluvium_sql::quoted(view))).await
}

async fn select(layout: &Layout, sql: &str) -> Result<RecordBatch, Wrong> {
    let stream = query(layout, sql, None).await.map_err(Wrong::Error)?.stream_here().await.map_err(Wrong::Error)?;
    let schema = stream.schema();
    let batches: Vec<RecordBatch> = stream.try_collect().await.map_err(|error| Wrong::Error(error.into()))?;
    arrow::compute::concat_batches(&schema, &batches).map_err(|error| Wrong::Error(Error::bug(error.to_string())))
}

/// Compares how many events were set aside.
async fn set_aside(layout: &Layout, expected: u64) -> Result<(), Wrong> {
    let letters = select(layout, "SELECT count(*) AS n, min(error) AS error FROM dead_letters").await?;
    let found = letters.column(0).as_primitive::<Int64Type>().value(0);
    if u64::try_from(found) == Ok(expected) {
        return Ok(());
    }
    let first = arrow::util::display::array_value_to_string(letters.column(1), 0).unwrap_or_default();
    let why = if first.is_empty() { String::new() } else { format!(": {first}") };
    let were = if found == 1 { "event was" } else { "events were" };
    Err(Wrong::Words(format!("{found} {were} set aside, and `set_aside` is {expected}{why}")))
}
