//! What a power failure leaves of a folder: see `disk.c`, which keeps the synced bytes and names in an image folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Names a file or folder for as long as a test runs.
type Key = String;

/// An entry of a folder.
#[derive(Debug, Clone)]
enum Entry {
    Folder(Key),
    File(Key),
    Link(String),
}

/// Whether what was not synced is lost.
pub(crate) enum Loss<'a> {
    /// All of it.
    Everything,
    /// For each folder and each file, by chance.
    Some(&'a mut fastrand::Rng),
}

impl Loss<'_> {
    fn keeps(&mut self) -> bool {
        match self {
            Loss::Everything => false,
            Loss::Some(random) => random.bool(),
        }
    }
}

/// The folder in which the disk keeps what is synced.
pub(crate) struct Image(pub(crate) PathBuf);

impl Image {
    /// Makes an image in which everything below `root` is synced.
    pub(crate) fn of(root: &Path, image: PathBuf) -> Image {
        fs::create_dir_all(&image).unwrap();
        let image = Image(image);
        image.sync(root);
        image
    }

    fn sync(&self, folder: &Path) {
        let mut lines = String::new();
        for (name, entry) in entries(folder) {
            let path = folder.join(&name);
            let (letter, of) = match entry {
                Entry::Folder(key) => {
                    self.sync(&path);
                    ('d', key)
                }
                Entry::File(key) => {
                    fs::copy(&path, self.0.join(format!("file.{key}"))).unwrap();
                    ('f', key)
                }
                Entry::Link(target) => ('l', target),
            };
            lines.push_str(&format!("{letter}\t{name}\t{of}\n"));
        }
        fs::write(self.0.join(format!("folder.{}", key(folder))), lines).unwrap();
    }

    /// Replaces `root` by what the disk holds after a power failure.
    pub(crate) fn lose(&self, root: &Path, mut loss: Loss<'_>) {
        let mut now = Now::default();
        now.add(root);
        let after = root.with_extension("after");
        self.make(&key(root), &after, &now, &mut loss, &mut BTreeMap::new());
        fs::remove_dir_all(root).unwrap();
        fs::rename(&after, root).unwrap();
    }

    fn make(&self, folder: &str, target: &Path, now: &Now, loss: &mut Loss<'_>, made: &mut BTreeMap<Key, PathBuf>) {
        fs::create_dir(target).unwrap();
        let unsynced = now.folders.get(folder).filter(|_| loss.keeps());
        for (name, entry) in unsynced.cloned().unwrap_or_else(|| self.synced(folder)) {
            let path = target.join(name);
            match entry {
                Entry::Folder(key) => self.make(&key, &path, now, loss, made),
                Entry::Link(of) => std::os::unix::fs::symlink(of, path).unwrap(),
                Entry::File(key) => match made.get(&key) {
                    Some(first) => fs::hard_link(first, path).unwrap(),
                    None => {
                        let unsynced = now.files.get(&key).filter(|_| loss.keeps());
                        let bytes = unsynced.map(|path| fs::read(path).unwrap());
                        // A file that was never synced is empty.
                        let synced = || fs::read(self.0.join(format!("file.{key}"))).unwrap_or_default();
                        fs::write(&path, bytes.unwrap_or_else(synced)).unwrap();
                        made.insert(key, path);
                    }
                },
            }
        }
    }

    /// The names of a folder as they were last synced.
    fn synced(&self, folder: &str) -> Vec<(String, Entry)> {
        let text = fs::read_to_string(self.0.join(format!("folder.{folder}"))).unwrap_or_default();
        let entry = |line: &str| {
            let [letter, name, of] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let of = of.to_owned();
            let entry = match letter {
                "d" => Entry::Folder(of),
                "f" => Entry::File(of),
                _ => Entry::Link(of),
            };
            (name.to_owned(), entry)
        };
        text.lines().map(entry).collect()
    }
}

/// What a folder holds while nothing is lost.
#[derive(Default)]
struct Now {
    folders: BTreeMap<Key, Vec<(String, Entry)>>,
    files: BTreeMap<Key, PathBuf>,
}

impl Now {
    fn add(&mut self, folder: &Path) {
        let all = entries(folder);
        for (name, entry) in &all {
            let path = folder.join(name);
            match entry {
                Entry::Folder(_) => self.add(&path),
                Entry::File(key) => drop(self.files.insert(key.clone(), path)),
                Entry::Link(_) => {}
            }
        }
        self.folders.insert(key(folder), all);
    }
}

fn entries(folder: &Path) -> Vec<(String, Entry)> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let found = if kind.is_symlink() {
            Entry::Link(fs::read_link(&path).unwrap().to_str().unwrap().to_owned())
        } else if kind.is_dir() {
            Entry::Folder(key(&path))
        } else {
            Entry::File(key(&path))
        };
        entries.push((entry.file_name().into_string().unwrap(), found));
    }
    entries
}

/// The same text as `key_of` in `disk.c`.
fn key(path: &Path) -> Key {
    let found = fs::symlink_metadata(path).unwrap();
    let born = found.created().unwrap().duration_since(UNIX_EPOCH).unwrap();
    format!("{}.{}.{}", found.ino(), born.as_secs(), born.subsec_nanos())
}
