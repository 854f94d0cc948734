//! A Confluent-compatible schema registry: the schema of a body by the number that the body begins with. Schemas never change, and each is
//! asked for once.
//!
//! | option | meaning |
//! | --- | --- |
//! | `registry` | its address: `http://host:8081` |
//! | `registry_user`, `registry_password` | who we are; best given in the environment |
//! | `registry_credentials` | a file with `user:password`, relative to the project's folder |

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::fault::Fault;
use crate::Error;
use crate::source::SourceConfig;

const REGISTRY: &str = "registry";
const CREDENTIALS: &str = "registry_credentials";

/// The names of the options.
pub(super) const OPTIONS: [&str; 4] = [REGISTRY, CREDENTIALS, "registry_password", "registry_user"];

/// How long the registry may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long it counts that the registry does not have a schema.
const MISSING: Duration = Duration::from_secs(10);
/// The most schemas that one may refer to, and they in turn.
const MOST_REFERENCES: usize = 64;
/// The largest answer in bytes.
const LARGEST: u64 = 16 << 20;

/// A kind of schemas that a registry holds.
///
/// # Contract
/// - Parsing depends only on the texts, so that a body is read the same whenever its schema is asked for (by its signature).
pub(super) trait Registered: Sized + Send + Sync + 'static {
    /// What the registry calls the kind.
    const KIND: &'static str;
    /// What we call it in messages.
    const NAME: &'static str;
    /// The word of dead letters for a body that is not of its schema.
    const FAULT: &'static str;

    /// Parses the last of several schemas, which may use the others.
    ///
    /// # Errors
    /// Says what is wrong.
    fn parse(texts: &[SchemaText]) -> Result<Self, String>;
}

/// The text of a schema.
#[derive(Debug, Clone)]
pub(super) struct SchemaText {
    /// The name by which other schemas refer to it.
    pub(super) name: String,
    pub(super) text: String,
}

/// What a registry calls schemas of Avro, also where it says nothing.
const AVRO: &str = "AVRO";

/// A schema, or why there is none.
pub(super) type Found<S> = Result<Arc<S>, String>;

/// What is known of a number.
struct Known<S> {
    found: Found<S>,
    /// When to ask again.
    until: Option<Instant>,
}

/// Who we are.
#[derive(Clone)]
enum Credentials {
    None,
    User(String, String),
    File(PathBuf),
}

impl<S> Clone for Known<S> {
    fn clone(&self) -> Known<S> {
        Known { found: self.found.clone(), until: self.until }
    }
}

/// A registry of schemas of one kind, and what it has answered.
pub(super) struct Registry<S> {
    source_name: String,
    url: String,
    credentials: Credentials,
    agent: ureq::Agent,
    known: Mutex<HashMap<u32, Known<S>>>,
}

/// Leaves out the credentials.
impl<S> fmt::Debug for Registry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("url", &self.url).finish_non_exhaustive()
    }
}

/// An answer of the registry.
#[derive(Deserialize)]
struct Answer {
    schema: String,
    #[serde(default, rename = "schemaType")]
    kind: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// A schema that another one refers to.
#[derive(Deserialize)]
struct Reference {
    /// The name by which the schema refers to it.
    #[serde(default)]
    name: String,
    subject: String,
    version: u32,
}

/// Whether a source has a registry.
pub(super) fn is_declared(config: &SourceConfig) -> bool {
    config.options.get(REGISTRY).is_some_and(|url| !url.is_empty())
}

/// Splits a body into the number of its schema and the datum.
///
/// # Errors
/// The body does not begin as one of a registry.
#[inline]
pub(super) fn unframed<S: Registered>(body: &[u8]) -> Result<(u32, &[u8]), Fault> {
    match body.split_first_chunk::<5>() {
        Some(([0, id @ ..], datum)) => Ok((u32::from_be_bytes(*id), datum)),
        _ => {
            let message = "the body does not begin with a zero byte and the number of a schema, as those of a registry do";
            Err(Fault::of_payload(S::FAULT, message.into()).at(body.as_ptr().addr()))
        }
    }
}

impl<S: Registered> Registry<S> {
    /// Reads the options of a source. Returns `None` if it has no registry. Asks nothing.
    ///
    /// # Errors
    /// [`Error::Config`] with the option, never with a credential.
    pub(super) fn of(config: &SourceConfig) -> Result<Option<Registry<S>>, Error> {
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
        Ok(Some(Registry {
            source_name: config.name.clone(),
            url: url.trim_end_matches('/').to_owned(),
            credentials,
            agent: settings.build().new_agent(),
            known: Mutex::default(),
        }))
    }

