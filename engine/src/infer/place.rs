//! What is sampled: a stream, or files. Finds out what files hold by opening them as each kind in turn, as a source would.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::names::written;
use super::payloads::{COLUMNS, Payloads};
use crate::error::Error;
use crate::project::Project;
use crate::sample::{self, Wanted};
use crate::settings::{Settings, is_credential};

/// How many records are looked at to find the delimiter of CSV files.
const FIRST_RECORDS: u64 = 20;
/// Delimiters to try, as option `delimiter` names them.
const DELIMITERS: [&str; 4] = [",", ";", "tab", "|"];

/// A stream or files, and the options to read them with.
#[derive(Clone)]
pub struct Place {
    /// LOCATION.
    location: String,
    is_stream: bool,
    /// Options for the declaration. Those that are credentials are used, and not written.
    options: BTreeMap<String, String>,
    /// STORED AS, once it is known.
    stored_as: &'static str,
}

/// Leaves out the location and the options, in which a user may have written a password.
impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("stored_as", &self.stored_as).finish_non_exhaustive()
    }
}

impl Place {
    /// Reads what a user gives: `nats://host:port/STREAM`, or a file, a folder or a pattern relative to the working directory. `options`
    /// are those of the source. `dir` is the project's folder: the declaration names files relative to it where they are in it.
    ///
    /// # Errors
    /// [`crate::error::Kind::Config`] for an address that is neither.
    pub fn parse(text: &str, options: BTreeMap<String, String>, dir: &Path) -> Result<Place, Error> {
        let is_stream = text.starts_with("nats://") || text.starts_with("tls://");
        if text.is_empty() || (text.contains("://") && !is_stream && !text.starts_with("file://")) {
            let scheme = text.split_once("://").map_or_else(String::new, |(scheme, _)| format!("{scheme}://..."));
            return Err(Error::config(
                format!("'{scheme}' is neither a stream nor a file"),
                "write nats://host:4222/STREAM, a file, a folder, or a pattern such as 'events/*.ndjson'",
            ));
        }
        if let Some(format) = options.get("format").filter(|format| !format.eq_ignore_ascii_case("json"))
            && !has_schema(&options)
        {
            return Err(Error::config(
                format!("columns cannot be inferred of format '{format}'"),
                "name the schema of the events: --option schema=FILE, or --option registry=http://HOST:PORT --option \
                 registry_subject=NAME; leave the option out for JSON and for files",
            ));
        }
        if is_stream {
            return Ok(Place { location: text.to_owned(), is_stream, options, stored_as: "NATS" });
        }
        let location = match text.strip_prefix("file://").unwrap_or(text) {
            "-" => "-".to_owned(),
            path => relative_to(dir, path)?,
        };
        Ok(Place { location, is_stream, options, stored_as: "FILE" })
    }

    /// A name for the source: that of the stream or of the files, with letters, digits and `_` only.
    #[must_use]
    pub fn name(&self) -> String {
        let pieces = self.location.split('/').rev().filter(|piece| !piece.is_empty());
        let plain = |piece: &&str| !piece.contains(['*', '?', '[', '{']);
        let piece = pieces.clone().find(plain).unwrap_or("events");
        let stem = if self.is_stream { piece } else { piece.split('.').find(|part| !part.is_empty()).unwrap_or(piece) };
        let safe = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
        let name: String = stem.chars().map(safe).take(100).collect();
        let name = name.trim_matches('_');
        match name.chars().next() {
            None => "events".to_owned(),
            Some(first) if first.is_ascii_digit() => format!("events_{name}"),
            Some(_) => name.to_owned(),
        }
    }

