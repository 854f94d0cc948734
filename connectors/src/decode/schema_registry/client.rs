//! Asks a schema registry over HTTP: who we are, what counts as an answer, and what is known of a subject. Knows no kind of schemas.
//!
//! | option | meaning |
//! | --- | --- |
//! | `registry` | its address: `http://host:8081` |
//! | `registry_subject` | the subject whose schemas the bodies are of: columns and the rule of compatibility are taken from it |
//! | `registry_user`, `registry_password` | who we are; best given in the environment |
//! | `registry_credentials` | a file with `user:password`, relative to the project's folder |

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::Error;
use crate::source::SourceConfig;

const REGISTRY: &str = "registry";
const SUBJECT: &str = "registry_subject";
const CREDENTIALS: &str = "registry_credentials";

/// The names of the options.
pub(crate) const OPTIONS: [&str; 5] = [REGISTRY, CREDENTIALS, "registry_password", SUBJECT, "registry_user"];

/// How long the registry may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer in bytes.
const LARGEST: u64 = 16 << 20;
/// The most subjects that an error names.
const MOST_NAMED: usize = 8;

/// Who we are.
#[derive(Clone)]
enum Credentials {
    None,
    User(String, String),
    File(PathBuf),
}

/// A registry, and how it is asked.
pub(crate) struct Client {
    source_name: String,
    url: String,
    credentials: Credentials,
    agent: ureq::Agent,
}

/// Leaves out the credentials.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

/// What a change of the schemas of a subject has to leave possible, as the registry calls it.
#[derive(Deserialize)]
struct Level {
    #[serde(rename = "compatibilityLevel", alias = "compatibility", default)]
    level: Option<String>,
}

/// Whether a source has a registry.
pub(crate) fn is_declared(config: &SourceConfig) -> bool {
    config.options.get(REGISTRY).is_some_and(|url| !url.is_empty())
}

/// Returns the subject whose schemas the bodies of a source are of.
pub(crate) fn subject(config: &SourceConfig) -> Option<&str> {
    config.options.get(SUBJECT).map(String::as_str).filter(|subject| !subject.is_empty())
}

