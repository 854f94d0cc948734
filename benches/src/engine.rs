//! The measured program, seen from outside: a folder of SQL files, a process, its metrics, its memory.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use miette::{IntoDiagnostic, Result, WrapErr, miette};
use prometheus_parse::{Scrape, Value};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{self, Ended};

/// How long to wait before giving up a measure.
const LIMIT: Duration = Duration::from_secs(300);

/// What a run cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) seconds: f64,
    /// Peak resident memory, in bytes.
    pub(crate) memory: u64,
}

/// A folder of SQL files.
pub(crate) struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    /// Creates a folder with a source and some views.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn new(source: &str, views: &[(&str, &str)]) -> Result<Project> {
        let folder = tempfile::tempdir().into_diagnostic()?;
        let mut text = source.to_owned();
        for (name, query) in views {
            text.push_str(&format!("CREATE MATERIALIZED VIEW {name} AS {query};\n"));
        }
        std::fs::write(folder.path().join("views.sql"), text).into_diagnostic()?;
        Ok(Project { folder })
    }

    /// Returns the path of the folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the files of a view's last commit, as SQL for DuckDB.
    pub(crate) fn current(&self, view: &str) -> String {
        format!("read_parquet('{}/*.parquet')", self.view(view).join("current").display())
    }

    /// Returns the folder of a view.
    pub(crate) fn view(&self, view: &str) -> PathBuf {
        self.folder.path().join("data/views").join(view)
    }

    /// Deletes everything that was committed.
    ///
    /// # Errors
    /// If the disk fails.
    pub(crate) fn forget(&self) -> Result<()> {
        let data = self.folder.path().join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).into_diagnostic()?;
        }
        Ok(())
    }

    /// Runs until caught up. Returns how long the process took.
    ///
    /// # Errors
    /// If the program fails.
    pub(crate) fn run_until_caught_up(&self) -> Result<Duration> {
        let began = Instant::now();
        let output = self.command(&["run", "--until-caught-up", "--http", "off"])?.output().into_diagnostic()?;
        let took = began.elapsed();
        if output.status.success() {
            Ok(took)
        } else {
            Err(miette!("alluvium run ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr)))
        }
    }

    /// Runs until caught up, or until a limit. Returns what the whole process cost, or why it did not catch up.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub(crate) fn cost_until_caught_up(&self, limit: Duration) -> Result<Result<Cost, String>> {
        match process::run(self.command(&["run", "--until-caught-up", "--http", "off"])?, limit)? {
            Ended::Well { took, memory, .. } => Ok(Ok(Cost { seconds: took.as_secs_f64(), memory })),
            Ended::Badly(said) => {
                println!("alluvium run: {said}");
                Ok(Err("failed".to_owned()))
            }
            Ended::Late => Ok(Err(format!("not within {} s", limit.as_secs()))),
        }
    }

    /// Returns the number of rows in the last commit of a view.
    ///
    /// # Errors
    /// If there is no commit.
    pub(crate) fn rows(&self, view: &str) -> Result<u64> {
        let count = format!("SELECT count(*) AS rows FROM {view}");
        let output = self.command(&["query", "--format", "csv", &count])?.output().into_diagnostic()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let rows = said.lines().nth(1).and_then(|line| line.trim().parse().ok());
        rows.ok_or_else(|| miette!("counting the rows of {view} failed: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Starts the program and leaves it running.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start(&self, commit_interval: &str) -> Result<Engine> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).into_diagnostic()?.port();
        let http = format!("127.0.0.1:{port}");
        let log = std::fs::File::create(self.path().join("alluvium.log")).into_diagnostic()?;
        let mut command = self.command(&["run", "--http", &http])?;
        command.env("ALLUVIUM_COMMIT_INTERVAL", commit_interval).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().into_diagnostic().wrap_err("starting alluvium")?;
        Ok(Engine { child, metrics: format!("http://{http}/metrics"), log: self.path().join("alluvium.log") })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let program = match std::env::var_os("ALLUVIUM_BIN") {
            Some(path) => PathBuf::from(path),
            None => std::env::current_exe().into_diagnostic()?.with_file_name("alluvium"),
        };
        if !program.exists() {
            return Err(miette!("{} is not there: build the workspace first (make build)", program.display()));
        }
        let mut command = Command::new(program);
        command.arg("-C").arg(self.path()).args(arguments).stdin(Stdio::null());
        Ok(command)
    }
}

/// A running program. It is killed when dropped.
pub(crate) struct Engine {
    child: Child,
    metrics: String,
    log: PathBuf,
}

impl Engine {
    /// Reads `/metrics`.
    ///
    /// # Errors
    /// If the program has ended, or does not answer within 30 seconds.
    pub(crate) fn scrape(&mut self) -> Result<Metrics> {
        let began = Instant::now();
        loop {
            match ureq::get(&self.metrics).call().and_then(|mut answer| answer.body_mut().read_to_string()) {
                Ok(text) => {
                    let lines = text.lines().map(|line| Ok(line.to_owned()));
                    return Ok(Metrics(Scrape::parse(lines).into_diagnostic()?));
                }
                Err(error) if began.elapsed() > Duration::from_secs(30) => return Err(error).into_diagnostic(),
                Err(_) => self.check()?,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until every view has committed `offset`.
    ///
    /// # Errors
    /// If the program has ended, or does not reach the offset in time.
    pub(crate) fn wait_for(&mut self, views: &[&str], offset: u64) -> Result<Metrics> {
        let began = Instant::now();
        loop {
            let metrics = self.scrape()?;
            let there = views.iter().all(|view| metrics.of("alluvium_view_offset", "view", view) >= offset as f64);
            if there {
                return Ok(metrics);
            }
            if began.elapsed() > LIMIT {
                return Err(miette!("the views do not reach offset {offset}: {}", self.said()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Returns the current and the peak resident memory, in bytes.
    ///
    /// # Errors
    /// If the program has ended.
    pub(crate) fn memory(&self) -> Result<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).into_diagnostic()?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
        };
        field("VmRSS:").zip(field("VmHWM:")).ok_or_else(|| miette!("/proc does not show the memory of the process"))
    }

    /// Asks the program to end, as a user would, and waits for it.
    ///
    /// # Errors
    /// If it ends with a failure.
    pub(crate) fn end(mut self) -> Result<()> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| miette!("the process has no id"))?;
        kill_process(pid, Signal::TERM).into_diagnostic()?;
        let status = self.child.wait().into_diagnostic()?;
        if status.success() { Ok(()) } else { Err(miette!("alluvium ended with {status}: {}", self.said())) }
    }

    fn check(&mut self) -> Result<()> {
        match self.child.try_wait().into_diagnostic()? {
            Some(status) => Err(miette!("alluvium ended with {status}: {}", self.said())),
            None => Ok(()),
        }
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The metrics of the program at one moment.
pub(crate) struct Metrics(Scrape);

impl Metrics {
    /// Returns the sum of a metric over the samples with a label, 0 if there are none. Not for histograms: see
    /// [`Metrics::histogram`].
    pub(crate) fn of(&self, metric: &str, label: &str, value: &str) -> f64 {
        let samples = self.0.samples.iter().filter(|sample| sample.metric == metric && sample.labels.get(label) == Some(value));
        samples
            .map(|sample| match sample.value {
                Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => value,
                _ => 0.0,
            })
            .sum()
    }

    /// Returns the count and the sum of a histogram of a view.
    pub(crate) fn histogram(&self, metric: &str, view: &str) -> (f64, f64) {
        (self.of(&format!("{metric}_count"), "view", view), self.of(&format!("{metric}_sum"), "view", view))
    }
}
