//! Settings: `alluvium.toml`, the environment and the defaults, merged, checked and typed.
//!
//! The environment overrides the file, and the file overrides the defaults, which [`keys`] lists. Options of sources are kept as text;
//! [`options`] merges them with those of the SQL text.

pub mod keys;
pub mod memory_limit;
pub mod options;
mod place;
pub mod serve;
pub mod set_aside;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use alluvium_sql::{Errors, MaxDeadLetters, OnError, nearest};
use config::{Config, File, FileFormat, Source as _, Value, ValueKind};

use crate::error::Error;
use keys::KEYS;
use memory_limit::MemoryLimit;
pub use options::is_credential;
use place::TomlFile;

/// The name of the settings file in a project's folder.
pub const FILE: &str = "alluvium.toml";

/// All settings of a project. Each has a default.
#[derive(Clone)]
pub struct Settings {
    /// The data folder.
    pub data: PathBuf,
    /// How often changes are committed.
    pub commit_interval: Duration,
    /// How many old snapshots of each view are kept.
    pub snapshots_kept: usize,
    /// An old snapshot is kept at least this long.
    pub snapshots_min_age: Duration,
    /// The address of the HTTP server; `None` if it is off.
    pub http: Option<SocketAddr>,
    /// Whether the user chose `http`. If so, a taken port is an error rather than a warning.
    pub http_chosen: bool,
    /// What to do when a stream is not that of the checkpoint, or has lost events that were not read yet.
    pub on_stream_change: OnStreamChange,
    /// How much a view may set aside, where neither it nor its source says so.
    pub tolerance: set_aside::Tolerance,
    /// How long a run may take to commit after it is told to stop.
    pub shutdown_timeout: Duration,
    /// How long a run that ends by itself waits for a source that does not answer.
    pub source_timeout: Duration,
    /// How much memory the process may take.
    pub memory_limit: MemoryLimit,
    /// How often a run verifies all views; `None` for never.
    pub verify_interval: Option<Duration>,
    /// How many served queries run at once.
    pub max_queries: usize,
    /// How long a served query may take.
    pub query_timeout: Duration,
    /// How much memory served queries may take together.
    pub query_memory: MemoryLimit,
    /// The servers beside HTTP.
    pub serve: serve::Serve,
    /// The largest number of events in a micro-batch.
    pub batch_events: usize,
    /// The largest number of bytes of bodies in a micro-batch.
    pub batch_bytes: usize,
    /// Options of sources from the file and the environment. Values may be secret.
    pub sources: options::SourceSettings,
}

/// What to do when a stream has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStreamChange {
    /// Views that read it stop with an error.
    Stop,
    /// Views that read it are rebuilt from the first event that the stream has.
    Rebuild,
}