    /// The place as messages show it.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.location
    }

    /// The options to read it with.
    pub(super) fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// Whether its options name a schema, which has the columns.
    pub(super) fn has_schema(&self) -> bool {
        has_schema(&self.options)
    }

    pub(super) fn is_stream(&self) -> bool {
        self.is_stream
    }

    /// Whether empty text is NULL.
    pub(super) fn is_csv(&self) -> bool {
        self.stored_as == "CSV"
    }

    /// Samples its events, half of them from the start and half from the end. Returns the place with what is known of it then.
    pub(super) async fn read(
        &self,
        name: &str,
        sample: u64,
        dir: &Path,
        settings: &Settings,
    ) -> Result<(Place, Payloads), Error> {
        let mut first_error = None;
        for stored_as in self.candidates() {
            let mut place = Place { stored_as, ..self.clone() };
            if place.is_csv() {
                place.find_delimiter(name, dir, settings).await?;
            }
            match place.sampled(name, Wanted::BothEnds(sample), dir, settings).await {
                Ok(payloads) => return Ok((place, payloads)),
                Err(error @ Error::Connector(alluvium_connectors::Error::Config { .. })) => {
                    first_error = first_error.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        Err(first_error.unwrap_or_else(|| Error::bug(format!("{} was never opened", self.location))))
    }

    /// The kinds to try: first the one that the name tells.
    fn candidates(&self) -> Vec<&'static str> {
        if self.is_stream || self.location == "-" {
            return vec![self.stored_as];
        }
        let name = self.location.to_ascii_lowercase();
        let name = name.trim_end_matches(".gz").trim_end_matches(".zst");
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        let told = match () {
            () if ends(&[".csv", ".tsv"]) => "CSV",
            () if ends(&[".parquet"]) => "PARQUET",
            () if ends(&[".avro"]) => "AVRO",
            () if ends(&[".arrow", ".arrows", ".feather", ".ipc"]) => "ARROW",
            () => "JSON",
        };
        // CSV comes late: nearly any text is CSV. FILE is for files of several kinds.
        let others = ["JSON", "PARQUET", "ARROW", "AVRO", "FILE", "CSV"].into_iter().filter(|kind| *kind != told);
        std::iter::once(told).chain(others).collect()
    }

    /// Chooses the delimiter by which the first record has the most fields.
    async fn find_delimiter(&mut self, name: &str, dir: &Path, settings: &Settings) -> Result<(), Error> {
        if self.options.contains_key("delimiter") {
            return Ok(());
        }
        let mut best = (0, DELIMITERS[0]);
        for delimiter in DELIMITERS {
            let mut tried = self.clone();
            tried.options.insert("delimiter".to_owned(), delimiter.to_owned());
            // The error, if it stays, is reported by the sampling.
            let Ok(payloads) = tried.sampled(name, Wanted::First(FIRST_RECORDS), dir, settings).await else { continue };
            let fields =
                payloads.events.first().and_then(|event| serde_json::from_slice::<serde_json::Value>(&event.payload).ok());
            let fields = fields.as_ref().and_then(serde_json::Value::as_object).map_or(0, serde_json::Map::len);
            if fields > best.0 {
                best = (fields, delimiter);
            }
        }
        if best.1 != DELIMITERS[0] {
            self.options.insert("delimiter".to_owned(), best.1.to_owned());
        }
        Ok(())
    }

    async fn sampled(&self, name: &str, wanted: Wanted, dir: &Path, settings: &Settings) -> Result<Payloads, Error> {
        let sql = self.statement(name, COLUMNS, &self.options);
        let config = Project::source(dir, settings, &sql)?;
        let source = sample::open(config, wanted)?;
        Ok(Payloads::of(&sample::read(&source, wanted, settings.source_timeout).await?))
    }

    /// The statement that declares the place with these columns and options beside its own. Nothing in it is secret.
    pub(super) fn declared(&self, name: &str, columns: &str, options: &[(String, String)]) -> String {
        let mut all = self.options.clone();
        all.retain(|option, _| !is_credential(option));
        all.extend(options.iter().cloned());
        self.statement(name, columns, &all)
    }

    /// As [`Place::declared`], with the credentials that are needed to read.
    pub(super) fn statement(&self, name: &str, columns: &str, options: &BTreeMap<String, String>) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let key = |option: &str| {
            let plain = option.split('.').all(|part| written(part) == part && !part.is_empty());
            if plain { option.to_owned() } else { quoted(option) }
        };
        let options: Vec<String> = options.iter().map(|(option, value)| format!("{} {}", key(option), quoted(value))).collect();
        let options = if options.is_empty() { String::new() } else { format!("\nOPTIONS ({})", options.join(", ")) };
        let (name, location) = (written(name), quoted(&self.location));
        format!("CREATE EXTERNAL TABLE {name} ({columns})\nSTORED AS {}\nLOCATION {location}{options};\n", self.stored_as)
    }
}

fn has_schema(options: &BTreeMap<String, String>) -> bool {
    ["schema", "registry_subject"].iter().any(|option| options.get(*option).is_some_and(|named| !named.is_empty()))
}

/// Returns a path, relative to the working directory, as a project in `dir` names it.
fn relative_to(dir: &Path, path: &str) -> Result<String, Error> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|error| Error::io("finding", path, error));
    let (path, dir) = (plain(&absolute(Path::new(path))?), plain(&absolute(dir)?));
    let named = path.strip_prefix(&dir).unwrap_or(&path);
    let named = if named.as_os_str().is_empty() { &path } else { named };
    Ok(named.display().to_string())
}

/// Resolves `..`, as far as names tell.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}
