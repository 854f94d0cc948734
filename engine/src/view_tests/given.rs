//! Sources that hold the events of a test in place of those that the project declares.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use alluvium_connectors::source::scripted::{Envelope, ScriptedBatch, ScriptedSource, Step};
use alluvium_connectors::source::{self, Source, SourceConfig};
use serde_json::Value;

use crate::error::Error;
use crate::project::SAID_IN_SQL;

/// The options that concern how bodies are written. The bodies of a test are JSON, whatever the format of the source.
const OF_FORMATS: &[&str] = &["delimiter", "format", "header", "message", "quote", "schema"];
/// What an event may say of its message, beside its members.
const METADATA: [&str; 3] = ["_subject", "_timestamp", "_headers"];

/// The sources of a test.
pub(super) struct Given {
    by_name: BTreeMap<String, OneSource>,
}

enum OneSource {
    Scripted(ScriptedSource),
    /// Changes of a database: a file, since its reader knows their envelopes.
    File {
        config: Box<SourceConfig>,
        path: PathBuf,
    },
}

/// Events of one source, as they are written in a test.
pub(super) struct Events {
    payloads: Vec<String>,
    envelopes: Vec<Envelope>,
}

impl Given {
    /// Makes a source without events for each declared one. Files lie in `folder`.
    ///
    /// # Errors
    /// A source that cannot be decoded, or the disk's.
    pub(super) fn new(sources: &BTreeMap<String, SourceConfig>, folder: &Path) -> Result<Given, Error> {
        let mut by_name = BTreeMap::new();
        for (name, config) in sources {
            let mut config = config.clone();
            let has_changes =
                config.options.contains_key("envelope") || config.options.get("format").is_some_and(|f| f == "debezium");
            let source = if has_changes {
                let path = folder.join(format!("{name}.jsonl"));
                std::fs::write(&path, "").map_err(|error| Error::io("writing", &path, error))?;
                let is_kept = |option: &str| {
                    SAID_IN_SQL.contains(&option)
                        || ["format", "on_bad_member", "epoch", "null_text"].iter().any(|of| option.starts_with(of))
                };
                config.options.retain(|option, _| is_kept(option));
                config.stored_as = "FILE".to_owned();
                config.location = path.display().to_string();
                OneSource::File { config: Box::new(config), path }
            } else {
                config.options.retain(|option, _| !OF_FORMATS.contains(&option.as_str()));
                OneSource::Scripted(ScriptedSource::new(config)?)
            };
            by_name.insert(name.clone(), source);
        }
        Ok(Given { by_name })
    }

    /// Opens the sources.
    ///
    /// # Errors
    /// A wrong declaration.
    pub(super) fn open(&self) -> Result<Vec<Arc<dyn Source>>, Error> {
        let open = |source: &OneSource| -> Result<Arc<dyn Source>, Error> {
            match source {
                OneSource::Scripted(source) => Ok(Arc::new(source.clone())),
                OneSource::File { config, .. } => Ok(source::open(config.as_ref().clone())?),
            }
        };
        self.by_name.values().map(open).collect()
    }

    /// Reads the events that a test gives to a source.
    ///
    /// # Errors
    /// There is no such source, or it cannot hold such an event, in words.
    pub(super) fn events(&self, source: &str, written: &[Value]) -> Result<Events, String> {
        let Some(held) = self.by_name.get(source) else {
            let names = || self.by_name.keys().map(String::as_str);
            let near = alluvium_sql::nearest(source, names()).map_or_else(String::new, |near| format!("; did you mean {near}?"));
            return Err(format!("`given` names source {source}, which no SQL file declares{near}"));
        };
        let (mut payloads, mut envelopes) = (Vec::new(), Vec::new());
        for (index, event) in written.iter().enumerate() {
            let place = |what: String| format!("event {} of {source}: {what}", index + 1);
            let (payload, envelope) = event_of(event).map_err(place)?;
            let is_file = matches!(held, OneSource::File { .. });
            if is_file && envelope != Envelope::default() {
                return Err(place("changes of a database have no _subject, _timestamp or _headers here".to_owned()));
            }
            if is_file && payload.contains('\n') {
                return Err(place("a change is one line".to_owned()));
            }
            payloads.push(payload);
            envelopes.push(envelope);
        }
        Ok(Events { payloads, envelopes })
    }

    /// Adds events to the end of a source: as one batch, or each as a batch of its own.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn add(&self, source: &str, events: &Events, one_by_one: bool) -> Result<(), Error> {
        match self.by_name.get(source) {
            Some(OneSource::Scripted(scripted)) => {
                let size = if one_by_one { 1 } else { events.payloads.len().max(1) };
                for (payloads, envelopes) in events.payloads.chunks(size).zip(events.envelopes.chunks(size)) {
                    let batch = ScriptedBatch::new(payloads.to_vec());
                    scripted.then(Step::Batch(ScriptedBatch { envelopes: envelopes.to_vec(), ..batch }));
                }
                Ok(())
            }
            Some(OneSource::File { path, .. }) => {
                let lines = events.payloads.iter().fold(String::new(), |mut lines, payload| {
                    let _ = writeln!(lines, "{payload}");
                    lines
                });
                let file = OpenOptions::new().append(true).open(path);
                file.and_then(|mut file| file.write_all(lines.as_bytes())).map_err(|error| Error::io("writing", path, error))
            }
            None => Ok(()),
        }
    }
}

impl Events {
    /// Splits them into groups of at most `size`.
    pub(super) fn groups(self, size: usize) -> Vec<Events> {
        let chunks = self.payloads.chunks(size.max(1)).zip(self.envelopes.chunks(size.max(1)));
        chunks.map(|(payloads, envelopes)| Events { payloads: payloads.to_vec(), envelopes: envelopes.to_vec() }).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.payloads.len()
    }
}

/// The body and the envelope of an event.
fn event_of(written: &Value) -> Result<(String, Envelope), String> {
    let mut members = match written {
        Value::String(body) => return Ok((body.clone(), Envelope::default())),
        Value::Object(members) => members.clone(),
        other => return Err(format!("{other} is neither a mapping nor a text")),
    };
    let [subject, timestamp, headers] = METADATA.map(|name| members.remove(name));
    let mut envelope = Envelope::default();
    if let Some(subject) = subject {
        envelope.subject = Some(subject.as_str().ok_or("_subject is a text")?.to_owned());
    }
    if let Some(timestamp) = timestamp {
        let text = timestamp.as_str().ok_or("_timestamp is a text, such as \"2026-01-02T03:04:05Z\"")?;
        envelope.timestamp_ns =
            Some(arrow::compute::kernels::cast_utils::string_to_timestamp_nanos(text).map_err(|error| error.to_string())?);
    }
    if let Some(headers) = headers {
        let headers = headers.as_object().ok_or("_headers is a mapping of texts")?;
        for (name, value) in headers {
            let value = value.as_str().ok_or_else(|| format!("header {name} is a text"))?;
            envelope.headers.push((name.clone(), value.to_owned()));
        }
    }
    Ok((Value::Object(members).to_string(), envelope))
}
