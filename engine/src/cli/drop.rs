//! `alluvium drop`.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::client::Client;
use super::global::{Global, print};
use crate::error::Error;
use crate::layout::Layout;
use crate::lock::{lock, running};
use crate::project::Project;
use crate::record::{Store, drop_view, may_be_dropped};

const EXAMPLES: &str = "\
Examples:
  rm my-views/revenue_by_country.sql && alluvium -C my-views drop revenue_by_country
  alluvium -C my-views drop revenue_by_country --yes    without confirmation";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Drop {
    /// The view
    view: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
}

impl Drop {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let layout = global.layout()?;
        // The name becomes a folder's name below, so only names of existing views may pass.
        if !super::status::views_there(&layout)?.contains(&self.view) {
            return Err(Error::config(
                format!("there is no data of a view {} in {}", self.view, layout.root().display()),
                "`alluvium status` lists the views",
            ));
        }
        if !self.yes && !confirmed(&format!("all rows and state of {}", self.view))? {
            return Err(Error::config(format!("{} was not dropped", self.view), "answer y, or give --yes"));
        }
        match running(&layout)? {
            Some(info) => match Client::of(&info) {
                Some(client) => client.command("drop", &self.view)?,
                None => {
                    return Err(Error::config(
                        format!("process {} runs this project with its HTTP server off, so it takes no commands", info.pid),
                        "stop it, then drop the view",
                    ));
                }
            },
            None => remove(global, &layout, &self.view)?,
        }
        print(&format!("dropped {}\n", self.view))
    }
}

/// Removes the view in this process, when no engine is running.
fn remove(global: &Global, layout: &Layout, view: &str) -> Result<(), Error> {
    let _guard = lock(layout, None)?;
    match global.project() {
        Ok(project) if declares(&project, view) => Err(Error::config(
            format!("view {view} is declared by a SQL file"),
            "remove its statement first, or the next run creates it again; `alluvium rebuild` rebuilds a view",
        )),
        // A folder without any SQL file declares nothing.
        Ok(_) => drop_unread(layout, view),
        Err(_) if !has_sql(global) => drop_unread(layout, view),
        Err(error) => Err(error),
    }
}

fn drop_unread(layout: &Layout, view: &str) -> Result<(), Error> {
    let store = Store::open(layout)?;
    may_be_dropped(&store, view)?;
    drop_view(layout, &store, view)
}

fn declares(project: &Project, view: &str) -> bool {
    project.catalog.views.iter().any(|one| one.name == view)
}

fn has_sql(global: &Global) -> bool {
    let entries = std::fs::read_dir(&global.dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "sql"))
}

/// Asks for confirmation to remove something. Returns false without asking if standard input is not a terminal.
pub(super) fn confirmed(what: &str) -> Result<bool, Error> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut err = std::io::stderr();
    let asked = write!(err, "remove {what}? [y/N] ").and_then(|()| err.flush());
    let mut answer = String::new();
    let read = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Error::io("reading", "the terminal", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
