//! `alluvium.toml` with the place of each key, for errors that point at it. [`super::Settings`] reads the values.

use std::path::Path;
use std::sync::Arc;

use alluvium_sql::{Errors, Location, SqlFile};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Error;

/// A file that parses as TOML.
pub(super) struct TomlFile {
    file: Arc<SqlFile>,
}

impl TomlFile {
    /// Parses the file.
    ///
    /// # Errors
    /// The text is not TOML.
    pub(super) fn new(path: &Path, text: String) -> Result<TomlFile, Error> {
        let file = TomlFile { file: Arc::new(SqlFile { path: path.display().to_string(), text }) };
        match DeTable::parse(&file.file.text) {
            Ok(_) => Ok(file),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let at = file.at(span);
                let message = error.message().to_owned();
                Err(Error::Settings(Errors(vec![alluvium_sql::Error { message, help: None, at }])))
            }
        }
    }

    pub(super) fn text(&self) -> &str {
        &self.file.text
    }

    /// Returns the keys of the table at `path`, or nothing if there is no such table.
    pub(super) fn names(&self, path: &[&str]) -> Vec<String> {
        self.find(path, |found| match found {
            Found::Table(table) => table.keys().map(|key| key.get_ref().to_string()).collect(),
            _ => Vec::new(),
        })
    }

    pub(super) fn has(&self, path: &[&str]) -> bool {
        self.find(path, |found| !matches!(found, Found::Nothing))
    }

    pub(super) fn is_table(&self, path: &[&str]) -> bool {
        self.find(path, |found| matches!(found, Found::Table(_)))
    }

    /// Makes an error that points at the key at `path`.
    pub(super) fn error(&self, path: &[&str], message: String, help: Option<String>) -> alluvium_sql::Error {
        let span = DeTable::parse(&self.file.text).ok().and_then(|table| key_span(table.get_ref(), path)).unwrap_or(0..0);
        alluvium_sql::Error { message, help, at: self.at(span) }
    }

    fn at(&self, span: std::ops::Range<usize>) -> Location {
        Location { file: Arc::clone(&self.file), offset: span.start, length: span.len().max(1) }
    }

    fn find<T>(&self, path: &[&str], then: impl FnOnce(Found<'_>) -> T) -> T {
        let Ok(root) = DeTable::parse(&self.file.text) else { return then(Found::Nothing) };
        let mut table = root.get_ref();
        for (index, name) in path.iter().enumerate() {
            match entry(table, name).map(|(_, value)| value.get_ref()) {
                Some(DeValue::Table(inner)) => table = inner,
                Some(_) if index + 1 == path.len() => return then(Found::Value),
                _ => return then(Found::Nothing),
            }
        }
        then(Found::Table(table))
    }
}

enum Found<'a> {
    Nothing,
    Value,
    Table(&'a DeTable<'a>),
}

type Entry<'a> = (&'a Spanned<std::borrow::Cow<'a, str>>, &'a Spanned<DeValue<'a>>);

fn entry<'a>(table: &'a DeTable<'a>, name: &str) -> Option<Entry<'a>> {
    table.iter().find(|(key, _)| key.get_ref().as_ref() == name)
}

fn key_span(table: &DeTable<'_>, path: &[&str]) -> Option<std::ops::Range<usize>> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref().as_ref() == *first)?;
    match (rest, value.get_ref()) {
        ([], _) => Some(key.span()),
        (rest, DeValue::Table(inner)) => key_span(inner, rest),
        _ => None,
    }
}