impl Client {
    /// Reads the options of a source. Returns `None` if it has no registry. Asks nothing.
    ///
    /// # Errors
    /// [`Error::Config`] with the option, never with a credential.
    pub(crate) fn of(config: &SourceConfig) -> Result<Option<Client>, Error> {
        let wrong = |message: &str, help: &str| Error::Config {
            message: format!("source {}: {message}", config.name),
            help: Some(help.to_owned()),
        };
        let option = |name: &str| config.options.get(name).filter(|value| !value.is_empty());
        let Some(url) = option(REGISTRY) else {
            return match OPTIONS.iter().find(|name| option(name).is_some()) {
                Some(name) => {
                    Err(wrong(&format!("option '{name}' is one of a registry"), "give its address in option 'registry'"))
                }
                None => Ok(None),
            };
        };
        if url.contains('@') {
            let help = "give them in ALLUVIUM_SOURCE_<NAME>_REGISTRY_USER and _REGISTRY_PASSWORD, or in a file that option \
                        'registry_credentials' names";
            return Err(wrong("option 'registry' holds credentials", help));
        }
        if !url.starts_with("http://") {
            return Err(wrong(
                "option 'registry' does not begin with http://",
                "write 'http://host:8081'; TLS is not supported here",
            ));
        }
        let credentials = match (option("registry_user"), option("registry_password"), option(CREDENTIALS)) {
            (Some(user), Some(password), None) => Credentials::User(user.clone(), password.clone()),
            (None, None, Some(file)) => Credentials::File(config.folder.join(file)),
            (None, None, None) => Credentials::None,
            _ => {
                let help = "give 'registry_user' and 'registry_password', or 'registry_credentials'";
                return Err(wrong("the credentials of the registry are not whole, or given twice", help));
            }
        };
        let settings =
            ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).proxy(None).max_redirects(0);
        Ok(Some(Client {
            source_name: config.name.clone(),
            url: url.trim_end_matches('/').to_owned(),
            credentials,
            agent: settings.build().new_agent(),
        }))
    }

    /// Asks for a path. Returns `None` if the registry has no such thing.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it does not answer; [`Error::Config`] if it refuses us.
    pub(crate) fn ask<A: DeserializeOwned>(&self, path: &str) -> Result<Option<A>, Error> {
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(authorization) = self.authorization()? {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(|error| self.away(&format!("does not answer: {error}")))?;
        match response.status().as_u16() {
            200 => {}
            // The last two: it has no such question.
            404 | 405 | 501 => return Ok(None),
            401 | 403 => {
                return Err(Error::Config {
                    message: format!("source {}: the schema registry at {} refuses us", self.source_name, self.url),
                    help: Some(
                        "check 'registry_user' and 'registry_password', or the file that 'registry_credentials' names".into(),
                    ),
                });
            }
            status => return Err(self.away(&format!("answers with status {status}"))),
        }
        let text = response.body_mut().with_config().limit(LARGEST).read_to_string();
        let text = text.map_err(|error| self.away(&format!("breaks off its answer: {error}")))?;
        let read = serde_json::from_str(&text).map(Some);
        read.map_err(|error| self.away(&format!("answers with something else than a schema: {error}")))
    }

    /// Returns the numbers of the versions of a subject, with those that were deleted where the registry tells them: the stream may hold bodies
    /// of these.
    ///
    /// # Errors
    /// As [`Client::ask`]; [`Error::Config`] if the registry does not have the subject.
    pub(crate) fn versions(&self, subject: &str) -> Result<Vec<u32>, Error> {
        let found: Option<Vec<u32>> = self.with_deleted(&format!("/subjects/{}/versions", percent_encoded(subject)))?;
        if let Some(found) = found.filter(|found| !found.is_empty()) {
            return Ok(found);
        }
        let subjects: Vec<String> = self.ask("/subjects")?.unwrap_or_default();
        let has = match subjects.len() {
            0 => "it has none".to_owned(),
            all => {
                let named = subjects.iter().take(MOST_NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
                if all > MOST_NAMED { format!("it has {named} and {} more", all - MOST_NAMED) } else { format!("it has {named}") }
            }
        };
        Err(unusable_of(&self.source_name, subject, &format!("the schema registry at {} has no such subject; {has}", self.url)))
    }

    /// Says what is wrong with the schemas of a subject.
    pub(crate) fn unusable(&self, subject: &str, reason: &str) -> Error {
        unusable_of(&self.source_name, subject, reason)
    }

    /// Asks for a path of a subject that may have been deleted.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) fn with_deleted<A: DeserializeOwned>(&self, path: &str) -> Result<Option<A>, Error> {
        match self.ask(&format!("{path}?deleted=true"))? {
            Some(found) => Ok(Some(found)),
            None => self.ask(path),
        }
    }

    /// Returns what a change of the schemas of a subject has to leave possible, in the registry's word: its own setting, or else that of all
    /// subjects. None if the registry has neither.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(crate) fn compatibility(&self, subject: &str) -> Result<Option<String>, Error> {
        for path in [format!("/config/{}", percent_encoded(subject)), "/config".to_owned()] {
            match self.ask::<Level>(&path) {
                Ok(Some(Level { level: Some(level) })) => return Ok(Some(level)),
                // Who may read schemas need not be allowed to read this.
                Ok(_) | Err(Error::Config { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Says that the registry cannot be asked for now.
    pub(crate) fn away(&self, message: &str) -> Error {
        Error::Unavailable {
            source_name: self.source_name.clone(),
            message: format!("the schema registry at {} {message}", self.url),
        }
    }

    fn authorization(&self) -> Result<Option<String>, Error> {
        let pair = match &self.credentials {
            Credentials::None => return Ok(None),
            Credentials::User(user, password) => format!("{user}:{password}"),
            Credentials::File(path) => {
                let read = fs::read_to_string(path).map_err(|error| error.to_string());
                let pair = read.and_then(|text| match text.trim() {
                    pair if pair.contains(':') && !pair.contains('\n') => Ok(pair.to_owned()),
                    _ => Err("it does not hold one line 'user:password'".to_owned()),
                });
                pair.map_err(|reason| Error::Config {
                    message: format!("source {}: option '{CREDENTIALS}': {}: {reason}", self.source_name, path.display()),
                    help: Some("write a file with one line 'user:password'".into()),
                })?
            }
        };
        Ok(Some(format!("Basic {}", STANDARD.encode(pair))))
    }
}

/// Says what is wrong with the schemas of the subject of a source.
pub(crate) fn unusable(config: &SourceConfig, reason: &str) -> Error {
    unusable_of(&config.name, subject(config).unwrap_or_default(), reason)
}

fn unusable_of(source: &str, subject: &str, reason: &str) -> Error {
    Error::Config {
        message: format!("source {source}: option '{SUBJECT}': {subject}: {reason}"),
        help: Some("name a subject of the registry whose schemas can be used, or declare the columns".into()),
    }
}

/// Escapes what a path cannot hold.
pub(super) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
