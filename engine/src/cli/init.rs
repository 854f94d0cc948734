//! `alluvium init`: creates a project that runs as it is, without a server; with `--from`, over a stream or files that are there.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::global::{Global, print};
use super::infer::{Sampled, write_new};
use crate::error::Error;
use crate::infer::first_views::first_views;
use crate::settings::keys::KEYS;

const EXAMPLES: &str = "\
Examples:
  alluvium init my-views
  alluvium -C my-views run --until-caught-up
  alluvium -C my-views query 'SELECT * FROM revenue_by_country ORDER BY revenue DESC'

  alluvium init my-views --from nats://127.0.0.1:4222/ORDERS
  alluvium init my-views --from 'logs/*.ndjson.gz' --name requests

With --from, it writes sources.sql as `alluvium infer` does, and two views: how many events there are by minute and type, and the latest event
of each key.";

/// What `run` and `dev` make.
const GITIGNORE: &str = "/data/\n/.nats/\n";

/// The settings of sqlfluff, and the file that it cannot read.
const SQLFLUFF: [(&str, &str); 2] = [(".sqlfluff", include_str!("init/sqlfluff")), (".sqlfluffignore", "sources.sql\n")];

/// The files with their texts. The settings file is made from the table of settings.
pub(super) const FILES: &[(&str, &str)] = &[
    ("README.md", include_str!("init/README.md")),
    ("events.jsonl", include_str!("init/events.jsonl")),
    ("sources.sql", include_str!("init/sources.sql")),
    ("revenue_by_country.sql", include_str!("init/revenue_by_country.sql")),
    ("large_orders.sql", include_str!("init/large_orders.sql")),
    ("best_countries.sql", include_str!("init/best_countries.sql")),
    ("tests/views.yaml", include_str!("init/tests/views.yaml")),
    (".gitignore", GITIGNORE),
    SQLFLUFF[0],
    SQLFLUFF[1],
];

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// The folder to create; it may exist if it is empty
    folder: PathBuf,
    /// Declare this stream (nats://host:port/STREAM), file, folder or pattern as the source
    #[arg(long, value_name = "STREAM|FILE")]
    from: Option<String>,
    #[command(flatten)]
    sampled: Sampled,
}

impl Init {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        if let Some(from) = &self.from {
            return self.over(from, global);
        }
        if self.sampled.is_given() {
            return Err(Error::config(
                "--name, --subject and --option are about what --from names, and there is no --from",
                "name a stream or files with --from, or leave them out",
            ));
        }
        write(&self.folder)?;
        let folder = self.folder.display();
        print(&format!(
            "created {folder}\n\nnow try\n  alluvium -C {folder} run --until-caught-up\n  alluvium -C {folder} query 'SELECT * FROM revenue_by_country'\n  alluvium -C {folder} test\n"
        ))
    }
}

impl Init {
    /// Creates a project over what is there.
    fn over(&self, from: &str, global: &Global) -> Result<(), Error> {
        empty(&self.folder)?;
        let inferred = self.sampled.infer(from, &self.folder, global)?;
        create(&self.folder)?;
        let views = first_views(&inferred);
        write_new(&self.folder.join("sources.sql"), &inferred.sql)?;
        for view in &views {
            write_new(&self.folder.join(format!("{}.sql", view.name)), &view.sql)?;
        }
        write_new(&self.folder.join(crate::settings::FILE), &settings())?;
        for (name, text) in [(".gitignore", GITIGNORE)].into_iter().chain(SQLFLUFF) {
            write_new(&self.folder.join(name), text)?;
        }
        let folder = self.folder.display();
        let names = views.iter().map(|view| view.name.as_str()).collect::<Vec<_>>().join(" and ");
        let first = views.first().map_or("", |view| view.name.as_str());
        print(&format!(
            "created {folder} with the source {} and the views {names}\n\nnow try\n  alluvium -C {folder} check --sample\n  alluvium -C {folder} run --until-caught-up\n  alluvium -C {folder} query 'SELECT * FROM \"{first}\"'\n",
            inferred.name
        ))
    }
}

/// Checks that a folder is empty or does not exist.
pub(super) fn empty(folder: &Path) -> Result<(), Error> {
    let has_files = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(Error::io("reading", folder, error)),
    };
    if !has_files {
        return Ok(());
    }
    Err(Error::config(
        format!("{} is not empty", folder.display()),
        "name a folder that is empty or does not exist: nothing is overwritten",
    ))
}

fn create(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|error| Error::io("creating", folder, error))
}

/// Writes all files.
pub(super) fn write(folder: &Path) -> Result<(), Error> {
    empty(folder)?;
    create(folder)?;
    let settings = settings();
    for (name, text) in FILES.iter().copied().chain([(crate::settings::FILE, settings.as_str())]) {
        let path = folder.join(name);
        create(path.parent().unwrap_or(folder))?;
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
