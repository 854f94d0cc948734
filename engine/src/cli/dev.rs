//! `alluvium dev`: checks and deploys each saved file, and prints the rows that change.

mod session;

use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use self::session::Session;
use super::global::{Global, print, runtime};
use super::signals;
use crate::dev::watch::Watch;
use crate::error::Error;
use crate::settings::Overrides;

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views dev
  alluvium -C my-views dev --rows 5 --http off

Each time a SQL file, alluvium.toml or a schema is saved, it checks the project, says what becomes of each view, and runs it: a view whose SQL
has changed is built beside the version that serves, and takes its place when it has caught up. Then the rows are printed in which the two
differ. A file with an error changes nothing: the error is printed, and the views go on. Where a source names a server on this machine that
does not answer, and nats-server is on the PATH, it is started with its streams in the folder .nats, and ends with this command.";

/// How often files and commits are looked at. A save counts when two looks see the same.
const LOOK: Duration = Duration::from_millis(80);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Dev {
    /// How many rows of a difference are printed
    #[arg(long, value_name = "N", default_value_t = 20)]
    rows: usize,
    /// The address of the HTTP server, or `off` [default: the setting `http`, or else 127.0.0.1:9464]
    #[arg(long, value_name = "ADDR|off")]
    http: Option<String>,
}

impl Dev {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let beside = runtime()?;
        let stop = beside.block_on(async { signals::of_a_terminal() })?;
        let overrides = Overrides { http: self.http.clone(), ..global.overrides() };
        let mut session = Session::new(&global.dir, overrides, self.rows, &beside, stop.clone());
        let result = follow(&global.dir, &mut session, &stop);
        // Views commit before their servers end, however this ends.
        let ended = session.end();
        result.and(ended)
    }
}

/// Deploys what is saved, until it is told to stop.
fn follow(dir: &Path, session: &mut Session<'_>, stop: &CancellationToken) -> Result<(), Error> {
    let mut watch = Watch::new(dir);
    // Where files do not load, those that they named before are still watched.
    let deploy = |watch: &mut Watch, session: &mut Session<'_>| -> Result<(), Error> {
        if let Some(named) = session.deploy()? {
            watch.name(named);
        }
        Ok(())
    };
    deploy(&mut watch, session)?;
    print("watching for saved files; Ctrl-C ends\n")?;
    while !stop.is_cancelled() {
        let saved = watch.saved();
        if !saved.is_empty() {
            let names = saved.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
            print(&format!("\nsaved {}\n", names.collect::<Vec<_>>().join(", ")))?;
            deploy(&mut watch, session)?;
        }
        session.look()?;
        std::thread::sleep(LOOK);
    }
    Ok(())
}
