//! Parses `LOCATION` of a file source, and lists the files that it names, in the order of their names.
//!
//! The name of a file is its path relative to the project's folder, or its whole path if `LOCATION` is absolute. It never depends on the
//! working directory of the program.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use super::declared::Declared;
use super::text::Text;
use crate::Error;
use crate::durable::io_error;
use crate::source::declaration::SourceConfig;

/// The location and the declared kind of the files.
#[derive(Debug, Clone)]
pub(super) struct Location {
    source_name: String,
    /// The folder in which relative names of files start.
    folder: PathBuf,
    text: String,
    kind: Kind,
    declared: Declared,
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
    /// Parses the text. A pattern must be valid.
    pub(super) fn parse(config: &SourceConfig) -> Result<Location, Error> {
        let source_name = &config.name;
        let text = plainly(&config.location);
        let text = text.as_str();
        let wrong = |message: String, help: &str| Error::Config {
            message: format!("source {source_name}: {message}"),
            help: Some(help.to_owned()),
        };
        let kind = if config.location.is_empty() {
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
        let declared = Declared::of(config)?;
        if matches!(kind, Kind::Stdin) && !declared.is_json() {
            return Err(wrong(
                "standard input is read as lines of JSON".into(),
                "name a file in LOCATION, or write STORED AS JSON",
            ));
        }
        Ok(Location { source_name: source_name.clone(), folder: config.folder.clone(), text: text.to_owned(), kind, declared })
    }

    /// Checks whether the files are declared as CSV.
    pub(super) fn holds_csv(&self) -> bool {
        self.declared.is_csv()
    }

    /// Returns the path of a file by its name.
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`Text::open`].
    pub(super) fn open(&self, file: &str) -> Result<Text, Error> {
        Text::open(self.path(file), &self.declared)
    }

    /// Returns the name in `files` of the file that a position names `recorded`. Earlier releases recorded the path relative to the working
    /// directory of the program.
    pub(super) fn name_of(&self, recorded: &str, files: &[String]) -> Option<String> {
        if files.iter().any(|file| file == recorded) {
            return Some(recorded.to_owned());
        }
        let named = files.iter().filter(|file| Path::new(recorded).ends_with(Path::new(file)));
        named.max_by_key(|file| file.len()).cloned()
    }

    /// Checks whether this is standard input.
    pub(super) fn is_stdin(&self) -> bool {
        matches!(self.kind, Kind::Stdin)
    }

    /// Returns the existing files in the order of their names, without hidden ones.
    ///
    /// # Errors
    /// [`Error::Config`] if the file or folder does not exist; [`Error::Io`].
    pub(super) fn files(&self) -> Result<Vec<String>, Error> {
        let mut files = Vec::new();
        match &self.kind {
            Kind::Stdin => {}
            // The name of a file can look like a pattern.
            Kind::Glob(_) if self.path(&self.text).is_file() => files.push(self.text.clone()),
            Kind::Glob(glob) => {
                self.is_there(&glob.folder)?;
                self.collect(&glob.folder, glob.depth, &mut |file| glob.matcher.is_match(file), &mut files)?;
            }
            Kind::Path => {
                let metadata = self.is_there(Path::new(&self.text))?;
                if metadata.is_dir() {
                    self.collect(Path::new(&self.text), 0, &mut |_| true, &mut files)?;
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
        let path = &self.real(path);
        fs::metadata(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::Config {
                message: format!("source {}: there is no file or folder {}", self.source_name, path.display()),
                help: Some("LOCATION is relative to the project's folder".into()),
            },
            _ => io_error("looking at", path)(error),
        })
    }

    /// Returns the actual path of a path in `LOCATION`.
    fn real(&self, path: &Path) -> PathBuf {
        let path = self.folder.join(path);
        if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
    }

    fn collect(
        &self,
        folder: &Path,
        depth: usize,
        select: &mut dyn FnMut(&Path) -> bool,
        files: &mut Vec<String>,
    ) -> Result<(), Error> {
        let real = self.real(folder);
        for entry in fs::read_dir(&real).map_err(io_error("reading the folder", &real))? {
            let entry = entry.map_err(io_error("reading the folder", &real))?;
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
                match fs::metadata(entry.path()) {
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

/// A location without the steps that lead nowhere, so that each file has one name: `./in/*` is `in/*`, and `.` the folder itself.
fn plainly(location: &str) -> String {
    let mut plain = location.replace("/./", "/");
    while let Some(rest) = plain.strip_prefix("./") {
        plain = rest.trim_start_matches('/').to_owned();
    }
    if plain == "." { String::new() } else { plain }
}
