//! How far files were read: what a position says, in this source's own terms.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::source::position::{Identity, LastEvent, Position};

/// How far the reading thread is.
#[derive(Debug, Clone)]
pub(super) struct FilePosition {
    pub(super) offset: u64,
    pub(super) file: Option<Arc<str>>,
    pub(super) byte: u64,
    pub(super) lines_before: u64,
    pub(super) last: Option<LastEvent>,
}

impl Default for FilePosition {
    fn default() -> FilePosition {
        FilePosition { offset: 1, file: None, byte: 0, lines_before: 0, last: None }
    }
}

/// The kind of source in identities.
const KIND: &str = "file";

/// What the identity of a position in files holds.
#[derive(Serialize, Deserialize)]
struct Known {
    /// The file that reading is in, as given by the location; none before the first line.
    file: Option<String>,
    /// Bytes of that file that have been read.
    byte: u64,
    /// Lines that the files before this one held.
    lines_before: u64,
    /// The last line that was read, if any.
    last: Option<LastEvent>,
}

impl FilePosition {
    /// Of a position that was recorded.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] for a position that no such source gave.
    pub(super) fn of(source_name: &str, position: &Position) -> Result<FilePosition, Error> {
        let changed = |message: String| Error::StreamChanged { source_name: source_name.to_owned(), message };
        let Some(Known { file, byte, lines_before, last }) = position.identity.content(KIND) else {
            let kind = position.identity.kind();
            return Err(changed(format!("the checkpoint was read from a source of another kind ({kind}), not from files")));
        };
        if last.as_ref().map_or(0, |last| last.sequence) + 1 != position.offset || file.is_some() != last.is_some() {
            return Err(changed(format!("the checkpoint's offset {} is not the one after its last line", position.offset)));
        }
        Ok(FilePosition { offset: position.offset, file: file.as_deref().map(Arc::from), byte, lines_before, last })
    }

    /// For a checkpoint.
    ///
    /// # Errors
    /// [`Error::Bug`] only.
    pub(super) fn to_record(&self) -> Result<Position, Error> {
        let known = Known {
            file: self.file.as_deref().map(str::to_owned),
            byte: self.byte,
            lines_before: self.lines_before,
            last: self.last.clone(),
        };
        Ok(Position::new(self.offset, Identity::new(KIND, &known)?))
    }
}
