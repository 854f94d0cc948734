//! `alluvium demo`: a generator of a shop's events, six views over them, and what they hold, as it moves.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use datafusion::arrow::util::display::FormatOptions;
use datafusion::arrow::util::pretty::pretty_format_batches_with_options;
use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::global::{Global, print, runtime};
use super::run::{Begun, Work, run_and_show};
use super::{init, signals, table};
use crate::demo::events::{Place, Publisher};
use crate::demo::folder::{EVENTS, Sources, VIEWS, write};
use crate::demo::shop::Shop;
use crate::error::Error;
use crate::layout::Layout;
use crate::metrics::now_ms;
use crate::nats_server::{self, NatsServer};
use crate::progress::Progress;
use crate::project::Project;
use crate::settings::Overrides;

const EXAMPLES: &str = "\
Examples:
  alluvium demo
  alluvium -C my-demo demo                 in this folder, which is kept
  alluvium demo --rate 5000 --seed 7       faster, with other events
  alluvium demo --files                    without a server, also where nats-server is installed

It publishes orders, payments and shipments, some late, some twice, some broken, to a nats-server that it starts, if one is on the PATH, or
else appends them to files. Everything listens on 127.0.0.1 only. It reads no ALLUVIUM_ variable. Ctrl-C ends everything and removes the
folder, unless it was named with -C or --keep is given.";

/// How many events there are before the first one that is published at its time.
const PAST: u64 = 20_000;
/// How often the table is printed, on a terminal and elsewhere.
const MOVES: Duration = Duration::from_millis(500);
const LINES: Duration = Duration::from_secs(2);
/// The rows that are shown as they move.
const ROWS: &str = "SELECT country, orders, revenue, last_order FROM revenue_by_country ORDER BY revenue DESC LIMIT 5";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Demo {
    /// Which events are made up: the same number gives the same ones
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How many events are published a second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Publish no more than N events; the views stay until Ctrl-C
    #[arg(long, value_name = "N")]
    events: Option<u64>,
    /// Write the events to files, also where nats-server is installed
    #[arg(long)]
    files: bool,
    /// Do not remove the folder at the end
    #[arg(long)]
    keep: bool,
}

/// The folder of the demo.
enum Folder {
    Removed(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Folder::Removed(folder) => folder.path(),
            Folder::Kept(path) => path,
        }
    }
}

impl Demo {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        if global.data_given {
            return Err(Error::config("the data of the demo is in its folder", "name the folder with -C instead of --data"));
        }
        // It outlives the run, so that the generator and the signals have their threads until the end.
        let beside = runtime()?;
        let shutdown = beside.block_on(async { signals::of_a_terminal() })?;
        let folder = self.folder(global)?;
        let dir = folder.path();
        let server = if self.files { None } else { server(dir)? };
        let url = server.as_ref().map(NatsServer::url);
        let sources = url.as_deref().map_or(Sources::Files, Sources::Nats);
        let address = |port| Ok::<_, Error>(format!("127.0.0.1:{}", nats_server::free_port(port)?));
        write(dir, sources, &address(9464)?, &address(5433)?)?;
        let project = Arc::new(Project::load(dir, &Overrides::default())?);

