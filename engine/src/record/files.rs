//! Errors of the files beside the store.

use std::path::Path;

use crate::error::Error;

/// The disk's error while doing `action` to `path`, its kind kept: what to do about it depends on that.
pub(super) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> Error {
    Error::Connector(alluvium_connectors::Error::Io {
        action,
        path: path.to_path_buf(),
        error: std::io::Error::new(error.kind(), error.to_string()),
    })
}
