//! Errors that point into a SQL file.

use std::sync::Arc;

use crate::catalog::SqlFile;
use crate::catalog::statements::Text;

/// A place in a file.
#[derive(Debug, Clone)]
pub struct Location {
    /// The file.
    pub file: Arc<SqlFile>,
    /// Byte offset into its text.
    pub offset: usize,
    /// Length in bytes of what is concerned; at least 1 where the text has any.
    pub length: usize,
}

impl Location {
    /// Line and column, both from 1; the column counts characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.file.text[..self.file.text.floor_char_boundary(self.offset.min(self.file.text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        (line, column)
    }
}

impl Location {
    /// The place within this one that a message about the statement here is about: what it names in quotes, or the word after
    /// STORED AS; this place, where nothing of that is found.
    #[must_use]
    pub fn of_what_is_named_in(&self, message: &str) -> Location {
        let Some(text) = Text::of(self) else { return self.clone() };
        let stored_as = || message.contains("STORED AS").then(|| text.after("STORED", "AS"))?;
        text.quoted_in(message).or_else(stored_as).unwrap_or_else(|| self.clone())
    }
}

/// What is wrong with a statement, where, and what to write instead.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}:{}:{}: {message}", at.file.path, at.line_column().0, at.line_column().1)]
pub struct Error {
    /// What is wrong; lower case, no file name.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    /// Where.
    pub at: Location,
}

/// Everything that is wrong with a catalog; never empty.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Errors(pub Vec<Error>);
