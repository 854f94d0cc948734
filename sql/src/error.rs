//! Errors that point into a SQL file.

use crate::file::Location;
use crate::text::Text;

impl Location {
    /// Narrows the place of a statement to what a message about it names: what it has in quotes, or the word after STORED AS.
    /// Returns this place if neither is found.
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
    /// The place.
    pub at: Location,
}

/// Everything that is wrong with a catalog; never empty.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Errors(pub Vec<Error>);
