//! A checksum inside a Parquet file, over every byte of it: a value of the footer that has eight digits, which count as zeros while the
//! checksum is computed. So a file proves itself under any name, and one that is written again needs nothing beside it.

use std::fs;
use std::path::Path;

use memchr::memmem;
use parquet::file::metadata::KeyValue;

use crate::Error;
use crate::durable::io_error;

/// What stands before the digits. A body may hold it as well; the footer comes last.
const MARK: &[u8] = b"alluvium-crc32-";
const ZEROS: &[u8; 8] = b"00000000";

/// For the footer of a file that is to be sealed.
#[must_use]
pub fn metadata() -> Vec<KeyValue> {
    let value = [MARK, ZEROS].concat();
    vec![KeyValue::new("alluvium.crc32".to_owned(), String::from_utf8_lossy(&value).into_owned())]
}

/// Puts the checksum of a whole file in its place.
///
/// # Errors
/// [`Error::Bug`] for a file that was written without [`metadata`].
pub fn seal(bytes: &mut [u8]) -> Result<(), Error> {
    let digits = digits(bytes).ok_or_else(|| Error::Bug("a file that is to be sealed has no place for it".to_owned()))?;
    let sum = format!("{:08x}", crc32fast::hash(bytes));
    bytes[digits..digits + ZEROS.len()].copy_from_slice(sum.as_bytes());
    Ok(())
}

/// Reads a file, and compares it with its checksum. Returns whether it has one: a release that wrote none is believed.
///
/// # Errors
/// [`Error::Corrupt`] where it does not hold; [`Error::Io`].
pub fn check(path: &Path) -> Result<bool, Error> {
    let bytes = fs::read(path).map_err(io_error("reading", path))?;
    match digits(&bytes) {
        Some(digits) if !holds(&bytes, digits) => Err(Error::Corrupt {
            path: path.to_owned(),
            message: format!("its {} bytes are not those that were written", bytes.len()),
        }),
        digits => Ok(digits.is_some()),
    }
}

/// Where the digits stand.
fn digits(bytes: &[u8]) -> Option<usize> {
    let at = memmem::rfind(bytes, MARK)? + MARK.len();
    (at + ZEROS.len() <= bytes.len()).then_some(at)
}

fn holds(bytes: &[u8], digits: usize) -> bool {
    let (before, rest) = bytes.split_at(digits);
    let (sum, after) = rest.split_at(ZEROS.len());
    let mut hasher = crc32fast::Hasher::new();
    [before, ZEROS, after].into_iter().for_each(|part| hasher.update(part));
    sum == format!("{:08x}", hasher.finalize()).as_bytes()
}
