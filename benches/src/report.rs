//! The table: what was measured, what it is compared with, and whether it meets its target.

use std::fmt::Write as _;
use std::path::Path;

use miette::{IntoDiagnostic, Result, WrapErr};

/// The target of a ratio or a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
    /// Shown for comparison only.
    Nothing,
}

impl Wanted {
    fn holds(self, value: f64) -> Option<bool> {
        match self {
            Wanted::AtLeast(bound) => Some(value >= bound),
            Wanted::AtMost(bound) => Some(value <= bound),
            Wanted::Nothing => None,
        }
    }

    fn words(self) -> String {
        match self {
            Wanted::AtLeast(bound) => format!("at least {bound}"),
            Wanted::AtMost(bound) => format!("at most {bound}"),
            Wanted::Nothing => String::new(),
        }
    }
}

#[derive(Debug)]
struct Line {
    what: String,
    ours: String,
    beside: String,
    value: f64,
    wanted: Wanted,
}

/// Lines of the table, in the order in which they were measured.
#[derive(Debug)]
pub(crate) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new() -> Report {
        Report { lines: Vec::new() }
    }

    /// Adds a line and prints it. `value` is what the target `wanted` applies to: the ratio of `ours` to `beside`, or another figure.
    pub(crate) fn add(&mut self, what: &str, ours: String, beside: String, value: f64, wanted: Wanted) {
        let line = Line { what: what.to_owned(), ours, beside, value, wanted };
        println!("{}", line.row());
        self.lines.push(line);
    }

    /// Writes the table.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let mut text = String::from("# Measurements\n\nMeasured by `make bench` on ");
        let _ = writeln!(
            text,
            "{}. Figures are medians of interleaved runs of whole processes, unless a line says otherwise.\n",
            machine()
        );
        text.push_str(
            "| what | Alluvium | compared with | ratio or figure | target | |\n| --- | --- | --- | --- | --- | --- |\n",
        );
        for line in &self.lines {
            text.push_str(&line.row());
            text.push('\n');
        }
        std::fs::write(path, text).into_diagnostic().wrap_err_with(|| format!("writing {}", path.display()))?;
        println!("written to {}", path.display());
        Ok(())
    }
}

impl Line {
    fn row(&self) -> String {
        let mark = match self.wanted.holds(self.value) {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "",
        };
        format!("| {} | {} | {} | {:.2} | {} | {mark} |", self.what, self.ours, self.beside, self.value, self.wanted.words())
    }
}

/// Describes the processors and the memory of this machine.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or_default();
    format!("{cores} cores ({}), {} GB of memory", model.unwrap_or_else(|| "unknown".to_owned()), kilobytes >> 20)
}

/// Returns the median of some figures.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}
