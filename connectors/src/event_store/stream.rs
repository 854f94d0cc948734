//! Requests to the stream: conditional publishing, reads from its leader, and direct reads, which any replica answers.

use std::time::Duration;

use async_nats::client::PublishErrorKind;
use async_nats::header::{
    HeaderMap, HeaderValue, NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL, NATS_BATCH_ID, NATS_BATCH_SEQUENCE,
    NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, NATS_EXPECTED_STREAM, NATS_TIME_STAMP,
};
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError, Stream};
use async_nats::jetstream::{self, ErrorCode, publish::PublishAck};
use async_nats::{Client, Message, Request, RequestErrorKind, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;

use super::error::StoreError;
use super::message::StoredMessage;
use super::options::StoreOptions;

/// The server's codes for a sequence that is not the expected one.
const WRONG_SEQUENCE: [ErrorCode; 2] = [ErrorCode::STREAM_WRONG_LAST_SEQUENCE, ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT];
/// The server's codes for refusals that pass by themselves.
const FOR_NOW: [ErrorCode; 4] = [
    ErrorCode::ATOMIC_PUBLISH_TOO_MANY_INFLIGHT,
    ErrorCode::ATOMIC_PUBLISH_INCOMPLETE_BATCH,
    ErrorCode::ATOMIC_PUBLISH_MISSING_SEQ,
    ErrorCode::CLUSTER_NOT_AVAILABLE,
];

/// The status of the message that ends the answer to a batched read.
const END_OF_BATCH: u16 = 204;

/// What became of an attempt to publish.
pub(super) enum Published {
    /// Stored. The sequence of the last message.
    Stored(u64),
    /// Not stored: the last message of the subject is another one.
    Moved,
    /// Possibly stored, now or soon: the reason.
    Unknown(String),
    /// Not stored, and a retry cannot help: the reason.
    Refused(String),
}

/// A stream and a client that reaches it.
#[derive(Debug, Clone)]
pub(super) struct EventStream {
    client: Client,
    stream: Stream<()>,
    name: String,
    direct_subject: String,
    timeout: Duration,
}

impl EventStream {
    /// Opens a stream that exists.
    pub(super) async fn open(client: &Client, options: &StoreOptions, name: &str) -> Result<EventStream, StoreError> {
        let context = context(client, options);
        let stream = context.get_stream_no_info(name).await;
        let stream = stream.map_err(|error| StoreError::Config(format!("stream {name}: {error}")))?;
        let api = options.domain.as_ref().map_or_else(|| "$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"));
        Ok(EventStream {
            client: client.clone(),
            stream,
            name: name.to_owned(),
            direct_subject: format!("{api}.DIRECT.GET.{name}"),
            timeout: options.request_timeout,
        })
    }

    /// The stream, for consumers.
    pub(super) fn stream(&self) -> &Stream<()> {
        &self.stream
    }

    /// Whether one direct read gives several messages (2.11).
    pub(super) fn batched_reads(&self) -> bool {
        self.client.is_server_compatible(2, 11, 0)
    }

    /// How long one answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Publishes messages that follow `last` on the subject, all or none. Several need a stream with `allow_atomic`.
    pub(super) async fn publish(&self, subject: &str, last: u64, messages: &[(HeaderMap, Bytes)]) -> Published {
        let batch = (messages.len() > 1).then(|| nuid::next().to_string());
        for (index, (headers, payload)) in messages.iter().enumerate() {
            let mut headers = headers.clone();
            headers.insert(NATS_EXPECTED_STREAM, self.name.as_str());
            if index == 0 {
                headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, HeaderValue::from(last));
            }
            if let Some(batch) = &batch {
                headers.insert(NATS_BATCH_ID, batch.as_str());
                headers.insert(NATS_BATCH_SEQUENCE, HeaderValue::from(index + 1));
            }
            if index + 1 < messages.len() {
                // Without a reply: the answer to the last message is that of the batch.
                if let Err(error) = self.client.publish_with_headers(subject.to_owned(), headers, payload.clone()).await {
                    return match error.kind() {
                        PublishErrorKind::Send => Published::Unknown(error.to_string()),
                        _ => Published::Refused(error.to_string()),
                    };
                }
                continue;
            }
            if batch.is_some() {
                headers.insert(NATS_BATCH_COMMIT, NATS_BATCH_COMMIT_FINAL);
            }
            let count = batch.map(|_| messages.len() as u64);
            return self.request(subject, headers, payload.clone(), count).await;
        }
        Published::Refused("there are no events to append".to_owned())
    }

    /// Publishes one message without a condition.
    pub(super) async fn put(&self, subject: &str, headers: HeaderMap, payload: Bytes) -> Result<(), StoreError> {
        match self.request(subject, headers, payload, None).await {
            Published::Stored(_) => Ok(()),
            Published::Refused(reason) => Err(StoreError::Config(format!("stream {}: {reason}", self.name))),
            Published::Unknown(reason) => Err(self.unavailable(reason)),
            Published::Moved => Err(self.unavailable(format!("{subject} has another last sequence"))),
        }
    }

    /// Sends a message that is answered. `batch` is the number of messages of the batch that it ends.
    async fn request(&self, subject: &str, headers: HeaderMap, payload: Bytes, batch: Option<u64>) -> Published {
        let request = Request::new().headers(headers).payload(payload).timeout(Some(self.timeout));
        let answer = match self.client.send_request(subject.to_owned(), request).await {
            Ok(answer) => answer,
            Err(error) => {
                return match error.kind() {
                    RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                        Published::Refused(error.to_string())
                    }
                    _ => Published::Unknown(format!("publishing to {subject}: {error}")),
                };
            }
        };
        match serde_json::from_slice::<Response<PublishAck>>(&answer.payload) {
            Ok(Response::Ok(acknowledgement)) if acknowledgement.batch_size == batch => {
                Published::Stored(acknowledgement.sequence)
            }
            Ok(Response::Ok(_)) => Published::Unknown("the server has not taken the messages as one batch".to_owned()),
            Ok(Response::Err { error }) if WRONG_SEQUENCE.contains(&error.error_code()) => Published::Moved,
            Ok(Response::Err { error }) if FOR_NOW.contains(&error.error_code()) || error.code() == 503 => {
                Published::Unknown(error.to_string())
            }
            Ok(Response::Err { error }) => Published::Refused(error.to_string()),
            Err(error) => Published::Unknown(format!("the answer to a message on {subject}: {error}")),
        }
    }

    /// Returns the last message of a subject, from the leader.
    pub(super) async fn leader_last(&self, subject: &str) -> Result<Option<StoredMessage>, StoreError> {
        self.found(self.stream.raw_message_builder().last_by_subject(subject).send().await)
    }

    /// Returns the first message of a subject from a sequence on, from the leader.
    pub(super) async fn leader_next(&self, subject: &str, sequence: u64) -> Result<Option<StoredMessage>, StoreError> {
        self.found(self.stream.raw_message_builder().next_by_subject(subject).sequence(sequence).send().await)
    }

    fn found(
        &self,
        answer: Result<jetstream::message::StreamMessage, RawMessageError>,
    ) -> Result<Option<StoredMessage>, StoreError> {
        match answer {
            Ok(message) => Ok(Some(StoredMessage {
                sequence: message.sequence,
                time: message.time,
                headers: message.headers,
                payload: message.payload,
            })),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(self.unavailable(format!("reading from the leader: {error}"))),
        }
    }

    /// Returns the last message of a subject, from any replica.
    pub(super) async fn direct_last(&self, subject: &str) -> Result<Option<StoredMessage>, StoreError> {
        let request = Request::new().payload(Bytes::new()).timeout(Some(self.timeout));
        let answer = self.client.send_request(format!("{}.{subject}", self.direct_subject), request).await;
        self.direct(answer.map_err(|error| self.unavailable(format!("reading the last message of {subject}: {error}")))?)
    }

    /// Returns the first message of a subject from a sequence on, from any replica.
    pub(super) async fn direct_next(&self, subject: &str, sequence: u64) -> Result<Option<StoredMessage>, StoreError> {
        let question = json!({ "seq": sequence, "next_by_subj": subject }).to_string();
        let request = Request::new().payload(question.into()).timeout(Some(self.timeout));
        let answer = self.client.send_request(self.direct_subject.clone(), request).await;
        self.direct(answer.map_err(|error| self.unavailable(format!("reading {subject} from {sequence}: {error}")))?)
    }

    /// Returns up to `most` messages of a subject from a sequence on, from any replica, and how many more there are.
    pub(super) async fn direct_batch(
        &self,
        subject: &str,
        sequence: u64,
        most: usize,
    ) -> Result<(Vec<StoredMessage>, u64), StoreError> {
        let failed = |error: String| self.unavailable(format!("reading {subject} from {sequence}: {error}"));
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|error| failed(error.to_string()))?;
        let question = json!({ "seq": sequence, "next_by_subj": subject, "batch": most }).to_string();
        let sent = self.client.publish_with_reply(self.direct_subject.clone(), inbox, question.into()).await;
        sent.map_err(|error| failed(error.to_string()))?;
        let mut messages = Vec::new();
        loop {
            let answer = tokio::time::timeout(self.timeout, answers.next()).await;
            let answer = answer.map_err(|_| failed(format!("no answer within {:?}", self.timeout)))?;
            let answer = answer.ok_or_else(|| failed("the connection is closed".to_owned()))?;
            if answer.status.is_some_and(|status| status.as_u16() == END_OF_BATCH) {
                let last = messages.last().map_or(0, |message: &StoredMessage| message.sequence);
                let told = |name: &str| number(&answer, name);
                // What the client dropped, or the server could not send, must not look like the end.
                if told("Nats-Last-Sequence").is_some_and(|told| told != last) {
                    return Err(failed("a message of the answer is missing".to_owned()));
                }
                // Without the number, the rest would be passed over.
                let pending =
                    told("Nats-Num-Pending").ok_or_else(|| failed("the answer does not say what is left".to_owned()))?;
                return Ok((messages, pending));
            }
            match self.direct(answer)? {
                Some(message) => messages.push(message),
                None => return Ok((messages, 0)),
            }
        }
    }

    fn direct(&self, answer: Message) -> Result<Option<StoredMessage>, StoreError> {
        match answer.status {
            None => {}
            Some(StatusCode::NOT_FOUND) => return Ok(None),
            Some(status) if status == StatusCode::NO_RESPONDERS => {
                return Err(self.unavailable("no server answers direct reads of the stream".to_owned()));
            }
            Some(status) => {
                let description = answer.description.unwrap_or_default();
                return Err(self.unavailable(format!("a direct read: {status} {description}")));
            }
        }
        let sequence = number(&answer, "Nats-Sequence");
        let headers = answer.headers.unwrap_or_default();
        let time = headers
            .get_last(NATS_TIME_STAMP)
            .and_then(|time| time::OffsetDateTime::parse(time.as_str(), &time::format_description::well_known::Rfc3339).ok());
        match (sequence, time) {
            (Some(sequence), Some(time)) => Ok(Some(StoredMessage { sequence, time, headers, payload: answer.payload })),
            _ => Err(self.unavailable("the answer to a direct read has no sequence or no time".to_owned())),
        }
    }

    /// Returns an error that a retry can mend.
    pub(super) fn unavailable(&self, reason: String) -> StoreError {
        StoreError::Unavailable { stream: self.name.clone(), reason }
    }
}

fn number(message: &Message, name: &str) -> Option<u64> {
    message.headers.as_ref()?.get_last(name)?.as_str().parse().ok()
}

/// The JetStream of the options' domain.
pub(super) fn context(client: &Client, options: &StoreOptions) -> jetstream::Context {
    let mut context = match &options.domain {
        Some(domain) => jetstream::with_domain(client.clone(), domain),
        None => jetstream::new(client.clone()),
    };
    context.set_timeout(options.request_timeout);
    context
}
