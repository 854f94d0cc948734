//! `alluvium drop`.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use super::client::Client;
use super::global::{Global, print};
use crate::error::Error;
use crate::layout::Layout;
use crate::lock::{lock, running};
use crate::project::Project;
use crate::record::{Store, drop_view};

const EXAMPLES: &str = "\
Examples:
  rm my-views/revenue_by_country.sql && alluvium -C my-views drop revenue_by_country
  alluvium -C my-views drop revenue_by_country --yes    without a question";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Drop {
    /// The view
    view: String,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl Drop {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let layout = global.layout()?;
        // A name is a folder's name below: nothing but the views that are there may be given.
        if !super::status::views_there(&layout)?.contains(&self.view) {
            return Err(Error::config(
                format!("there is no data of a view {} in {}", self.view, layout.root().display()),
                "`alluvium status` lists the views",
            ));
        }
        if !self.yes && !confirmed(&format!("all rows and state of {}", self.view))? {
            return Err(Error::config(format!("{} is left as it is", self.view), "say y, or give --yes"));
        }
        match running(&layout)? {
            Some(info) => match Client::of(&info) {
                Some(client) => client.command("drop", &self.view)?,
                None => {
                    return Err(Error::config(
                        format!("process {} runs this folder with its HTTP server off, and cannot be told", info.pid),
                        "stop it and drop the view then",
                    ));
                }
            },
            None => remove(global, &layout, &self.view)?,
        }
        print(&format!("dropped {}\n", self.view))
    }
}

/// Removes it here: nothing runs.
fn remove(global: &Global, layout: &Layout, view: &str) -> Result<(), Error> {
    let _guard = lock(layout, None)?;
    match global.project() {
        Ok(project) if declares(&project, view) => Err(Error::config(
            format!("view {view} is declared by a SQL file"),
            "remove its statement first, or the next run makes it again; `alluvium rebuild` makes a view anew",
        )),
        // A folder without any SQL file declares nothing.
        Ok(_) => drop_view(layout, &Store::open(layout)?, view),
        Err(_) if !has_sql(global) => drop_view(layout, &Store::open(layout)?, view),
        Err(error) => Err(error),
    }
}

fn declares(project: &Project, view: &str) -> bool {
    project.catalog.views.iter().any(|one| one.name == view)
}

fn has_sql(global: &Global) -> bool {
    let entries = std::fs::read_dir(&global.dir).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|extension| extension == "sql"))
}

/// Asks whether something is to be removed; no where nobody can be asked.
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
