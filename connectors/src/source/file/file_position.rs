//! A position in files, in this source's own terms.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::source::position::{Identity, LastEvent, Position};

/// The position of the reading thread. The fields are those of the identity below.
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

/// The kind of source, as in identities.
const KIND: &str = "file";

/// The content of the identity of a position in files.
#[derive(Serialize, Deserialize)]
struct Known {
    /// The current file, as named by the location; `None` before the first line.
    file: Option<String>,
    /// The number of bytes of that file's text that have been read.
    byte: u64,
    /// The number of lines in the files before this one.
    lines_before: u64,
    /// The last line that was read, if any.
    last: Option<LastEvent>,
}

impl FilePosition {
    /// Converts a recorded position.
    ///
    /// # Errors
    /// [`Error::StreamChanged`] for a position of another kind of source.
    pub(super) fn of(source_name: &str, position: &Position) -> Result<FilePosition, Error> {
        let changed = |message: String| Error::StreamChanged { source_name: source_name.to_owned(), message };
        let Some(Known { file, byte, lines_before, last }) = position.identity.content(KIND) else {
            let kind = position.identity.kind();
            return Err(changed(format!("the checkpoint is from a source of another kind ({kind}), not from files")));
        };
        if last.as_ref().map_or(0, |last| last.sequence) + 1 != position.offset || file.is_some() != last.is_some() {
            return Err(changed(format!("the checkpoint's offset {} does not follow its last line", position.offset)));
        }
        Ok(FilePosition { offset: position.offset, file: file.as_deref().map(Arc::from), byte, lines_before, last })
    }

    /// Converts the position for a checkpoint.
    ///
    /// # Errors
    /// Only [`Error::Bug`].
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
