//! `alluvium restart`.

use clap::Args;

use super::client::Client;
use super::global::{Global, print};
use crate::error::Error;
use crate::lock::running;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views restart revenue_by_country

For a view that `alluvium status` shows as failed or retrying while the engine runs. It restarts from its last commit, together with the
views that are committed with it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Restart {
    /// The view
    view: String,
}

impl Restart {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let info = running(&global.layout()?)?
            .ok_or_else(|| Error::config("no engine is running on this project", "`alluvium run` starts every view"))?;
        let client = Client::of(&info).ok_or_else(|| {
            Error::config(
                format!("process {} runs this project with its HTTP server off, so it takes no commands", info.pid),
                "stop it and start it again, which starts every view",
            )
        })?;
        client.command("restart", &self.view)?;
        print(&format!("restarting {}; see `alluvium status`\n", self.view))
    }
}
