//! SQL files, and places in them.

use std::fmt;
use std::sync::Arc;

/// A file's name, as messages give it, and its text. Printed without the text: it may hold credentials.
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