    /// Asks for the schemas of bodies that are not known yet. Blocks the thread.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the registry does not answer; [`Error::Config`] if it refuses us.
    pub(super) fn prepare(&self, bodies: &[&[u8]]) -> Result<(), Error> {
        let mut last = None;
        for (id, _) in bodies.iter().filter_map(|body| unframed::<S>(body).ok()) {
            if last == Some(id) {
                continue;
            }
            last = Some(id);
            // The lock is not held while asking: others then ask too, and get the same answer.
            let known = self.known().get(&id).cloned();
            if known.is_some_and(|known| known.until.is_none_or(|until| Instant::now() < until)) {
                continue;
            }
            let (found, until) = match self.ask(&format!("/schemas/ids/{id}"))? {
                Some(answer) => (self.schema(id, answer)?, None),
                None => (Err(format!("the registry has no schema {id}")), Some(Instant::now() + MISSING)),
            };
            self.known().insert(id, Known { found, until });
        }
        Ok(())
    }

    /// Returns what is known of the schemas of bodies, after [`Registry::prepare`].
    pub(super) fn schemas(&self, bodies: &[&[u8]]) -> HashMap<u32, Found<S>> {
        let known = self.known();
        let mut schemas: HashMap<u32, Found<S>> = HashMap::new();
        for (id, _) in bodies.iter().filter_map(|body| unframed::<S>(body).ok()) {
            schemas.entry(id).or_insert_with(|| match known.get(&id) {
                Some(known) => known.found.clone(),
                None => Err(format!("schema {id} was not asked for")),
            });
        }
        schemas
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<u32, Known<S>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parses a schema with those that it refers to.
    fn schema(&self, id: u32, answer: Answer) -> Result<Found<S>, Error> {
        let reason = |reason: String| format!("schema {id} of the registry: {reason}");
        let kind = answer.kind.as_deref().unwrap_or(AVRO);
        if !kind.eq_ignore_ascii_case(S::KIND) {
            return Ok(Err(reason(format!("it is one of {kind}, not of {}", S::NAME))));
        }
        let mut texts: Vec<SchemaText> = Vec::new();
        // Those that are referred to come first in `texts`, the schema itself last.
        let mut waiting = vec![(String::new(), answer, false)];
        let mut asked = 0;
        while let Some((name, mut answer, referred)) = waiting.pop() {
            if referred || answer.references.is_empty() {
                texts.push(SchemaText { name, text: answer.schema });
                continue;
            }
            let references = std::mem::take(&mut answer.references);
            waiting.push((name, answer, true));
            for Reference { name, subject, version } in references.into_iter().rev() {
                asked += 1;
                if asked > MOST_REFERENCES {
                    return Ok(Err(reason(format!("it refers to more than {MOST_REFERENCES} others"))));
                }
                match self.ask(&format!("/subjects/{}/versions/{version}", percent_encoded(&subject)))? {
                    Some(answer) => waiting.push((name, answer, false)),
                    None => {
                        return Ok(Err(reason(format!(
                            "it refers to version {version} of {subject}, which the registry has not"
                        ))));
                    }
                }
            }
        }
        Ok(S::parse(&texts).map(Arc::new).map_err(reason))
    }

    /// Asks the registry. Returns `None` if it has no such thing.
    fn ask(&self, path: &str) -> Result<Option<Answer>, Error> {
        let away = |message: String| Error::Unavailable {
            source_name: self.source_name.clone(),
            message: format!("the schema registry at {} {message}", self.url),
        };
        let mut request = self.agent.get(format!("{}{path}", self.url));
        if let Some(authorization) = self.authorization()? {
            request = request.header("Authorization", authorization);
        }
        let mut response = request.call().map_err(|error| away(format!("does not answer: {error}")))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            401 | 403 => {
                return Err(Error::Config {
                    message: format!("source {}: the schema registry at {} refuses us", self.source_name, self.url),
                    help: Some(
                        "check 'registry_user' and 'registry_password', or the file that 'registry_credentials' names".into(),
                    ),
                });
            }
            status => return Err(away(format!("answers with status {status}"))),
        }
        let text = response.body_mut().with_config().limit(LARGEST).read_to_string();
        let text = text.map_err(|error| away(format!("breaks off its answer: {error}")))?;
        serde_json::from_str(&text).map(Some).map_err(|error| away(format!("answers with something else than a schema: {error}")))
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

/// Escapes what a path cannot hold.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
