//! What `check` has to say, each with its place, its rule and what to do: for people as lines, for programs as JSON, for code scanning as
//! SARIF.

mod sarif;

use std::path::Path;

use alluvium_sql::describe::ViewSummary;
use alluvium_sql::{Location, View};
use serde::Serialize;
use serde_json::{Value, json};

pub(super) use self::sarif::sarif;
use super::masked::Masked;
use crate::error::Error;

/// How bad it is, in the words of SARIF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// `run` would refuse it.
    Error,
    /// It runs, and costs more than it has to or may not be what was meant.
    Warning,
    /// Worth knowing.
    Note,
}

/// What a problem is about. Names do not change: users filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Rule {
    /// A SQL file does not load.
    Sql,
    /// `alluvium.toml` does not load.
    Setting,
    /// Something else that keeps the project from running.
    Project,
    /// A view costs more than it has to, or its state grows.
    Cost,
    /// What a view makes of a sample of events looks wrong.
    Sample,
    /// What the next run does with a view whose SQL has changed.
    Change,
    /// What columns a schema gives, and how it differs from that of the last commit.
    Schema,
}

impl Rule {
    /// All rules with what they are about.
    const ALL: [(Rule, &'static str); 7] = [
        (Rule::Sql, "A SQL file does not load"),
        (Rule::Setting, "A setting of alluvium.toml is wrong"),
        (Rule::Project, "Something keeps the project from running"),
        (Rule::Cost, "A view costs more than it has to, or its answer depends on the order of events"),
        (Rule::Sample, "What a view makes of a sample of events looks wrong"),
        (Rule::Change, "What the next run does with a view whose SQL has changed"),
        (Rule::Schema, "What columns a schema gives, and how it differs from that of the last commit"),
    ];

    /// The name, as it is written.
    fn name(self) -> &'static str {
        match self {
            Rule::Sql => "sql",
            Rule::Setting => "setting",
            Rule::Project => "project",
            Rule::Cost => "cost",
            Rule::Sample => "sample",
            Rule::Change => "change",
            Rule::Schema => "schema",
        }
    }
}

/// A place in a file. Lines and columns begin at 1, columns count characters, and the end is exclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) end_line: usize,
    pub(super) end_column: usize,
}

impl Place {
    pub(super) fn of(at: &Location) -> Place {
        let (line, column) = at.line_column();
        let last = Location { offset: at.offset + at.length, ..at.clone() };
        let (end_line, end_column) = last.line_column();
        Place { file: shown(Path::new(&at.file.path)), line, column, end_line, end_column }
    }
}

/// One thing to say.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Problem {
    pub(super) level: Level,
    pub(super) rule: Rule,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) view: Option<String>,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) help: Option<String>,
    /// `None` where it is about no place of a file.
    #[serde(flatten)]
    pub(super) place: Option<Place>,
}

impl Problem {
    /// Something about a view, at the place of its statement.
    pub(super) fn about(view: &View, level: Level, rule: Rule, message: String) -> Problem {
        Problem { level, rule, view: Some(view.name.clone()), message, help: None, place: Some(Place::of(&view.at)) }
    }

    /// What is worth knowing of a schema, at the statement of its source.
    pub(super) fn of_schema(at: &Location, message: String) -> Problem {
        Problem { level: Level::Note, rule: Rule::Schema, view: None, message, help: None, place: Some(Place::of(at)) }
    }

    /// The message, with the name of the view where it is about one.
    fn text(&self) -> String {
        match &self.view {
            Some(view) => format!("{view}: {}", self.message),
            None => self.message.clone(),
        }
    }

    /// `warning: file:line:column: view: message`, and the help in a line below.
    pub(super) fn lines(&self) -> String {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        let place = self.place.as_ref().map_or_else(String::new, |at| format!("{}:{}:{}: ", at.file, at.line, at.column));
        let help = self.help.as_ref().map_or_else(String::new, |help| format!("  help: {help}\n"));
        format!("{level}: {place}{}\n{help}", self.text())
    }
}

/// The problems of an error, without values that may be secret.
pub(super) fn of_error(error: &Error) -> Vec<Problem> {
    let (errors, rule) = match error {
        Error::Sql(errors) => (errors, Rule::Sql),
        Error::Settings(errors) => (errors, Rule::Setting),
        other => {
            let (message, help) = (other.to_string(), other.help());
            return vec![Problem { level: Level::Error, rule: Rule::Project, view: None, message, help, place: None }];
        }
    };
    let problem = |error: &alluvium_sql::Error| {
        let masked = Masked::new(&error.at.file.path, &error.at.file.text);
        let help = error.help.as_deref().map(|help| masked.message(help));
        Problem {
            level: Level::Error,
            rule,
            view: None,
            message: masked.message(&error.message),
            help,
            place: Some(Place::of(&error.at)),
        }
    };
    errors.0.iter().map(problem).collect()
}

/// The warnings about a view.
pub(super) fn of_view(view: &View, summary: &ViewSummary) -> Vec<Problem> {
    let warning = |warning: &alluvium_sql::describe::Warning| Problem {
        level: Level::Warning,
        rule: Rule::Cost,
        view: Some(view.name.clone()),
        message: warning.reason.clone(),
        help: Some(warning.suggestion.clone()),
        place: Some(Place::of(&warning.at)),
    };
    summary.warnings.iter().map(warning).collect()
}

/// A document for programs: what `views` says of each view, and all problems.
pub(super) fn json(problems: &[Problem], views: &Value) -> Value {
    let count = |level| problems.iter().filter(|problem| problem.level == level).count();
    json!({"errors": count(Level::Error), "warnings": count(Level::Warning), "problems": problems, "views": views})
}

/// A path from the current folder, where it is below it, or else an absolute one.
fn shown(path: &Path) -> String {
    let (Ok(here), Ok(absolute)) = (std::env::current_dir().and_then(|here| here.canonicalize()), std::path::absolute(path))
    else {
        return path.display().to_string();
    };
    // The file need not exist, but its folder does.
    let folder = absolute.parent().and_then(|folder| folder.canonicalize().ok());
    let whole = match (folder, absolute.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => absolute,
    };
    whole.strip_prefix(here).unwrap_or(&whole).display().to_string()
}
