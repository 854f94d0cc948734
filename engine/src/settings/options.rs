//! Merges the options of sources from all places. From strong to weak:
//!
//! 1. `ALLUVIUM_SOURCE_<NAME>_<OPTION>`
//! 2. `ALLUVIUM_NATS_<OPTION>`, for every NATS source
//! 3. `[sources.<name>]` of alluvium.toml
//! 4. `OPTIONS (...)` of the SQL text
//! 5. `[nats]` of alluvium.toml, for every NATS source
//!
//! A source uses one kind of credentials: creds, user and password, token, or nkey. Where a stronger place names a kind, the other kinds
//! of weaker places are ignored. File names in SQL text and alluvium.toml are relative to the project's folder, those in the environment
//! to the working directory.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use config::{Map, Value, ValueKind};

use super::keys;

/// Options that name a file.
const FILES: &[&str] = &["creds", "tls_ca", "tls_cert", "tls_key"];
/// The kinds of credentials, each with its options.
const CREDENTIALS: &[&[&str]] = &[&["creds"], &["user", "password"], &["token"], &["nkey"]];

/// The credentials for a schema registry.
const REGISTRY_CREDENTIALS: &[&str] = &["registry_credentials", "registry_password", "registry_user"];

/// Whether an option says who we are.
#[must_use]
pub fn is_credential(option: &str) -> bool {
    CREDENTIALS.iter().any(|way| way.contains(&option)) || REGISTRY_CREDENTIALS.contains(&option)
}

/// Options of sources from alluvium.toml and the environment. `Debug` prints names without values.
#[derive(Clone, Default)]
pub struct SourceSettings {
    nats: BTreeMap<String, String>,
    sources: BTreeMap<String, BTreeMap<String, String>>,
    environment_nats: BTreeMap<String, String>,
    /// By the names of source and option in upper case: `ORDERS_PASSWORD`.
    environment_sources: BTreeMap<String, String>,
}

impl fmt::Debug for SourceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |options: &BTreeMap<String, String>| options.keys().cloned().collect::<Vec<_>>();
        let sources: BTreeMap<_, _> = self.sources.iter().map(|(source, options)| (source, names(options))).collect();
        f.debug_struct("SourceSettings")
            .field("nats", &names(&self.nats))
            .field("sources", &sources)
            .field("environment_nats", &names(&self.environment_nats))
            .field("environment_sources", &names(&self.environment_sources))
            .finish()
    }
}

impl SourceSettings {
    /// Adds `[nats]` and `[sources.*]`.
    pub(super) fn add_file(&mut self, merged: &Map<String, Value>) {
        self.nats = table(merged.get("nats"));
        if let Some(ValueKind::Table(sources)) = merged.get("sources").map(|value| &value.kind) {
            self.sources = sources.iter().map(|(source, options)| (source.clone(), table(Some(options)))).collect();
        }
    }

    /// Adds the environment variables of sources.
    pub(super) fn add_environment(&mut self, environment: &BTreeMap<String, String>) {
        for (variable, value) in environment.iter().filter(|(_, value)| !value.is_empty()) {
            if let Some(option) = variable.strip_prefix(keys::NATS_PREFIX) {
                self.environment_nats.insert(option.to_ascii_lowercase(), value.clone());
            } else if let Some(rest) = variable.strip_prefix(keys::SOURCE_PREFIX) {
                self.environment_sources.insert(rest.to_owned(), value.clone());
            }
        }
    }

