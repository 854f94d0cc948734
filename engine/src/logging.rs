//! Log lines. They go to standard error, and hide the progress bars while they are written, so that neither garbles the other.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged. ALLUVIUM_LOG overrides it, with the syntax of `RUST_LOG`: `info,alluvium=debug`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Errors only.
    Errors,
    /// Errors and warnings.
    Warnings,
    /// Also what an operator wants to know.
    Normal,
    /// Also the details of this program.
    Debug,
    /// Also the details of its libraries.
    Everything,
}

impl Level {
    fn filter(self) -> &'static str {
        match self {
            Level::Errors => "error",
            Level::Warnings => "warn",
            Level::Normal => "warn,alluvium=info,alluvium_connectors=info,alluvium_projections=info,alluvium_sql=info",
            Level::Debug => "info,alluvium=debug,alluvium_connectors=debug,alluvium_projections=debug,alluvium_sql=debug",
            Level::Everything => "debug,alluvium=trace,alluvium_connectors=trace,alluvium_projections=trace,alluvium_sql=trace",
        }
    }
}

/// Installs the logger. Progress bars have to be added to the returned [`MultiProgress`], so that log lines do not garble them.
pub fn install(format: LogFormat, level: Level) -> MultiProgress {
    let bars = MultiProgress::new();
    let filter = match std::env::var("ALLUVIUM_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::new(directives),
        _ => EnvFilter::new(level.filter()),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(BesideBars(bars.clone()));
    let installed = match format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => {
            let colors =
                io::IsTerminal::is_terminal(&io::stderr()) && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            builder.with_ansi(colors).with_target(false).try_init()
        }
    };
    // A test in the same process may have installed a logger before.
    drop(installed);
    bars
}

/// Writes to standard error, and hides the bars meanwhile.
#[derive(Clone)]
struct BesideBars(MultiProgress);

impl Write for BesideBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for BesideBars {
    type Writer = BesideBars;

    fn make_writer(&'a self) -> BesideBars {
        self.clone()
    }
}
