//! `alluvium explain`.

use alluvium_sql::describe;
use clap::{Args, ValueEnum};

use super::global::{Global, print};
use super::rebuild::must_be_declared;
use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views explain revenue_by_country
  alluvium -C my-views explain revenue_by_country --format json
  alluvium -C my-views explain revenue_by_country --format mermaid";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A tree for people
    Text,
    /// For programs
    Json,
    /// A flowchart, for Markdown
    Mermaid,
}

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// The view
    view: String,
    /// The format of the plan
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Explain {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let project = global.project()?;
        must_be_declared(&project, &self.view)?;
        let Some(view) = project.catalog.views.iter().find(|view| view.name == self.view) else {
            return Err(Error::bug(format!("view {} is declared and is not there", self.view)));
        };
        match self.format {
            Format::Json => {
                let mut plan = describe::to_json(view);
                let interval = humantime::format_duration(project.commit_interval(&view.name)).to_string();
                plan["commit_interval"] = interval.into();
                print(&super::global::json(&plan)?)
            }
            Format::Mermaid => print(&describe::to_mermaid(view)),
            Format::Text => print(&format!("{}\n{}", view.name, describe::explain(view))),
        }
    }
}
