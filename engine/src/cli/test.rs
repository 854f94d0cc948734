//! `alluvium test`.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::global::{Global, print, runtime};
use crate::error::{Error, Finding};
use crate::view_tests::execution::{Failure, Wrong, run};
use crate::view_tests::file::{Case, EXAMPLE, read_all};

const EXAMPLES: &str = "\
Examples:
  alluvium -C my-views test                     run all tests of tests/*.yaml
  alluvium -C my-views test revenue             only those whose file or name contains `revenue`
  alluvium -C my-views test --junit report.xml  for CI

A test gives events and says which rows views then have:
";

const RULES: &str = "\
An event is a mapping, with _subject, _timestamp and _headers of its message where they matter, or a text that is its body. Rows are
compared as a whole, in any order, by the columns that the test names. `set_aside: N` expects N dead letters. `steps` is a list of `given`
and `expect`, one after the other. Bodies are JSON, whatever the format of the source. No server is needed, and the project's data folder is
not touched. Each test runs with all events at once, with one event after the other, and with a restart of the engine after each event, or
after some where a step gives more than 40.";

fn examples() -> String {
    let example: String = EXAMPLE.lines().map(|line| format!("  {line}\n")).collect();
    format!("{EXAMPLES}\n{example}\n{RULES}")
}

/// The colours of a terminal.
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const RESET: &str = "\x1b[0m";

#[derive(Debug, Args)]
#[command(after_help = examples())]
pub(super) struct Test {
    /// Run only tests whose file or name contains one of these texts
    filters: Vec<String>,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// A test that has run.
struct Done<'c> {
    case: &'c Case,
    failure: Option<Failure>,
    took: Duration,
}

impl Test {
    pub(super) fn run(&self, global: &Global) -> Result<(), Error> {
        let project = global.project()?;
        let cases = read_all(&global.dir)?;
        let is_wanted = |case: &&Case| {
            self.filters.is_empty() || self.filters.iter().any(|text| case.file.contains(text) || case.name.contains(text))
        };
        let wanted: Vec<&Case> = cases.iter().filter(is_wanted).collect();
        if wanted.is_empty() {
            return Err(Error::config(
                format!("no test contains {:?}", self.filters.join(" or ")),
                "without a text, all tests run",
            ));
        }
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let runtime = runtime()?;
        let mut done = Vec::new();
        for case in wanted {
            let began = Instant::now();
            let failure = runtime.block_on(run(&project, case));
            let one = Done { case, failure, took: began.elapsed() };
            print(&line(&one, colours))?;
            done.push(one);
        }
        if let Some(path) = &self.junit {
            std::fs::write(path, junit(&done)).map_err(|error| Error::io("writing", path, error))?;
        }
        let failed = done.iter().filter(|one| one.failure.is_some()).count();
        if failed > 0 {
            let message = format!("{failed} of {} failed", count(done.len()));
            let help = "mend the SQL or the test; a row differs by any column that the test names".to_owned();
            return Err(Error::Found { finding: Finding::Differs, message, help });
        }
        print(&format!("{} passed, each at once, one by one, and restarted\n", count(done.len())))
    }
}

fn count(tests: usize) -> String {
    format!("{tests} test{}", if tests == 1 { "" } else { "s" })
}

fn line(one: &Done<'_>, colours: bool) -> String {
    let paint = |colour: &str, text: &str| if colours { format!("{colour}{text}{RESET}") } else { text.to_owned() };
    let Case { file, line, name, .. } = one.case;
    match &one.failure {
        None => format!("{} {file}:{line} {name}\n", paint(GREEN, "passed")),
        Some(failure) => {
            let mut text = format!("{} {file}:{line} {name}\n", paint(RED, "failed"));
            for (sign, detail) in details(one.case, failure) {
                let colour = if sign == '+' { GREEN } else { RED };
                let detail = if sign == ' ' { detail } else { paint(colour, &format!("{sign} {detail}")) };
                let _ = writeln!(text, "    {detail}");
            }
            text
        }
    }
}

/// What is wrong, a line each: `-` before a row that is missing, `+` before one that should not be there.
fn details(case: &Case, failure: &Failure) -> Vec<(char, String)> {
    let step = if case.steps.len() > 1 { format!(", after step {}", failure.step) } else { String::new() };
    let view = failure.view.as_ref().map_or_else(String::new, |view| format!(", view {view}"));
    let head = format!("{}{step}{view}", failure.way);
    match &failure.what {
        Wrong::Rows(difference) => {
            let missing = difference.missing.iter().map(|row| ('-', row.clone()));
            let unexpected = difference.unexpected.iter().map(|row| ('+', row.clone()));
            let legend = format!("{head}: - is missing, + is not expected");
            std::iter::once((' ', legend)).chain(missing).chain(unexpected).collect()
        }
        Wrong::Words(words) => vec![(' ', format!("{head}: {words}"))],
        Wrong::Error(error) => {
            let help = error.help().map(|help| (' ', format!("help: {help}")));
            std::iter::once((' ', format!("{head}: {error}"))).chain(help).collect()
        }
    }
}

/// The results in the form that CI servers read.
fn junit(done: &[Done<'_>]) -> String {
    let failed = done.iter().filter(|one| one.failure.is_some()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"alluvium\" tests=\"{}\" failures=\"{failed}\">\n",
        done.len()
    );
    for one in done {
        let (file, name) = (escaped(&one.case.file), escaped(&one.case.name));
        let _ = write!(text, "<testcase classname=\"{file}\" name=\"{name}\" time=\"{:.3}\"", one.took.as_secs_f64());
        match &one.failure {
            None => text.push_str("/>\n"),
            Some(failure) => {
                let details: Vec<String> =
                    details(one.case, failure).into_iter().map(|(sign, line)| format!("{sign} {line}")).collect();
                let _ = writeln!(text, "><failure>{}</failure></testcase>", escaped(&details.join("\n")));
            }
        }
    }
    text + "</testsuite>\n</testsuites>\n"
}

/// Writes what has a meaning in XML as entities, and leaves out control characters, which XML cannot have.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars().filter(|c| !c.is_control() || *c == '\n') {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}
