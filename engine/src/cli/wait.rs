//! `alluvium wait`.

use std::time::Duration;

use alluvium_sql::nearest;
use clap::Args;
use tokio::time::Instant;

use super::global::{Global, print, runtime};
use crate::error::{Error, Kind};
use crate::layout::Layout;
use crate::lock::running;
use crate::query::reached::Awaited;
use crate::query::snapshot;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views wait revenue_by_country --sequence 4711
  alluvium -C my-views wait revenue_by_country --sequence orders:4711 --timeout 1m && ./read-what-was-written

The sequence is the one that the server gave a message when it was published. It reads what the engine commits, so it works whether the
engine serves HTTP or not. The exit code is 1 if the view has not committed the event in time.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Wait {
    /// The view
    view: String,
    /// The sequence of the event; of a view with several sources, with its source
    #[arg(long, value_name = "[SOURCE:]N")]
    sequence: Awaited,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    alluvium_sql::duration(text).ok_or_else(|| "write a length of time with its unit: 10s, 500ms, \"5 minutes\"".to_owned())
}

impl Wait {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let layout = global.layout()?;
        self.check_name(global, &layout)?;
        let waited = runtime()?.block_on(async {
            let deadline = Instant::now() + self.timeout;
            self.sequence.wait(&layout, &self.view, deadline).await
        });
        match waited {
            Ok(manifest) => print(&format!("view {} has it at commit {}\n", self.view, manifest.epoch)),
            Err(error) if error.kind() == Kind::Unavailable && running(&layout)?.is_none() => {
                Err(Error::unavailable(format!("{error}, and no engine is running"), "`alluvium run` starts it"))
            }
            Err(error) => Err(error),
        }
    }

    /// A view that nobody declares and that has no commit is not waited for.
    fn check_name(&self, global: &Global, layout: &Layout) -> Result<(), Error> {
        let committed = snapshot::views(layout)?;
        if committed.contains(&self.view) {
            return Ok(());
        }
        let project = global.project()?;
        let declared = project.catalog.views.iter().map(|view| view.name.as_str());
        if declared.clone().any(|view| view == self.view) {
            return Ok(());
        }
        let help = match nearest(&self.view, declared.chain(committed.iter().map(String::as_str))) {
            Some(near) => format!("did you mean {near}?"),
            None => "`alluvium status` lists the views".to_owned(),
        };
        Err(Error::config(format!("there is no view {}", self.view), help))
    }
}
