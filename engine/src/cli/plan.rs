//! `alluvium plan`.

use clap::Args;

use super::global::{Global, Shape, json, print, runtime};
use super::table;
use crate::error::Error;
use crate::record::newest_records;
use crate::runtime::{ViewChange, plan};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views plan
  alluvium -C my-views plan --format json | jq '.[] | select(.step == \"blocked\")'

Nothing is changed. A view that is `blocked` would lose events that its source no longer holds: the version that serves goes on, and
follows new events, until the change is taken back or `--accept-loss` is given to `alluvium run` or `alluvium rebuild`.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Plan {
    /// How it is written
    #[arg(long, value_enum, default_value_t = Shape::Table)]
    format: Shape,
}

impl Plan {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let project = global.project()?;
        let records = newest_records(&project.layout())?;
        let changes = runtime()?.block_on(plan(&project, &records))?;
        let gone = records.keys().filter(|view| !project.catalog.views.iter().any(|declared| declared.name == **view));
        match self.format {
            Shape::Json => print(&json(&changes)?),
            Shape::Table => print(&text(&changes, gone)),
        }
    }
}

fn text<'a>(changes: &[ViewChange], gone: impl Iterator<Item = &'a String>) -> String {
    let mut table = table::plain(&["view", "the next run"]);
    for change in changes {
        let new = if change.committed { "" } else { "new, " };
        table.add_row(vec![change.view.clone(), format!("{new}{}", change.step)]);
    }
    for view in gone {
        table.add_row(vec![view.clone(), "left alone: no SQL file declares it".to_owned()]);
    }
    format!("{table}\n")
}
