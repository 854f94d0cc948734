//! A Confluent-compatible schema registry: the schema of a body by the number that the body begins with, and the schemas of a subject. Schemas
//! never change, and each is asked for once.

mod client;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;

use self::client::percent_encoded;
pub(super) use self::client::{Client, OPTIONS, is_declared, subject, unusable};
use super::fault::Fault;
use crate::Error;
use crate::source::SourceConfig;

/// How long it counts that the registry does not have a schema.
const MISSING: Duration = Duration::from_secs(10);
/// The most schemas that one may refer to, and they in turn.
const MOST_REFERENCES: usize = 64;
/// How long it may take to ask for all versions of a subject.
const LOADING: Duration = Duration::from_secs(30);
/// The most versions of a subject that columns are made of.
const MOST_VERSIONS: usize = 100;

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

impl<S> Clone for Known<S> {
    fn clone(&self) -> Known<S> {
        Known { found: self.found.clone(), until: self.until }
    }
}

/// A registry of schemas of one kind, and what it has answered.
pub(super) struct Registry<S> {
    client: Client,
    known: Mutex<HashMap<u32, Known<S>>>,
}

/// Leaves out the schemas.
impl<S> fmt::Debug for Registry<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("client", &self.client).finish_non_exhaustive()
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
        Ok(Client::of(config)?.map(|client| Registry { client, known: Mutex::default() }))
    }

    /// Asks for the schemas of a subject, the newest first. Blocks the thread, for a bounded time. Returns notes on versions that are left out.
    ///
    /// # Errors
    /// As [`Registry::prepare`]; [`Error::Config`] if there is no such subject, or none of its schemas can be used.
    pub(super) fn of_subject(&self, subject: &str) -> Result<(Vec<Arc<S>>, Vec<String>), Error> {
        let end = Instant::now() + LOADING;
        let mut versions = self.client.versions(subject)?;
        versions.sort_unstable_by(|one, other| other.cmp(one));
        let (mut schemas, mut notes) = (Vec::with_capacity(versions.len()), Vec::new());
        if let Some(left_out) = versions.get(MOST_VERSIONS..).filter(|left_out| !left_out.is_empty()) {
            notes.push(format!(
                "{subject}: columns are those of the newest {MOST_VERSIONS} versions; {} are left out",
                left_out.len()
            ));
        }
        for version in versions.into_iter().take(MOST_VERSIONS) {
            if Instant::now() > end {
                return Err(self.client.away("takes too long to tell all versions of a subject"));
            }
            // One that was deleted for good in the meantime is passed over.
            let path = format!("/subjects/{}/versions/{version}", percent_encoded(subject));
            let Some(answer) = self.client.with_deleted(&path)? else { continue };
            match self.schema(&format!("version {version}"), answer)? {
                Ok(schema) => schemas.push(schema),
                Err(reason) => notes.push(format!("{subject}: left out: {reason}")),
            }
        }
        match schemas.is_empty() {
            true => Err(self.client.unusable(subject, &notes.join("; "))),
            false => Ok((schemas, notes)),
        }
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
            let (found, until) = match self.client.ask(&format!("/schemas/ids/{id}"))? {
                Some(answer) => (self.schema(&format!("schema {id}"), answer)?, None),
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

    /// Parses a schema, which messages name so, with those that it refers to.
    fn schema(&self, name: &str, answer: Answer) -> Result<Found<S>, Error> {
        let reason = |reason: String| format!("{name} of the registry: {reason}");
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
                match self.client.ask(&format!("/subjects/{}/versions/{version}", percent_encoded(&subject)))? {
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
}
