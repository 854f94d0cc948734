//! Typical mistakes and the whole text of what is said about each: `mistakes.txt`, one case a block. `ALLUVIUM_MISTAKES_UPDATE=1` writes what is
//! said now into the file; each line of it is to be read before it is kept.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::describe::summary;
use crate::file::Location;

/// A message as a reader sees it: where, the line, what is underlined, what is said, and what to write.
fn shown(kind: &str, at: &Location, message: &str, help: Option<&str>) -> String {
    let (line, column) = at.line_column();
    let mut text = String::new();
    let source = at.file.text.lines().nth(line - 1).unwrap_or_default();
    let end = at.file.text[at.offset..].find('\n').map_or(at.file.text.len(), |end| at.offset + end);
    let marked = at.file.text[at.offset..(at.offset + at.length).min(end)].chars().count().max(1);
    writeln!(text, "{kind}{message}").unwrap();
    writeln!(text, "  {line}: {source}").unwrap();
    let margin = " ".repeat(format!("  {line}: ").len() + column - 1);
    writeln!(text, "{margin}{}", "^".repeat(marked)).unwrap();
    if let Some(help) = help {
        writeln!(text, "  help: {help}").unwrap();
    }
    text
}

/// All that is said about a text.
fn said(text: &str) -> String {
    match load(text) {
        Err(errors) => {
            errors.0.iter().map(|error| shown("", &error.at, &error.message, error.help.as_deref())).collect::<String>()
        }
        Ok(catalog) => {
            let warnings = catalog.views.iter().flat_map(|view| summary(view).warnings);
            warnings.map(|warning| shown("warning: ", &warning.at, &warning.reason, Some(&warning.suggestion))).collect()
        }
    }
}

#[test]
fn each_mistake_is_said_in_the_words_of_its_case() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/catalog/tests/mistakes.txt");
    let file = std::fs::read_to_string(&path).unwrap();
    let (mut written, mut wrong) = (Vec::new(), Vec::new());
    for case in file.split("\n\n").map(str::trim_end).filter(|case| !case.is_empty()) {
        let Some((asked, expected)) = case.split_once("\n----") else {
            // A heading.
            written.push(case.to_owned());
            continue;
        };
        let statement: String = asked.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
        let told = said(&statement);
        if told.trim_end() != expected.trim_start_matches('\n').trim_end() {
            wrong.push(format!("{asked}\n---- is\n{told}---- and not\n{}", expected.trim_start_matches('\n')));
        }
        for debug in ["Utf8", "Int64", "Float64", "Ident {", "Span(", "List(", "Struct("] {
            assert!(!told.contains(debug), "{asked}\n{told}");
        }
        written.push(format!("{asked}\n----\n{}", told.trim_end()));
    }
    if std::env::var_os("ALLUVIUM_MISTAKES_UPDATE").is_some() {
        std::fs::write(&path, written.join("\n\n") + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "{} cases:\n\n{}", wrong.len(), wrong.join("\n\n"));
    }
}
