//! `LOCATION` of a file source: what it may say, and the files that it names at a moment, in the order of their names.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::Error;
use crate::durable::io_error;

/// Where the files are.
#[derive(Debug, Clone)]
pub(super) struct Location {
    source_name: String,
    text: String,
    kind: Kind,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Stdin,
    /// A file or a folder, which only the file system can tell.
    Path,
    Glob(Glob),
}

#[derive(Debug, Clone)]
struct Glob {
    matcher: GlobMatcher,
    /// The part of the path before the first pattern.
    folder: PathBuf,
    /// The maximum number of levels of folders to descend.
    depth: usize,
}

const PATTERN: [char; 4] = ['*', '?', '[', '{'];

impl Location {
    /// Checks the text; a pattern must be one.
    pub(super) fn parse(source_name: &str, text: &str) -> Result<Location, Error> {
        let wrong = |message: String, help: &str| Error::Config {
            message: format!("source {source_name}: {message}"),
            help: Some(help.to_owned()),
        };
        let kind = if text.is_empty() {
            return Err(wrong("LOCATION is empty".into(), "name a file, a folder, a pattern such as 'data/*.ndjson', or '-'"));
        } else if text == "-" {
            Kind::Stdin
        } else if text.contains(PATTERN) {
            let glob = GlobBuilder::new(text).literal_separator(true).build();
            let glob = glob.map_err(|error| {
                wrong(format!("LOCATION: {error}"), "write a pattern such as 'data/*.ndjson' or 'data/**/*.ndjson'")
            })?;
            let parts: Vec<&str> = text.split('/').collect();
            let plain = parts.iter().take_while(|part| !part.contains(PATTERN)).count().min(parts.len() - 1);
            let folder = match parts[..plain].join("/") {
                folder if folder.is_empty() && text.starts_with('/') => PathBuf::from("/"),
                folder => PathBuf::from(folder),
            };
            let depth = if text.contains("**") || text.contains('{') { usize::MAX } else { parts.len() - plain - 1 };
            Kind::Glob(Glob { matcher: glob.compile_matcher(), folder, depth })
        } else {
            Kind::Path
        };
        Ok(Location { source_name: source_name.to_owned(), text: text.to_owned(), kind })
    }

    /// Checks whether this is standard input.
    pub(super) fn is_stdin(&self) -> bool {
        matches!(self.kind, Kind::Stdin)
    }

    /// The files that are there now, in the order of their names, hidden ones left out.
    ///
    /// # Errors
    /// [`Error::Config`] where there is no such file or folder; [`Error::Io`].
    pub(super) fn files(&self) -> Result<Vec<String>, Error> {
        let path = Path::new(&self.text);
        let mut files = Vec::new();
        match &self.kind {
            Kind::Stdin => {}
            // A file may be called as a pattern is written.
            Kind::Glob(_) if path.is_file() => files.push(self.text.clone()),
            Kind::Glob(glob) => {
                self.is_there(&glob.folder)?;
                self.collect(&glob.folder, glob.depth, &mut |file| glob.matcher.is_match(file), &mut files)?;
            }
            Kind::Path => {
                let metadata = self.is_there(path)?;
                if metadata.is_dir() {
                    self.collect(path, 0, &mut |_| true, &mut files)?;
                } else if metadata.is_file() {
                    files.push(self.text.clone());
                } else {
                    return Err(Error::Config {
                        message: format!("source {}: {} is neither a file nor a folder", self.source_name, self.text),
                        help: Some("to read a pipe, write LOCATION '-' and redirect it to standard input".into()),
                    });
                }
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn is_there(&self, path: &Path) -> Result<fs::Metadata, Error> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Config {
                message: format!("source {}: there is no file or folder {}", self.source_name, path.display()),
                help: Some("LOCATION is relative to the folder that the program runs in".into()),
            },
            _ => io_error("looking at", path)(error),
        })
    }

    fn collect(
        &self,
        folder: &Path,
        depth: usize,
        select: &mut dyn FnMut(&Path) -> bool,
        files: &mut Vec<String>,
    ) -> Result<(), Error> {
        let real = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        for entry in fs::read_dir(real).map_err(io_error("reading the folder", real))? {
            let entry = entry.map_err(io_error("reading the folder", real))?;
            let name = entry.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = folder.join(&name);
            let mut kind = entry.file_type().map_err(io_error("looking at", &path))?;
            if kind.is_dir() && depth > 0 {
                self.collect(&path, depth - 1, select, files)?;
                continue;
            }
            if kind.is_symlink() {
                match fs::metadata(&path) {
                    Ok(metadata) => kind = metadata.file_type(),
                    Err(_) => continue,
                }
            }
            if kind.is_file() && select(&path) {
                files.push(path.into_os_string().into_string().map_err(|name| Error::Config {
                    message: format!("source {}: the name of {} is not UTF-8", self.source_name, name.display()),
                    help: Some("rename the file, or leave it out by a pattern".into()),
                })?);
            }
        }
        Ok(())
    }
}
