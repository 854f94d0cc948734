//! Finds files of a project that were saved: it looks at their times and sizes again and again.
//!
//! It does not ask the system to tell: a project has few files, so looking costs some microseconds, and it works the same on folders that are
//! shared with a container or over a network, where the system tells nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::settings::FILE;

/// A file that is gone or empty may be about to be written again: its end counts after so long.
const LOST: Duration = Duration::from_secs(1);

/// The time and the size of each file.
type Seen = BTreeMap<PathBuf, (SystemTime, u64)>;

/// Watches the SQL files, `alluvium.toml` and the schemas of a project.
#[derive(Debug)]
pub struct Watch {
    dir: PathBuf,
    /// Files that sources name, such as schemas.
    named: BTreeSet<PathBuf>,
    seen: Seen,
    /// What the last look saw, if it was something else, and since when.
    unsettled: Option<(Seen, Instant)>,
}

impl Watch {
    /// Watches a folder from now on.
    #[must_use]
    pub fn new(dir: &Path) -> Watch {
        let mut watch = Watch { dir: dir.to_owned(), named: BTreeSet::new(), seen: Seen::new(), unsettled: None };
        watch.seen = watch.look();
        watch
    }

    /// Watches these files of the folder too, instead of those that were named before.
    pub fn name(&mut self, files: impl IntoIterator<Item = PathBuf>) {
        let before = std::mem::replace(&mut self.named, files.into_iter().collect());
        let now = self.look();
        // One that is no longer named was not removed.
        for path in before.iter().filter(|path| !now.contains_key(*path)) {
            self.seen.remove(path);
        }
        for path in &self.named {
            let Some(found) = stamp(path) else { continue };
            self.seen.entry(path.clone()).or_insert(found);
        }
    }

    /// Returns the files that were saved, made or removed since the last call that returned some. An editor may write a file in steps, so a
    /// change counts if it stays the same from one call to the next: call it some times a second.
    pub fn saved(&mut self) -> Vec<PathBuf> {
        let now = self.look();
        if now == self.seen {
            self.unsettled = None;
            return Vec::new();
        }
        let since = match self.unsettled.take() {
            Some((seen, since)) if seen == now => since,
            _ => {
                self.unsettled = Some((now, Instant::now()));
                return Vec::new();
            }
        };
        let is_whole = |path: &PathBuf| now.get(path).is_some_and(|(_, bytes)| *bytes > 0);
        let has_lost = self.seen.iter().any(|(path, (_, bytes))| *bytes > 0 && !is_whole(path));
        if has_lost && since.elapsed() < LOST {
            self.unsettled = Some((now, since));
            return Vec::new();
        }
        let before = std::mem::replace(&mut self.seen, now);
        let paths: BTreeSet<&PathBuf> = before.keys().chain(self.seen.keys()).collect();
        let saved = paths.into_iter().filter(|path| before.get(*path) != self.seen.get(*path));
        saved.cloned().collect()
    }

    fn look(&self) -> Seen {
        let in_folder =
            fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path()).filter(|path| is_watched(path));
        let paths = in_folder.chain(self.named.iter().cloned());
        paths.filter_map(|path| stamp(&path).map(|stamp| (path, stamp))).collect()
    }
}

fn is_watched(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    !name.starts_with(b".") && (path.extension() == Some(OsStr::new("sql")) || name == FILE.as_bytes())
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    Some((found.modified().ok()?, found.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_saved_file_is_told_once_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let save = |name: &str, text: &str| fs::write(path(name), text).unwrap();
        save("a.sql", "SELECT 1");
        save("schema.avsc", "{}");
        let mut watch = Watch::new(folder.path());
        assert!(watch.saved().is_empty() && watch.saved().is_empty());

        save("a.sql", "SELECT 12");
        assert!(watch.saved().is_empty());
        save("a.sql", "SELECT 123");
        assert!(watch.saved().is_empty());
        assert_eq!(watch.saved(), [path("a.sql")]);
        assert!(watch.saved().is_empty());

        // Editors write beside the file, and rename. What is hidden or not of the project does not count.
        for name in [".a.sql.swp", "b.sql~", "notes.txt", "events.jsonl", "schema.avsc"] {
            save(name, "something else");
        }
        assert!(watch.saved().is_empty() && watch.saved().is_empty());
        fs::rename(path("b.sql~"), path("b.sql")).unwrap();
        fs::remove_file(path("a.sql")).unwrap();
        assert!(watch.saved().is_empty());
        let began = Instant::now();
        let saved = std::iter::repeat_with(|| watch.saved()).find(|saved| !saved.is_empty() || began.elapsed() > 9 * LOST);
        assert_eq!(saved.unwrap(), [path("a.sql"), path("b.sql")]);
        assert!(began.elapsed() >= LOST / 2);

        watch.name([path("schema.avsc")]);
        assert!(watch.saved().is_empty() && watch.saved().is_empty());
        save("schema.avsc", "{\"type\": \"record\"}");
        assert!(watch.saved().is_empty());
        assert_eq!(watch.saved(), [path("schema.avsc")]);
        watch.name([]);
        assert!(watch.saved().is_empty() && watch.saved().is_empty());
    }
}
