//! SQL files, and places in them.

use std::fmt;
use std::sync::Arc;

/// A file's path, as messages show it, and its text. `Debug` leaves out the text, which may hold credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct SqlFile {
    /// The path.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl fmt::Debug for SqlFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A place in a file.
#[derive(Debug, Clone)]
pub struct Location {
    /// The file.
    pub file: Arc<SqlFile>,
    /// Byte offset into its text.
    pub offset: usize,
    /// Length of the place in bytes; at least 1, unless the text is empty.
    pub length: usize,
}

impl Location {
    /// Returns the line and the column, both from 1. The column counts characters.
    #[must_use]
    pub fn line_column(&self) -> (usize, usize) {
        let before = &self.file.text[..self.file.text.floor_char_boundary(self.offset.min(self.file.text.len()))];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
        (line, column)
    }
}
