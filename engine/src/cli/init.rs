//! `alluvium init`: creates a project that runs as it is, without a server.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::global::print;
use crate::error::Error;
use crate::settings::keys::KEYS;

const EXAMPLES: &str = "\
Examples:
  alluvium init my-views
  alluvium -C my-views run --until-caught-up
  alluvium -C my-views query 'SELECT * FROM revenue_by_country ORDER BY revenue DESC'";

/// The files with their texts. The settings file is made from the table of settings.
pub(super) const FILES: &[(&str, &str)] = &[
    ("README.md", include_str!("init/README.md")),
    ("events.jsonl", include_str!("init/events.jsonl")),
    ("sources.sql", include_str!("init/sources.sql")),
    ("revenue_by_country.sql", include_str!("init/revenue_by_country.sql")),
    ("large_orders.sql", include_str!("init/large_orders.sql")),
    ("best_countries.sql", include_str!("init/best_countries.sql")),
    (".gitignore", "/data/\n"),
];

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// The folder to create; it may exist if it is empty
    folder: PathBuf,
}

impl Init {
    pub(super) fn run(&self) -> Result<(), Error> {
        write(&self.folder)?;
        let folder = self.folder.display();
        print(&format!(
            "created {folder}\n\nnow try\n  alluvium -C {folder} run --until-caught-up\n  alluvium -C {folder} query 'SELECT * FROM revenue_by_country'\n"
        ))
    }
}

/// Writes all files.
pub(super) fn write(folder: &Path) -> Result<(), Error> {
    match fs::read_dir(folder) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Err(Error::config(
                    format!("{} is not empty", folder.display()),
                    "name a folder that is empty or does not exist: nothing is overwritten",
                ));
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            fs::create_dir_all(folder).map_err(|error| Error::io("creating", folder, error))?;
        }
        Err(error) => return Err(Error::io("reading", folder, error)),
    }
    let settings = settings();
    for (name, text) in FILES.iter().copied().chain([(crate::settings::FILE, settings.as_str())]) {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| Error::io("writing", &path, error))?;
    }
    Ok(())
}

/// Returns the text of `alluvium.toml`: every setting with its default, commented out.
fn settings() -> String {
    let mut text = String::from(
        "# Every setting, with its default. Each is also an environment variable, which overrides this file:\n\
         # ALLUVIUM_COMMIT_INTERVAL, ALLUVIUM_HTTP and so on.\n",
    );
    for key in KEYS {
        text.push_str(&format!("\n# {}\n# {}\n", key.help, crate::settings::keys::example(key.name)));
    }
    text.push_str(include_str!("init/alluvium.toml.tail"));
    text
}
