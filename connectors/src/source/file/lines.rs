//! Where lines begin and end, and the last one before a byte.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use memchr::memrchr;
use serde::de::IgnoredAny;

/// Longest line that is read, in bytes.
pub(super) const MAX_LINE: usize = 1 << 30;

/// A line without its end.
pub(super) fn body(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The first line of a file, or its beginning, without the byte order mark that some programs write.
pub(super) fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line)
}

/// Whether the bytes from `start` to the end of a file, which no line end follows, are a line all the same: one whole JSON
/// object.
pub(super) fn is_whole(tail: &[u8], start: u64) -> bool {
    let tail = if start == 0 { without_mark(tail) } else { tail };
    tail.trim_ascii_start().starts_with(b"{")
        && std::str::from_utf8(tail).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The last line that begins before `byte`, as far as it lies before it, with its line end where that lies before it.
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
