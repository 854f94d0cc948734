//! Errors of files.

use std::path::Path;

use crate::error::Error;

/// Makes an error of the disk during `action` on `path`. It keeps the kind, on which the help depends.
pub(super) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> Error {
    Error::Connector(alluvium_connectors::Error::Io {
        action,
        path: path.to_path_buf(),
        error: std::io::Error::new(error.kind(), error.to_string()),
    })
}
