//! What a LOCATION names: a file, a folder, a glob or standard input; and the files behind it, in the order of their names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use crate::Error;

/// Where the lines come from.
#[derive(Debug, Clone)]
pub(super) enum Location {
    /// Standard input, written `-`.
    StandardInput,
    /// Files.
    Files(Listing),
}

/// A file, and its name as the location gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) path: PathBuf,
    pub(super) name: Arc<str>,
}

/// A way to find files.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    source: String,
    path: PathBuf,
    glob: Option<Glob>,
}

#[derive(Debug, Clone)]
struct Glob {
    /// The folder that every match lies below; empty for the working folder.
    base: PathBuf,
    matcher: GlobMatcher,
    /// Folders below `base` to look in; any number for `**`.
    depth: usize,
    /// Whether the pattern asks for names that begin with a dot.
    hidden: bool,
}

/// The characters that make a path a glob.
const SPECIAL: &[char] = &['*', '?', '[', '{'];

impl Location {
    /// Of the text of a declaration.
    ///
    /// # Errors
    /// [`Error::Config`] for an empty text or a glob that cannot be read.
    pub(super) fn parse(source: &str, text: &str) -> Result<Location, Error> {
        if text == "-" {
            return Ok(Location::StandardInput);
        }
        if text.is_empty() {
            return Err(Error::Config {
                message: format!("source {source}: LOCATION is empty"),
                help: Some("write the path of a file, a folder or a glob of JSON lines, or '-' for standard input".into()),
            });
        }
        let path = PathBuf::from(text);
        // A file whose name happens to hold such a character is meant as it is.
        let glob = if text.contains(SPECIAL) && !path.exists() { Some(Glob::parse(source, text)?) } else { None };
        Ok(Location::Files(Listing { source: source.to_owned(), path, glob }))
    }
}

impl Glob {
    fn parse(source: &str, text: &str) -> Result<Glob, Error> {
        let matcher = GlobBuilder::new(text).literal_separator(true).build().map_err(|error| Error::Config {
            message: format!("source {source}: LOCATION '{text}' is not a glob: {}", error.kind()),
            help: None,
        })?;
        let plain = |part: &str| !part.contains(SPECIAL);
        let parts: Vec<&str> = text.split('/').collect();
        let fixed = parts.iter().take(parts.len() - 1).take_while(|part| plain(part)).count();
        let mut base = parts[..fixed].join("/");
        if base.is_empty() && text.starts_with('/') {
            base.push('/');
        }
        // Braces may hold separators.
        let deep = text.contains("**") || text.split_once('{').is_some_and(|(_, rest)| rest.contains('/'));
        Ok(Glob {
            base: base.into(),
            matcher: matcher.compile_matcher(),
            depth: if deep { usize::MAX } else { parts.len() - fixed - 1 },
            hidden: parts.last().is_some_and(|part| part.starts_with('.')),
        })
    }
}

impl Listing {
    /// The files that are there now, in the order of their names. Blocks.
    ///
    /// # Errors
    /// [`Error::Config`] when the file or the folder does not exist, [`Error::Io`] when it cannot be read.
    pub(super) fn list(&self) -> Result<Vec<Named>, Error> {
        let mut paths = Vec::new();
        if let Some(glob) = &self.glob {
            self.walk(glob, &glob.base, 0, &mut paths)?;
        } else {
            let metadata = self.path.metadata().map_err(|error| self.absent(&self.path, error))?;
            if metadata.is_dir() {
                for path in entries(&self.path).map_err(|error| self.absent(&self.path, error))? {
                    if !is_hidden(&path) && path.is_file() {
                        paths.push(path);
                    }
                }
            } else {
                paths.push(self.path.clone());
            }
        }
        let mut files: Vec<Named> =
            paths.into_iter().map(|path| Named { name: path.to_string_lossy().into(), path }).collect();
        files.sort_unstable_by(|left, right| left.name.cmp(&right.name));
        Ok(files)
    }

    fn walk(&self, glob: &Glob, folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), Error> {
        let found = entries(folder).map_err(|error| self.absent(folder, error))?;
        for path in found {
            if is_hidden(&path) && !glob.hidden {
                continue;
            }
            if path.is_dir() {
                // A link to a folder is not followed below `**`: it may lead back up.
                if depth < glob.depth && !(glob.depth == usize::MAX && path.is_symlink()) {
                    self.walk(glob, &path, depth + 1, paths)?;
                }
            } else if glob.matcher.is_match(&path) && path.is_file() {
                paths.push(path);
            }
        }
        Ok(())
    }

    fn absent(&self, path: &Path, error: std::io::Error) -> Error {
        if error.kind() != std::io::ErrorKind::NotFound {
            return Error::Io { action: "listing", path: path.to_owned(), error };
        }
        Error::Config {
            message: format!("source {}: LOCATION '{}': {} does not exist", self.source, self.path.display(), path.display()),
            help: Some("write the path of a file, a folder or a glob of JSON lines, or '-' for standard input".into()),
        }
    }
}

/// The paths of a folder's entries; those of the working folder without a folder in front.
fn entries(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let read = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    std::fs::read_dir(read)?.map(|entry| Ok(folder.join(entry?.file_name()))).collect()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
