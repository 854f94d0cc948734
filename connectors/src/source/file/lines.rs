//! Finds the parts of lines, and the last line before a byte.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use memchr::memrchr;
use serde::de::IgnoredAny;

/// The maximum length of a line in bytes.
pub(super) const MAX_LINE: usize = 1 << 30;

/// Returns a line without its line end.
pub(super) fn body(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns the first line or the beginning of a file without the byte order mark that some programs write.
pub(super) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// Checks whether the bytes from `start` to the end of a file are a line without a line end: one whole JSON object.
pub(super) fn is_whole(tail: &[u8], start: u64) -> bool {
    let tail = if start == 0 { without_mark(tail) } else { tail };
    tail.trim_ascii_start().starts_with(b"{")
        && std::str::from_utf8(tail).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// Returns the last line that begins before `byte`, cut off at `byte`. Includes its line end if that is before `byte`.
pub(super) fn last_before(file: &mut File, byte: u64) -> io::Result<Vec<u8>> {
    let mut length = 16 << 10;
    loop {
        let start = byte.saturating_sub(length);
        let mut window = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(byte - start).read_to_end(&mut window)?;
        let inner = window.strip_suffix(b"\n").unwrap_or(&window);
        if let Some(newline) = memrchr(b'\n', inner) {
            return Ok(window.split_off(newline + 1));
        }
        if start == 0 {
            return Ok(window);
        }
        length *= 4;
    }
}