    /// The sources that alluvium.toml names.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.sources.keys().map(String::as_str)
    }

    /// Returns the location and the options of a source, merged with those of its SQL text. `all` are the names of all sources: a
    /// variable belongs to the source with the longest name that fits.
    #[must_use]
    pub fn merge<'a>(
        &self,
        source: &alluvium_sql::Source,
        all: impl IntoIterator<Item = &'a str>,
        dir: &Path,
    ) -> (String, BTreeMap<String, String>) {
        let nats = source.stored_as.eq_ignore_ascii_case("NATS");
        let absolute = |options: &BTreeMap<String, String>| -> BTreeMap<String, String> {
            options
                .iter()
                .map(|(name, value)| {
                    (name.to_ascii_lowercase(), if FILES.contains(&name.as_str()) { beside(dir, value) } else { value.clone() })
                })
                .collect()
        };
        let none = BTreeMap::new();
        let mut merged = if nats { absolute(&self.nats) } else { BTreeMap::new() };
        let own =
            self.sources.iter().find(|(name, _)| name.eq_ignore_ascii_case(&source.name)).map_or(&none, |(_, options)| options);
        lay_over(&mut merged, absolute(&source.options));
        lay_over(&mut merged, absolute(own));
        if nats {
            lay_over(&mut merged, self.environment_nats.clone());
        }
        lay_over(&mut merged, self.environment_of(&source.name, all));

        let mut location = merged.remove("location").unwrap_or_else(|| source.location.clone());
        if let Some(url) = merged.remove("url").filter(|_| nats) {
            location = replace_server(&location, &url);
        }
        if !nats {
            location = file_location(&location);
        }
        (location, merged)
    }

    /// Returns the options of a source that is not declared yet, where they are those of a schema registry: `options` with those of
    /// alluvium.toml and the environment over them.
    #[must_use]
    pub(crate) fn with_registry(&self, source: &str, options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut merged = options.clone();
        let own =
            self.sources.iter().filter(|(name, _)| name.eq_ignore_ascii_case(source)).flat_map(|(_, options)| options.clone());
        let stronger = own.chain(self.environment_of(source, [source]));
        merged.extend(stronger.filter(|(option, _)| option.starts_with("registry")));
        merged
    }

    fn environment_of<'a>(&self, source: &str, all: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
        let all: Vec<String> = all.into_iter().map(variable_part).collect();
        let own = variable_part(source);
        let longest = |rest: &str| all.iter().filter(|name| option_of(rest, name).is_some()).max_by_key(|name| name.len());
        let options = self.environment_sources.iter().filter_map(|(rest, value)| {
            (longest(rest) == Some(&own)).then_some(())?;
            Some((option_of(rest, &own)?.to_ascii_lowercase(), value.clone()))
        });
        options.collect()
    }
}

/// Returns the option in the rest of a variable's name: `PASSWORD` in `ORDERS_PASSWORD` for source `ORDERS`.
fn option_of<'a>(rest: &'a str, source: &str) -> Option<&'a str> {
    rest.strip_prefix(source)?.strip_prefix('_').filter(|option| !option.is_empty())
}

/// Returns a source's name as it is written in variables.
fn variable_part(source: &str) -> String {
    source.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }).collect()
}

fn table(value: Option<&Value>) -> BTreeMap<String, String> {
    match value.map(|value| &value.kind) {
        Some(ValueKind::Table(table)) => table.iter().map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect(),
        _ => BTreeMap::new(),
    }
}

/// Writes a value as the text of an option. A list becomes text with commas.
fn text(value: &Value) -> String {
    match &value.kind {
        ValueKind::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        _ => value.to_string(),
    }
}

fn lay_over(merged: &mut BTreeMap<String, String>, stronger: BTreeMap<String, String>) {
    let way = |options: &BTreeMap<String, String>| {
        CREDENTIALS.iter().position(|names| names.iter().any(|name| options.contains_key(*name)))
    };
    if let Some(chosen) = way(&stronger) {
        for (index, names) in CREDENTIALS.iter().enumerate() {
            if index != chosen {
                merged.retain(|name, _| !names.contains(&name.as_str()));
            }
        }
    }
    merged.extend(stronger);
}

fn beside(dir: &Path, path: &str) -> String {
    if path.is_empty() { String::new() } else { dir.join(path).to_string_lossy().into_owned() }
}

/// Returns the location of a FILE source as it is written: files are known by their path from the project's folder.
fn file_location(location: &str) -> String {
    location.strip_prefix("file://").unwrap_or(location).to_owned()
}

/// Replaces the server of a location such as `nats://there:4222/ORDERS` by `url`, which may omit `nats://`.
fn replace_server(location: &str, url: &str) -> String {
    let rest = location.split_once("://").map_or(location, |(_, rest)| rest);
    let stream = rest.split_once('/').map_or("", |(_, stream)| stream);
    let url = url.trim_end_matches('/');
    let scheme = if url.contains("://") { "" } else { "nats://" };
    format!("{scheme}{url}/{stream}")
}