/// What overrides the file: the command line, and the environment at the start of the program.
#[derive(Clone, Default)]
pub struct Overrides {
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--http`.
    pub http: Option<String>,
    /// Every environment variable whose name begins with `ALLUVIUM_`.
    pub environment: BTreeMap<String, String>,
}

impl Overrides {
    /// Reads the environment variables of this process.
    #[must_use]
    pub fn from_environment() -> Overrides {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Overrides { environment: variables.filter(|(name, _)| name.starts_with(keys::PREFIX)).collect(), ..Overrides::default() }
    }
}

impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.keys().collect();
        f.debug_struct("Overrides").field("data", &self.data).field("http", &self.http).field("environment", &names).finish()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("data", &self.data)
            .field("commit_interval", &self.commit_interval)
            .field("snapshots_kept", &self.snapshots_kept)
            .field("snapshots_min_age", &self.snapshots_min_age)
            .field("http", &self.http)
            .field("on_stream_change", &self.on_stream_change)
            .field("tolerance", &self.tolerance)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .field("source_timeout", &self.source_timeout)
            .field("memory_limit", &self.memory_limit)
            .field("verify_interval", &self.verify_interval)
            .field("serve", &self.serve)
            .field("max_queries", &self.max_queries)
            .field("query_timeout", &self.query_timeout)
            .field("query_memory", &self.query_memory)
            .field("batch_events", &self.batch_events)
            .field("batch_bytes", &self.batch_bytes)
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl Settings {
    /// Returns the settings of `dir` without a file and an environment.
    ///
    /// # Errors
    /// None in practice: the defaults are tested.
    pub fn defaults(dir: &Path) -> Result<Settings, Error> {
        Settings::parse(dir, None, &Overrides::default())
    }

    /// Reads the settings file of `dir`, if there is one, and merges it with `overrides` and the defaults.
    ///
    /// # Errors
    /// An unknown name or a wrong value, with its place; or the disk fails.
    pub fn load(dir: &Path, overrides: &Overrides) -> Result<Settings, Error> {
        let path = dir.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Settings::parse(dir, Some(TomlFile::new(&path, text)?), overrides),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Settings::parse(dir, None, overrides),
            Err(error) => Err(Error::io("reading", path, error)),
        }
    }

    fn parse(dir: &Path, file: Option<TomlFile>, overrides: &Overrides) -> Result<Settings, Error> {
        if let Some(file) = &file {
            check_names(file)?;
        }
        let variables = variables(overrides)?;
        let mut builder = Config::builder();
        for key in KEYS {
            builder = builder.set_default(key.name, key.default).map_err(bug)?;
        }
        if let Some(file) = &file {
            builder = builder.add_source(File::from_str(file.text(), FileFormat::Toml));
        }
        for (key, value) in &variables {
            builder = builder.set_override(*key, value.as_str()).map_err(bug)?;
        }
        let merged = builder
            .build()
            .and_then(|config| config.collect())
            .map_err(|error| Error::config(error.to_string(), "see alluvium.toml"))?;
        let read = Values { merged: &merged, file: file.as_ref(), variables: &variables };

        let (data, data_chosen) = read.text("data")?;
        let data = match (&overrides.data, data_chosen) {
            (Some(data), _) => data.clone(),
            (None, Origin::Environment) => PathBuf::from(data),
            (None, _) => dir.join(data),
        };
        let (http, http_chosen) = match &overrides.http {
            Some(text) => (parse_http(text).map_err(|help| Error::config(format!("--http {text}: not an address"), help))?, true),
            None => (read.parsed("http", parse_http)?, read.text("http")?.1 != Origin::Default),
        };
        let mut sources = options::SourceSettings::default();
        sources.add_file(&merged);
        sources.add_environment(&overrides.environment);
        Ok(Settings {
            data,
            commit_interval: read.parsed("commit_interval", positive_duration)?,
            snapshots_kept: read.parsed("snapshots_kept", |text| number(text, 0))?,
            snapshots_min_age: read.parsed("snapshots_min_age", duration)?,
            http,
            http_chosen,
            on_stream_change: read.parsed("on_stream_change", |text| match text {
                "stop" => Ok(OnStreamChange::Stop),
                "rebuild" => Ok(OnStreamChange::Rebuild),
                _ => Err("write \"stop\" or \"rebuild\"".into()),
            })?,
            tolerance: set_aside::Tolerance {
                on_error: read
                    .parsed("on_error", |text| OnError::parse(text).ok_or_else(|| format!("write {}", OnError::WRITE)))?,
                max_dead_letters: read.parsed("max_dead_letters", |text| {
                    MaxDeadLetters::parse(text).ok_or_else(|| format!("write {}", MaxDeadLetters::WRITE))
                })?,
            },
            shutdown_timeout: read.parsed("shutdown_timeout", duration)?,
            source_timeout: read.parsed("source_timeout", duration)?,
            memory_limit: read
                .parsed("memory_limit", |text| MemoryLimit::parse(text).ok_or_else(|| format!("write {}", MemoryLimit::WRITE)))?,
            verify_interval: read.parsed("verify_interval", |text| match text {
                "off" => Ok(None),
                text => positive_duration(text).map(Some),
            })?,
            serve: serve::Serve::read(&merged, &overrides.environment, dir).map_err(|(key, help)| {
                let message = format!("serve.{key} cannot be used");
                match &file {
                    Some(file) if file.has(&["serve", key]) => {
                        Error::Settings(Errors(vec![file.error(&["serve", key], message, Some(help))]))
                    }
                    _ => Error::config(message, help),
                }
            })?,
            max_queries: read.parsed("max_queries", |text| number(text, 1))?,
            query_timeout: read.parsed("query_timeout", positive_duration)?,
            query_memory: read.parsed("query_memory", |text| {
                MemoryLimit::parse(text).ok_or_else(|| "write query_memory = \"256 MB\", \"10%\" or \"off\"".to_owned())
            })?,
            batch_events: read.parsed("batch_events", |text| number(text, 1))?,
            batch_bytes: read.parsed("batch_bytes", |text| number(text, 1))?,
            sources,
        })
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Default,
    File,
    Environment,
}

/// The merged values, with what is needed to point at a wrong one.
struct Values<'a> {
    merged: &'a config::Map<String, Value>,
    file: Option<&'a TomlFile>,
    variables: &'a BTreeMap<&'static str, String>,
}

impl Values<'_> {
    fn text(&self, name: &str) -> Result<(String, Origin), Error> {
        let origin = if self.variables.contains_key(name) {
            Origin::Environment
        } else if self.file.is_some_and(|file| file.has(&[name])) {
            Origin::File
        } else {
            Origin::Default
        };
        let Some(value) = self.merged.get(name) else { return Err(Error::bug(format!("setting {name} has no default"))) };
        let text = match &value.kind {
            ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil => {
                return Err(self.wrong(
                    name,
                    format!("{name} is neither text nor a number"),
                    format!("write for instance {}", keys::example(name)),
                ));
            }
            _ => value.to_string(),
        };
        Ok((text, origin))
    }

    fn parsed<T>(&self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Error> {
        let (text, _) = self.text(name)?;
        parse(text.trim()).map_err(|help| self.wrong(name, format!("{name} cannot be '{text}'"), help))
    }

    fn wrong(&self, name: &str, message: String, help: String) -> Error {
        match self.file {
            Some(file) if !self.variables.contains_key(name) && file.has(&[name]) => {
                Error::Settings(Errors(vec![file.error(&[name], message, Some(help))]))
            }
            _ => Error::config(format!("environment variable {}: {message}", keys::variable(name)), help),
        }
    }
}

/// Refuses unknown names, and suggests the nearest known one.
fn check_names(file: &TomlFile) -> Result<(), Error> {
    let known = |name: &str| KEYS.iter().any(|key| key.name == name) || keys::TABLES.contains(&name);
    let names = || KEYS.iter().map(|key| key.name).chain(keys::TABLES.iter().copied());
    let mut errors = Vec::new();
    for name in file.names(&[]) {
        if !known(&name) {
            let help = nearest(&name, names())
                .map_or_else(|| format!("known are: {}", names().collect::<Vec<_>>().join(", ")), did_you_mean);
            errors.push(file.error(&[&name], format!("there is no setting '{name}'"), Some(help)));
        }
    }
    for table in keys::TABLES.iter().filter(|table| file.has(&[table]) && !file.is_table(&[table])) {
        errors.push(file.error(
            &[table],
            format!("{table} is not a table"),
            Some(format!("write [{table}] on a line of its own, and its keys below it")),
        ));
    }
    for name in file.names(&["nats"]) {
        if !keys::NATS.contains(&name.as_str()) {
            let known = || keys::NATS.iter().copied();
            let help = nearest(&name, known()).map_or_else(|| format!("known are: {}", keys::NATS.join(", ")), did_you_mean);
            errors.push(file.error(&["nats", &name], format!("there is no setting '{name}' in [nats]"), Some(help)));
        }
    }
    for name in file.names(&["serve"]) {
        if !keys::SERVE.contains(&name.as_str()) {
            let help = nearest(&name, keys::SERVE.iter().copied())
                .map_or_else(|| format!("known are: {}", keys::SERVE.join(", ")), did_you_mean);
            errors.push(file.error(&["serve", &name], format!("there is no setting '{name}' in [serve]"), Some(help)));
        }
    }
    for source in file.names(&["sources"]) {
        if !file.is_table(&["sources", &source]) {
            let help = format!("write [sources.{source}] on a line of its own, and its options below it");
            errors.push(file.error(&["sources", &source], format!("sources.{source} is not a table"), Some(help)));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::Settings(Errors(errors))) }
}

/// Returns the settings in the environment. Refuses a misspelt variable. Ignores other unknown ones, since the surroundings may set
/// variables with our prefix: Kubernetes sets ALLUVIUM_SERVICE_HOST for a service called alluvium.
fn variables(overrides: &Overrides) -> Result<BTreeMap<&'static str, String>, Error> {
    let mut values = BTreeMap::new();
    for (variable, value) in &overrides.environment {
        if let Some(key) = KEYS.iter().find(|key| keys::variable(key.name) == *variable) {
            if !value.is_empty() {
                values.insert(key.name, value.clone());
            }
        } else if !keys::is_known_variable(variable) {
            let known = keys::all_variables();
            if let Some(near) =
                nearest(variable.trim_start_matches(keys::PREFIX), known.iter().map(|name| name.trim_start_matches(keys::PREFIX)))
            {
                return Err(Error::config(
                    format!("environment variable {variable} is not known"),
                    did_you_mean(&format!("{}{near}", keys::PREFIX)),
                ));
            }
            tracing::debug!(variable, "ignored: not a variable of Alluvium");
        }
    }
    Ok(values)
}

fn did_you_mean(name: &str) -> String {
    format!("did you mean {name}?")
}

fn duration(text: &str) -> Result<Duration, String> {
    alluvium_sql::duration(text)
        .ok_or_else(|| "write a length of time with its unit: \"1 second\", \"200ms\", \"5 minutes\"".into())
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("write a length of time above zero, for instance \"50ms\"".into()),
        duration => Ok(duration),
    }
}

fn number(text: &str, least: usize) -> Result<usize, String> {
    match text.replace('_', "").parse::<usize>() {
        Ok(number) if number >= least => Ok(number),
        _ => Err(format!("write a whole number, {least} or more")),
    }
}

fn parse_http(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    let address = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    address.map(Some).ok_or_else(|| "write an address and a port, \"127.0.0.1:9464\", or \"off\"".into())
}

fn bug(error: config::ConfigError) -> Error {
    Error::bug(format!("settings: {error}"))
}
