//! The options of an event store, and its stream.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};

use super::aggregate::check_token;
use super::error::StoreError;
use super::headers::HeaderNames;

/// How an event store writes and reads.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The stream. It is created if it does not exist.
    pub stream: String,
    /// The first part of the events' subjects: `<prefix>.<type>.<id>`. It may have several tokens.
    pub prefix: String,
    /// The names of the headers.
    pub header_names: HeaderNames,
    /// The JetStream domain, if not the server's own.
    pub domain: Option<String>,
    /// How long the server may take for one answer.
    pub request_timeout: Duration,
    /// How long an append goes on trying while the server does not answer.
    pub give_up_after: Duration,
    /// How many replicas a stream or a bucket has that the store creates.
    pub replicas: usize,
    /// The key-value bucket of snapshots and of outcomes of commands. It is created with the first snapshot.
    pub bucket: String,
}

impl StoreOptions {
    /// Options with their defaults. The bucket is `<stream>_snapshots`.
    pub fn new(stream: impl Into<String>, prefix: impl Into<String>) -> StoreOptions {
        let stream = stream.into();
        StoreOptions {
            bucket: format!("{stream}_snapshots"),
            stream,
            prefix: prefix.into(),
            header_names: HeaderNames::Event,
            domain: None,
            request_timeout: Duration::from_secs(5),
            give_up_after: Duration::from_secs(30),
            replicas: 1,
        }
    }

    /// Checks the names.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        check_token("the stream's name", &self.stream)?;
        self.prefix.split('.').try_for_each(|token| check_token("a token of the prefix", token))?;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match self.bucket.is_empty() || !self.bucket.bytes().all(fits) {
            true => Err(StoreError::Config(format!(
                "the bucket's name {:?} must have letters, digits, '-' and '_' only",
                self.bucket
            ))),
            false => Ok(()),
        }
    }

    /// The stream as the store creates it. Nothing in it expires.
    pub(super) fn stream_config(&self, atomic: bool) -> Config {
        Config {
            name: self.stream.clone(),
            subjects: vec![format!("{}.*.*", self.prefix)],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::New,
            allow_direct: true,
            allow_atomic_publish: atomic,
            num_replicas: self.replicas,
            ..Config::default()
        }
    }

    /// The bucket as the store creates it: the stream of a key-value bucket with one value a key.
    pub(super) fn bucket_config(&self) -> Config {
        Config {
            name: format!("KV_{}", self.bucket),
            subjects: vec![format!("$KV.{}.>", self.bucket)],
            max_messages_per_subject: 1,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            num_replicas: self.replicas,
            ..Config::default()
        }
    }

    /// Checks that an existing bucket keeps outcomes of commands for ever.
    pub(super) fn check_bucket(&self, config: &Config) -> Result<(), StoreError> {
        let refuse = |what: &str| Err(StoreError::Config(format!("the bucket {}: {what}", self.bucket)));
        if !config.max_age.is_zero() {
            return refuse("its values expire; outcomes of commands must be kept for ever");
        }
        if config.discard == DiscardPolicy::Old && (config.max_messages > 0 || config.max_bytes > 0) {
            return refuse("max_msgs or max_bytes deletes the oldest values; set discard to 'new'");
        }
        match config.allow_direct {
            true => Ok(()),
            false => refuse("loading needs allow_direct"),
        }
    }

    /// Checks that an existing stream can hold events for ever.
    pub(super) fn check_stream(&self, config: &Config) -> Result<(), StoreError> {
        let refuse = |what: &str| Err(StoreError::Config(format!("stream {}: {what}", self.stream)));
        if config.retention != RetentionPolicy::Limits {
            return refuse("its retention deletes events that were read; an event store needs retention 'limits'");
        }
        if config.max_messages_per_subject > 0 {
            return refuse("max_msgs_per_subject deletes events; an event store needs -1");
        }
        if !config.subjects.iter().any(|subject| captures(subject, &self.prefix)) {
            let prefix = &self.prefix;
            let subjects = config.subjects.join(", ");
            return refuse(&format!(
                "its subjects are {subjects}; the events need {prefix}.*.*, so add it or use another prefix"
            ));
        }
        if config.no_ack || config.sealed || config.subject_transform.is_some() || config.discard_new_per_subject {
            return refuse("an event store needs a stream without no_ack, sealed, subject_transform and discard_new_per_subject");
        }
        if config.mirror.is_some() {
            return refuse("it is a mirror, which takes no events");
        }
        if !config.allow_direct {
            return refuse("loading needs allow_direct; set it with `nats stream edit --allow-direct`");
        }
        if !config.max_age.is_zero() {
            return refuse("max_age deletes events; an event store needs 0");
        }
        if config.discard == DiscardPolicy::Old && (config.max_messages > 0 || config.max_bytes > 0) {
            return refuse("max_msgs or max_bytes deletes the oldest events; set discard to 'new'");
        }
        Ok(())
    }
}

/// Checks whether a stream's subject captures `<prefix>.*.*`.
fn captures(subject: &str, prefix: &str) -> bool {
    let mut pattern = subject.split('.');
    for token in prefix.split('.').chain(["*", "*"]) {
        match pattern.next() {
            Some(">") => return true,
            Some(part) if part == "*" || part == token => {}
            _ => return false,
        }
    }
    pattern.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_to_capture_all_aggregates() {
        for subject in ["orders.*.*", "orders.>", ">", "*.*.*", "*.>", "orders.*.>"] {
            assert!(captures(subject, "orders"), "{subject}");
        }
        for subject in ["orders", "orders.*", "orders.order.*", "orders.*.*.*", "other.>", "orders.*.*.>"] {
            assert!(!captures(subject, "orders"), "{subject}");
        }
        assert!(captures("eu.orders.*.*", "eu.orders") && captures("eu.>", "eu.orders"));
    }
}
