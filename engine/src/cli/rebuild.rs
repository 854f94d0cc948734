//! `alluvium rebuild`.

use std::sync::Arc;

use alluvium_sql::{listed, nearest};
use clap::Args;

use super::client::Client;
use super::global::{Global, print};
use super::run::{Work, run};
use crate::error::Error;
use crate::lock::running;
use crate::progress::Progress;
use crate::project::Project;
use crate::runtime::Accept;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views rebuild revenue_by_country
  alluvium -C my-views rebuild revenue_by_country --accept-loss

While `alluvium run` is running, this command tells it to rebuild and returns at once; `alluvium status` shows the progress.
Otherwise this command rebuilds the view itself and ends when it has caught up. Either way the old version serves until then.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Rebuild {
    /// The view
    view: String,
    /// Make it from what is left of its events, where a source no longer holds all that it has applied
    #[arg(long)]
    accept_loss: bool,
}

impl Rebuild {
    pub(super) fn run(&self, global: &Global, progress: &Progress) -> Result<(), Error> {
        let layout = global.layout()?;
        if let Some(info) = running(&layout)? {
            let client = Client::of(&info).ok_or_else(|| {
                Error::config(
                    format!("process {} runs this project with its HTTP server off, so it takes no commands", info.pid),
                    "stop it and rebuild, or start it again with an HTTP address",
                )
            })?;
            client.command(if self.accept_loss { "rebuild-accepting-loss" } else { "rebuild" }, &self.view)?;
            return print(&format!(
                "rebuilding {}: the old version serves until the new one has caught up; see `alluvium status`\n",
                self.view
            ));
        }
        let project = Arc::new(global.project()?);
        must_be_declared(&project, &self.view)?;
        let only = vec![self.view.clone()];
        let accept = if self.accept_loss { Accept::Loss } else { Accept::AnotherStream };
        let work = Work { until_caught_up: true, rebuild: only.clone(), accept, only, ..Work::default() };
        for set_aside in run(&project, work, progress)?.set_aside {
            tracing::warn!("{set_aside}");
        }
        print(&format!("rebuilt {}\n", self.view))
    }
}

/// Refuses a view that no SQL file declares, and suggests the nearest one.
pub(super) fn must_be_declared(project: &Project, view: &str) -> Result<(), Error> {
    let names = || project.catalog.views.iter().map(|view| view.name.as_str());
    if names().any(|name| name == view) {
        return Ok(());
    }
    let help = match nearest(view, names()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are: {}", listed(names())),
    };
    Err(Error::config(format!("no SQL file declares a view {view}"), help))
}
