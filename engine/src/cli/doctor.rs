//! `alluvium doctor`.

use clap::Args;

use super::global::{Global, print};
use super::table;
use crate::doctor::{Remedy, Report, examine, mend};
use crate::error::{Error, Finding};
use crate::layout::Layout;
use crate::lock::{lock, running};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views doctor              reads every file of the last commits, also beside a running engine
  alluvium -C my-views doctor --repair     mends what it finds; the engine must be stopped

It ends with 0 where all files are as they were written, or have been mended, and with 1 where something is wrong.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    /// Do what it says, not only say it
    #[arg(long)]
    repair: bool,
}

impl Doctor {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let layout = global.layout()?;
        if !layout.root().is_dir() {
            return Err(Error::config(
                format!("there is no data folder {}", layout.root().display()),
                "`alluvium run` makes it; --data names another one",
            ));
        }
        if self.repair {
            let _guard = lock(&layout, None)?;
            let report = examined(global, &layout, false)?;
            print(&text(&report, true))?;
            return if report.faults.is_empty() { Ok(()) } else { mended(global, &layout, report) };
        }
        let (report, live) = match running(&layout)? {
            Some(_) => (examined(global, &layout, true)?, true),
            None => {
                let _guard = lock(&layout, None)?;
                (examined(global, &layout, false)?, false)
            }
        };
        print(&text(&report, false))?;
        if report.faults.is_empty() {
            return Ok(());
        }
        let stop = if live { "stop the engine; then " } else { "" };
        Err(Error::Found {
            finding: Finding::Damaged,
            message: format!("{} faults in {}", report.faults.len(), layout.root().display()),
            help: format!("{stop}`alluvium doctor --repair` does what is said above"),
        })
    }
}

/// Examines the folder. Which views are declared is known only where the SQL files load.
fn examined(global: &Global, layout: &Layout, running: bool) -> Result<Report, Error> {
    let mut report = examine(layout, running)?;
    if !report.faults.is_empty()
        && let Ok(project) = global.project()
    {
        report.take_declared(&project.catalog.views.iter().map(|view| view.name.clone()).collect());
    }
    Ok(report)
}

/// Does what the report says, and looks whether that was enough.
fn mended(global: &Global, layout: &Layout, report: Report) -> Result<(), Error> {
    let left = mend(layout, report, || examined(global, layout, false))?;
    let left: Vec<String> = left
        .unmended()
        .map(|fault| match &fault.remedy {
            Remedy::Leave(_) => format!("{}: {}", fault.what, fault.remedy),
            _ => fault.what.clone(),
        })
        .collect();
    if left.is_empty() {
        return print("done\n");
    }
    Err(Error::corrupt(
        format!("this could not be mended: {}", left.join("; ")),
        "see the disk; restore a backup, or remove the data folder and have all views made anew by `alluvium run`",
    ))
}

fn text(report: &Report, does: bool) -> String {
    let mut text = String::new();
    for fault in &report.faults {
        text.push_str(&format!("{}\n  {}: {}\n", fault.what, if does { "does" } else { "would" }, fault.remedy));
    }
    if report.without_checksum > 0 {
        let count = report.without_checksum;
        text.push_str(&format!(
            "{count} files are of an earlier release and have no checksum: they were read, but not compared\n"
        ));
    }
    if report.unnamed > 0 {
        text.push_str(&format!("{} files and folders that nothing names: the next start removes them\n", report.unnamed));
    }
    let (files, views, bytes) = (report.files, report.records.len(), table::bytes(report.bytes));
    let verdict = if report.faults.is_empty() { "all as written".to_owned() } else { format!("{} faults", report.faults.len()) };
    text.push_str(&format!("{files} files of {views} views read, {bytes}: {verdict}\n"));
    text
}