        let place = url.clone().map_or_else(|| Place::Files(dir.join(EVENTS)), Place::Nats);
        let publisher = beside.block_on(Publisher::open(place))?;
        let shop = Shop::new(self.seed, now_ms().saturating_sub(PAST * 1_000 / u64::from(self.rate)), self.rate);
        let events = shop.take(self.events.map_or(usize::MAX, |events| usize::try_from(events).unwrap_or(usize::MAX)));
        let published = Arc::new(AtomicU64::new(0));
        let publishing = {
            let (shutdown, published) = (shutdown.clone(), Arc::clone(&published));
            beside.spawn(async move {
                let result = publisher.publish(events, &shutdown, &published).await;
                if result.is_err() {
                    shutdown.cancel();
                }
                result
            })
        };
        let work = Work { serve: true, shutdown: Some(shutdown.clone()), ..Work::default() };
        let mut showing = None;
        let ran = run_and_show(&project, work, &Progress::new(indicatif::MultiProgress::new(), false), |begun| {
            if print(&self.head(dir, server.as_ref(), &begun)).is_err() {
                shutdown.cancel();
            }
            let show = Show { begun, published: Arc::clone(&published), layout: project.layout(), shutdown: shutdown.clone() };
            showing = Some(beside.spawn(async move { show.run().await }));
        });
        shutdown.cancel();
        if let Some(showing) = showing {
            let _ = beside.block_on(showing);
        }
        let published = beside.block_on(publishing).unwrap_or_else(|error| Err(Error::bug(format!("publishing: {error}"))));
        drop(server);
        let end = self.end(folder);
        ran?;
        published.and(end)
    }

    /// Makes the folder: the one of -C, or a temporary one.
    fn folder(&self, global: &Global) -> Result<Folder, Error> {
        if global.dir_given {
            init::empty(&global.dir)?;
            std::fs::create_dir_all(&global.dir).map_err(|error| Error::io("creating", &global.dir, error))?;
            return Ok(Folder::Kept(global.dir.clone()));
        }
        let made = tempfile::Builder::new().prefix("alluvium-demo-").tempdir();
        let made = made.map_err(|error| Error::io("creating", std::env::temp_dir(), error))?;
        Ok(if self.keep { Folder::Kept(made.keep()) } else { Folder::Removed(made) })
    }

    /// What is printed first: where everything is, and how to read it.
    fn head(&self, dir: &Path, server: Option<&NatsServer>, begun: &Begun) -> String {
        let (folder, rate) = (dir.display(), self.rate);
        let place = match server {
            Some(server) => format!("in nats-server at {}, process {}", server.url(), server.process()),
            None if self.files => format!("in files, {folder}/{EVENTS}"),
            None => format!("in files, {folder}/{EVENTS}: no nats-server on the PATH runs"),
        };
        let mut text = format!(
            "A shop's orders, payments and shipments, {rate} a second, {place}.\nThe project is in {folder}.\n\n\
             Read the views from another terminal:\n  \
             alluvium -C {folder} query 'SELECT * FROM top_products ORDER BY country, place'\n  \
             duckdb -c \"FROM '{folder}/data/views/revenue_by_country/current/*.parquet'\"\n"
        );
        if let Some(postgres) = begun.postgres {
            let (host, port) = (postgres.ip(), postgres.port());
            text.push_str(&format!("  psql -h {host} -p {port} -U alluvium -d views -c 'SELECT * FROM unpaid_by_country'\n"));
        }
        if let Some(http) = begun.http {
            text.push_str(&format!("  curl -s 'http://{http}/views/unpaid_orders/rows?country=DE&limit=3'\n"));
        }
        text.push_str(&format!("  alluvium -C {folder} dead-letters list      # the broken events\n\nCtrl-C ends it.\n\n"));
        text
    }

    /// Removes the folder, or says where it is.
    fn end(&self, folder: Folder) -> Result<(), Error> {
        match folder {
            Folder::Kept(path) => print(&format!(
                "ended; the project is kept in {0}\n  alluvium -C {0} query 'SELECT * FROM revenue_by_country'\n  alluvium -C {0} dev      # goes on from there, and starts its nats-server again\n",
                path.display()
            )),
            Folder::Removed(made) => {
                let path = made.path().to_owned();
                made.close().map_err(|error| Error::io("removing", &path, error))?;
                print(&format!("ended; {} is removed\n", path.display()))
            }
        }
    }
}

/// Prints what the views hold, again and again.
struct Show {
    begun: Begun,
    published: Arc<AtomicU64>,
    layout: Layout,
    shutdown: CancellationToken,
}

impl Show {
    async fn run(&self) {
        let on_terminal = std::io::stdout().is_terminal();
        let mut printed = 0;
        // The first one comes soon.
        let mut pause = MOVES;
        while wait(&self.begun.ended, pause).await {
            pause = if on_terminal { MOVES } else { LINES };
            let mut text = self.views();
            if on_terminal {
                text.push_str(&self.rows().await.unwrap_or_default());
                // Up to where the last one began, and nothing below.
                let back = if printed > 0 { format!("\u{1b}[{printed}A\u{1b}[J") } else { String::new() };
                printed = text.matches('\n').count();
                text = back + &text;
            }
            let mut out = std::io::stdout().lock();
            if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
                // Nobody reads it any more.
                self.shutdown.cancel();
                return;
            }
        }
    }

    fn views(&self) -> String {
        let mut table = table::plain(&["view", "rows", "events", "behind", "set aside"]);
        let all = self.begun.board.all();
        for (name, _) in VIEWS {
            let Some(view) = all.iter().find(|view| view.view == name) else { continue };
            let sum = |of: fn(&crate::status::SourceStatus) -> u64| view.sources.values().map(of).sum::<u64>().to_string();
            table.add_row([
                name.to_owned(),
                view.rows.to_string(),
                sum(|source| source.offset.saturating_sub(1)),
                sum(|source| source.end.saturating_sub(source.offset)),
                sum(|source| source.set_aside),
            ]);
        }
        format!("{} events published\n{table}\n\n", self.published.load(Ordering::Relaxed))
    }

    /// The first rows of a view.
    async fn rows(&self) -> Option<String> {
        let answer = crate::query::query(&self.layout, ROWS, None).await.ok()?;
        let batches: Vec<_> = answer.stream().await.ok()?.try_collect().await.ok()?;
        let text = pretty_format_batches_with_options(&batches, &FormatOptions::default()).ok()?;
        Some(format!("{text}\n"))
    }
}

/// Starts a server, if one is on the PATH. One that does not run is told of, and done without.
fn server(dir: &Path) -> Result<Option<NatsServer>, Error> {
    let Some(program) = nats_server::on_path() else { return Ok(None) };
    let port = nats_server::free_port(4222)?;
    match NatsServer::start(&program, port, &nats_server::store(dir, port)) {
        Ok(server) => Ok(Some(server)),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            Ok(None)
        }
    }
}

/// Waits. Returns `false` if the run ends meanwhile.
async fn wait(ended: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = ended.cancelled() => false,
    }
}
