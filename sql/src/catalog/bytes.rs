//! Decodes the bytes of a file.

use std::sync::Arc;

use crate::error::Error;
use crate::file::{Location, SqlFile};

impl SqlFile {
    /// Creates the file with this path from its bytes. Leaves out a byte order mark.
    ///
    /// # Errors
    /// When the bytes are not UTF-8. The error points at the first byte that is not.
    pub fn of_bytes(path: String, bytes: Vec<u8>) -> Result<SqlFile, Error> {
        match String::from_utf8(bytes) {
            Ok(text) => Ok(SqlFile { path, text: text.strip_prefix('\u{feff}').map_or_else(|| text.clone(), str::to_owned) }),
            Err(error) => {
                let offset = error.utf8_error().valid_up_to();
                let byte = error.as_bytes()[offset];
                // Up to the first wrong byte, the lossy text is the same.
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let file = Arc::new(SqlFile { path, text });
                Err(Error {
                    message: format!("the byte 0x{byte:02X} is not UTF-8"),
                    help: Some("save the file as UTF-8".to_owned()),
                    at: Location { file, offset, length: char::REPLACEMENT_CHARACTER.len_utf8() },
                })
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_left_out() {
        let file = SqlFile::of_bytes("a.sql".to_owned(), b"\xEF\xBB\xBFSELECT 1".to_vec()).unwrap();
        assert_eq!(file.text, "SELECT 1");
    }

    #[test]
    fn the_first_byte_that_is_not_utf8_has_its_place() {
        let error = SqlFile::of_bytes("a.sql".to_owned(), b"SELECT 1;\n-- caf\xE9".to_vec()).unwrap_err();
        assert_eq!(error.to_string(), "a.sql:2:7: the byte 0xE9 is not UTF-8");
        assert_eq!(error.help.as_deref(), Some("save the file as UTF-8"));
    }
}
