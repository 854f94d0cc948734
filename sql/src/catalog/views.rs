//! `CREATE MATERIALIZED VIEW` and `CREATE VIEW`: name, options and query, before planning.

use std::time::Duration;

use datafusion::sql::sqlparser::ast::{
    CreateTableOptions, CreateView, Expr, Query, Spanned, SqlOption, TableAliasColumnDef, Value,
};

use crate::catalog::sources::declared_name;
use crate::catalog::statements::Parsed;
use crate::catalog::types::normalized;
use crate::declarations::{Emit, ViewOptions};
use crate::error::Error;
use crate::file::Location;
use crate::names::nearest;
use crate::set_aside::{MaxDeadLetters, OnError};
use crate::text::Text;

/// A view that has not been planned yet.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    pub(crate) name: String,
    pub(crate) name_at: Location,
    /// Whether its rows are kept; else it is a name for its query.
    pub(crate) kept: bool,
    /// The names of a plain view's columns, where its statement gives them.
    pub(crate) columns: Vec<TableAliasColumnDef>,
    pub(crate) options: ViewOptions,
    pub(crate) query: Query,
    pub(crate) text: Text,
}

/// Returns the view that a statement declares. Errors go to `errors`.
pub(crate) fn declared(statement: &CreateView, parsed: &Parsed, errors: &mut Vec<Error>) -> Option<Declared> {
    let text = &parsed.text;
    let before = errors.len();
    let name = declared_name(&statement.name, text, errors);
    if let Some(column) = statement.columns.first().filter(|_| statement.materialized) {
        errors.push(Error {
            message: "a view takes its columns' names from its SELECT".to_owned(),
            help: Some(format!("leave out the list and write SELECT ... AS {}", column.name)),
            at: text.span(column.name.span),
        });
    }
    if let Some(target) = &statement.to {
        errors.push(Error {
            message: "a view holds its own rows: it is not written into a table".to_owned(),
            help: Some(format!("leave out TO {target}")),
            at: text.after("VIEW", &name_of(statement)).unwrap_or_else(|| text.head()),
        });
    }
    if let Some(at) = text.pair("CLUSTER", "BY").filter(|_| !statement.cluster_by.is_empty()) {
        errors.push(Error {
            message: "the files of a view have no clusters".to_owned(),
            help: Some("leave out CLUSTER BY".to_owned()),
            at,
        });
    }
    if !statement.materialized && !matches!(statement.options, CreateTableOptions::None) {
        errors.push(Error {
            message: "a plain view is a name for its query: it has no options".to_owned(),
            help: Some("leave them out, or write CREATE MATERIALIZED VIEW for a view that is kept".to_owned()),
            at: text.word("WITH").or_else(|| text.word("OPTIONS")).unwrap_or_else(|| text.head()),
        });
        return None;
    }
    let options = view_options(&statement.options, text, errors);
    let (name, name_at) = name?;
    let columns = statement.columns.iter().map(|column| TableAliasColumnDef { name: column.name.clone(), data_type: None });
    (errors.len() == before).then(|| Declared {
        name,
        name_at,
        kept: statement.materialized,
        columns: if statement.materialized { Vec::new() } else { columns.collect() },
        options,
        query: (*statement.query).clone(),
        text: text.clone(),
    })
}

fn name_of(statement: &CreateView) -> String {
    statement.name.0.last().map(ToString::to_string).unwrap_or_default()
}

const OPTIONS: [&str; 6] = ["commit_interval", "snapshots_kept", "emit", "retain", "on_error", "max_dead_letters"];

fn view_options(options: &CreateTableOptions, text: &Text, errors: &mut Vec<Error>) -> ViewOptions {
    let mut found = ViewOptions::default();
    let given = match options {
        CreateTableOptions::None => &[],
        CreateTableOptions::With(given) | CreateTableOptions::Options(given) => given.as_slice(),
        other => {
            errors.push(Error {
                message: format!("options of a view are not written as {other}"),
                help: Some("write WITH (commit_interval = '1 second')".to_owned()),
                at: text.head(),
            });
            return found;
        }
    };
    let mut seen: Vec<String> = Vec::new();
    for option in given {
        let SqlOption::KeyValue { key, value } = option else {
            errors.push(Error {
                message: format!("the option {option} has no value"),
                help: Some("write WITH (commit_interval = '1 second')".to_owned()),
                at: text.head(),
            });
            continue;
        };
        let name = normalized(key);
        let at = text.span(key.span);
        if seen.contains(&name) {
            errors.push(Error {
                message: format!("the option {name} is given twice"),
                help: Some("keep one of them".to_owned()),
                at,
            });
            continue;
        }
        if !OPTIONS.contains(&name.as_str()) {
            errors.push(Error {
                message: format!("a view has no option {name}"),
                help: Some(
                    nearest(&name, OPTIONS)
                        .map_or_else(|| format!("options are {}", OPTIONS.join(", ")), |near| format!("did you mean {near}?")),
                ),
                at,
            });
            continue;
        }
        if let Err(write) = set(&mut found, &name, value) {
            errors.push(Error {
                message: format!("{name} cannot be {value}"),
                help: Some(format!("write {write}")),
                at: text.span(value.span()),
            });
        }
        seen.push(name);
    }
    found
}

/// Sets one of [`OPTIONS`].
///
/// # Errors
/// What to write, if the value is invalid for the option.
fn set(options: &mut ViewOptions, name: &str, value: &Expr) -> Result<(), &'static str> {
    match name {
        "commit_interval" => {
            let interval = duration(value).ok_or("commit_interval = '1 second', or '50 ms', at least 1 ms and at most a day")?;
            options.commit_interval = Some(interval);
        }
        "snapshots_kept" => {
            let kept = literal(value).and_then(|text| text.parse().ok()).filter(|kept: &usize| *kept > 0);
            options.snapshots_kept = Some(kept.ok_or("snapshots_kept = 10, at least 1")?);
        }
        "emit" => match literal(value).map(|text| text.to_lowercase()).as_deref() {
            Some("changes") => {}
            Some("final") => options.emit = Emit::Final,
            _ => return Err("emit = 'final' for windows that the watermark has passed, or emit = 'changes'"),
        },
        "on_error" => {
            options.on_error = Some(literal(value).and_then(|text| OnError::parse(&text)).ok_or(OnError::WRITE)?);
        }
        "max_dead_letters" => {
            let share = literal(value).and_then(|text| MaxDeadLetters::parse(&text));
            options.max_dead_letters = Some(share.ok_or(MaxDeadLetters::WRITE)?);
        }
        _ => {
            let retain = literal(value).and_then(|text| crate::durations::duration(&text));
            options.retain = Some(retain.ok_or("retain = '7 days'")?);
        }
    }
    Ok(())
}

fn literal(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::DoubleQuotedString(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.clone()),
            _ => None,
        },
        _ => None,
    }
}

fn duration(value: &Expr) -> Option<Duration> {
    let interval = crate::durations::duration(&literal(value)?)?;
    (Duration::from_millis(1)..=Duration::from_secs(86_400)).contains(&interval).then_some(interval)
}
