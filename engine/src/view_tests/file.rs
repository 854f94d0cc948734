//! What a test of views says: YAML files in the folder `tests` of a project.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::yaml::{self, Content, Node, Place};
use crate::error::Error;

/// How a file of tests looks, for messages.
pub const EXAMPLE: &str = "\
- test: revenue is summed by country
  given:
    orders:
      - {order_id: 1, country: DE, total: \"10.00\"}
      - {order_id: 2, country: DE, total: \"5.50\"}
  expect:
    revenue_by_country:
      - {country: DE, orders: 2, revenue: \"15.50\"}";

/// One test.
#[derive(Debug)]
pub struct Case {
    /// Its file, below the project's folder.
    pub file: String,
    /// The line where it begins, from 1.
    pub line: usize,
    /// What it is called.
    pub name: String,
    /// What is given, and expected after it.
    pub steps: Vec<Step>,
}

/// Events, and the rows that views then have.
#[derive(Debug, Default)]
pub struct Step {
    /// By source: events, each a mapping, or a text that is the body as it is.
    pub given: BTreeMap<String, Vec<Value>>,
    /// By view: all of its rows, each with the columns to compare.
    pub expect: BTreeMap<String, Vec<BTreeMap<String, Value>>>,
    /// How many dead letters there are since the test began: one for a body that does not decode, one for each view that leaves out an event
    /// for a value.
    /// `None`: as many as after the step before.
    pub set_aside: Option<u64>,
}

/// Reads all tests of a project, in the order of their files and lines.
///
/// # Errors
/// The folder has no tests, or a file does not say a test, with its line and column.
pub fn read_all(dir: &Path) -> Result<Vec<Case>, Error> {
    let folder = dir.join("tests");
    let mut paths: Vec<PathBuf> = match fs::read_dir(&folder) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io("reading", folder, error)),
    };
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml"));
    paths.sort();
    if paths.is_empty() {
        let help = format!("write one, such as tests/views.yaml:\n{EXAMPLE}");
        return Err(Error::config(format!("there is no test in {}", folder.display()), help));
    }
    let mut cases = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).map_err(|error| Error::io("reading", &path, error))?;
        let file = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
        cases.extend(parse(&file, &text)?);
    }
    Ok(cases)
}

/// Reads the tests of one file.
///
/// # Errors
/// As [`read_all`].
pub fn parse(file: &str, text: &str) -> Result<Vec<Case>, Error> {
    let read = yaml::parse(text).and_then(|document| {
        let tests = sequence(document, "a file is a list of tests")?;
        tests.into_iter().map(|test| case(file, test)).collect()
    });
    read.map_err(|((line, column), what)| {
        Error::config(format!("{file}:{line}:{column}: {what}"), format!("a test looks like this:\n{EXAMPLE}"))
    })
}

type Wrong = (Place, String);

fn case(file: &str, test: Node) -> Result<Case, Wrong> {
    let at = test.at;
    let (mut name, mut steps, mut alone, mut says_itself) = (None, None, Step::default(), false);
    for (key, node) in mapping(test, "a test is a mapping that begins with `test: NAME`")? {
        match key.as_str() {
            "test" => name = Some(yaml::text(&node.value())),
            "steps" => {
                let written = sequence(node, "`steps` is a list")?;
                steps = Some(written.into_iter().map(step).collect::<Result<Vec<Step>, Wrong>>()?);
            }
            _ => {
                says_itself = true;
                say(&mut alone, &key, node, "`test`, `steps`, `given`, `expect` or `set_aside`")?;
            }
        }
    }
    let name = name.ok_or_else(|| (at, "a test has a name: `test: NAME`".to_owned()))?;
    if steps.is_some() && says_itself {
        return Err((at, format!("test {name:?} has steps: write `given`, `expect` and `set_aside` in them")));
    }
    let steps = steps.unwrap_or_else(|| vec![alone]);
    if steps.iter().all(|step| step.expect.is_empty()) {
        return Err((at, format!("test {name:?} expects nothing: name a view and its rows; a view without rows is `view: []`")));
    }
    Ok(Case { file: file.to_owned(), line: at.0, name, steps })
}

fn step(node: Node) -> Result<Step, Wrong> {
    let mut step = Step::default();
    for (key, node) in mapping(node, "a step is a mapping with `given` and `expect`")? {
        say(&mut step, &key, node, "`given`, `expect` or `set_aside`")?;
    }
    Ok(step)
}

/// Takes one member of a step.
fn say(step: &mut Step, key: &str, node: Node, known: &str) -> Result<(), Wrong> {
    let at = node.at;
    match key {
        "given" => {
            for (source, events) in mapping(node, "`given` is a mapping of sources to events")? {
                let events = sequence(events, "a source has a list of events")?;
                step.given.insert(source, events.into_iter().map(Node::value).collect());
            }
        }
        "expect" => {
            for (view, rows) in mapping(node, "`expect` is a mapping of views to rows")? {
                let mut expected = Vec::new();
                for row in sequence(rows, "a view has a list of rows")? {
                    let columns = mapping(row, "a row is a mapping of columns to values")?;
                    expected.push(columns.into_iter().map(|(name, node)| (name, node.value())).collect());
                }
                step.expect.insert(view, expected);
            }
        }
        "set_aside" => {
            let number = node.value().as_u64();
            step.set_aside = Some(number.ok_or_else(|| (at, "`set_aside` is a number of events".to_owned()))?);
        }
        other => return Err((at, format!("{other:?} is none of {known}"))),
    }
    Ok(())
}

fn mapping(node: Node, otherwise: &str) -> Result<Vec<(String, Node)>, Wrong> {
    match node.content {
        Content::Mapping(members) => Ok(members),
        _ => Err((node.at, otherwise.to_owned())),
    }
}

fn sequence(node: Node, otherwise: &str) -> Result<Vec<Node>, Wrong> {
    match node.content {
        Content::Sequence(nodes) => Ok(nodes),
        _ => Err((node.at, otherwise.to_owned())),
    }
}
