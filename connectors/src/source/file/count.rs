//! Counts the lines of files, each byte once as long as the files only grow.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde::de::IgnoredAny;

use super::listing::Named;
use crate::Error;

/// Bytes read at once.
const STEP: usize = 1 << 20;

/// What has been counted so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    files: Mutex<HashMap<PathBuf, Counted>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    inode: u64,
    /// Up to and with the last line feed.
    bytes: u64,
    lines: u64,
}

impl Counts {
    /// The lines of all files, in the order given: by the rule of [`super::scanner`], what follows the last line feed is a
    /// line, in the last file only where it is a whole JSON object.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn lines(&self, files: &[Named]) -> Result<u64, Error> {
        let mut known = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = 0;
        for (index, named) in files.iter().enumerate() {
            let failed = |error| Error::Io { action: "reading", path: named.path.clone(), error };
            let counted = known.entry(named.path.clone()).or_default();
            let rest = count(named, counted).map_err(failed)?;
            let is_last = index + 1 == files.len();
            let is_line = if is_last { is_whole_object(&rest) } else { !rest.is_empty() };
            lines += counted.lines + u64::from(is_line);
        }
        Ok(lines)
    }
}

/// Counts what is new, and gives what follows the last line feed.
fn count(named: &Named, counted: &mut Counted) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(&named.path)?;
    let metadata = file.metadata()?;
    if metadata.ino() != counted.inode || metadata.len() < counted.bytes {
        *counted = Counted { inode: metadata.ino(), ..Counted::default() };
    }
    file.seek(SeekFrom::Start(counted.bytes))?;
    let mut rest = Vec::new();
    let mut block = Vec::with_capacity(STEP);
    loop {
        block.clear();
        if file.by_ref().take(STEP as u64).read_to_end(&mut block)? == 0 {
            return Ok(rest);
        }
        match memchr::memrchr(b'\n', &block) {
            Some(last) => {
                counted.bytes += (rest.len() + last + 1) as u64;
                counted.lines += memchr::memchr_iter(b'\n', &block).count() as u64;
                rest.clear();
                rest.extend_from_slice(&block[last + 1..]);
            }
            None => rest.extend_from_slice(&block),
        }
    }
}

/// Whether the text is a whole JSON object, which no beginning of a longer line can be.
pub(super) fn is_whole_object(rest: &[u8]) -> bool {
    rest.trim_ascii_end().last() == Some(&b'}')
        && rest.trim_ascii_start().first() == Some(&b'{')
        && serde_json::from_slice::<IgnoredAny>(rest).is_ok()
}
