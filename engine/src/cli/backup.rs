//! `alluvium backup`.

use std::path::PathBuf;

use clap::Args;

use super::global::{Global, print};
use super::table;
use crate::backup::backup;
use crate::error::Error;
use crate::lock::{lock, running};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views backup /backups/2026-11-27
  rm -r my-views/data && cp -a /backups/2026-11-27 my-views/data      restores it, with the engine stopped

The copy is consistent, also of an engine that runs meanwhile, and a data folder itself: `current/` in it can be read as it stands. What the
events have changed since is read again from their sources after it has been restored. SQL files and alluvium.toml are not in it.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Backup {
    /// Where the copy goes: a folder that is not there, or is empty
    #[arg(value_name = "TARGET")]
    target: PathBuf,
}

impl Backup {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let layout = global.layout()?;
        if !layout.root().is_dir() {
            return Err(Error::config(
                format!("there is no data folder {}", layout.root().display()),
                "`alluvium run` makes it; -C and --data name another one",
            ));
        }
        let copied = match running(&layout)? {
            Some(_) => backup(&layout, &self.target, true)?,
            None => {
                let _guard = lock(&layout, None)?;
                backup(&layout, &self.target, false)?
            }
        };
        let bytes = table::bytes(copied.bytes);
        print(&format!("{} views, {} files, {bytes}: {}\n", copied.views, copied.files, self.target.display()))
    }
}
