//! Problems as SARIF 2.1.0, in the subset that code scanning of GitHub reads.
//!
//! Each result has a location there, so one that is about no place points at the first line of `alluvium.toml`.

use std::path::Path;

use serde_json::{Value, json};

use super::super::client::percent_encoded;
use super::{Level, Place, Problem, Rule, shown};
use crate::settings::FILE;

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// The document with the problems of a project in `dir`.
pub(in crate::cli) fn sarif(problems: &[Problem], dir: &Path) -> Value {
    let rules = Rule::ALL.map(|(rule, about)| {
        let name = rule.name();
        json!({"id": name, "name": name, "shortDescription": {"text": about}, "fullDescription": {"text": about}, "help": {"text": about}})
    });
    let results: Vec<Value> = problems.iter().map(|problem| result(problem, dir)).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "alluvium", "semanticVersion": env!("CARGO_PKG_VERSION"), "rules": rules,
            }},
            // Columns count characters.
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(problem: &Problem, dir: &Path) -> Value {
    let index = Rule::ALL.iter().position(|(rule, _)| *rule == problem.rule);
    let first = || Place { file: shown(&dir.join(FILE)), line: 1, column: 1, end_line: 1, end_column: 2 };
    let place = problem.place.clone().unwrap_or_else(first);
    let text = match &problem.help {
        Some(help) => format!("{}\nhelp: {help}", problem.text()),
        None => problem.text(),
    };
    json!({
        "ruleId": problem.rule.name(),
        "ruleIndex": index,
        "level": match problem.level { Level::Error => "error", Level::Warning => "warning", Level::Note => "note" },
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": artifact(&place.file),
            "region": {
                "startLine": place.line, "startColumn": place.column, "endLine": place.end_line, "endColumn": place.end_column,
            },
        }}],
    })
}

/// A file: relative to where the command runs, which is to be the root of the repository, or absolute if it is not below it.
fn artifact(path: &str) -> Value {
    let encoded = path.split('/').map(percent_encoded).collect::<Vec<_>>().join("/");
    if path.starts_with('/') {
        json!({"uri": format!("file://{encoded}")})
    } else {
        json!({"uri": encoded, "uriBaseId": "%SRCROOT%"})
    }
}
