//! Sends pull requests to a consumer and receives the messages on a plain subscription of the client.
//!
//! The client library's own message stream creates a JetStream context for each message, to acknowledge it with. That takes more than a
//! tenth of the time to receive a message, and nothing is acknowledged here. ADR-37 of the protocol specifies requests and how they end.
//! Anything but a message, a heartbeat or the regular end of a request is an error, after which the consumer must be recreated.

use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;

/// The maximum number of messages to request at a time. Up to one and a half times as many can be on their way.
pub(super) const MAX_PULL: usize = 20_000;
/// The interval at which an idle server sends heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// After this long without any answer, the server or the request counts as lost.
const SILENCE: Duration = Duration::from_secs(12);
/// How long a request stays open on the server.
const EXPIRES: Duration = Duration::from_secs(30);

/// Sends requests and receives their answers.
pub(super) struct Pulls {
    client: Client,
    answers: Subscriber,
    /// The subject that requests are sent to.
    subject: Subject,
    inbox: Subject,
    request: Bytes,
    /// The number of messages per request.
    size: usize,
    /// The number of requested messages that have not arrived.
    outstanding: usize,
    heard: Instant,
    /// Whether messages arrived since `heard`. The clock is not read for each message.
    heard_since: bool,
}

impl Pulls {
    /// Requests messages from `consumer` of `stream`, `size` at a time. Up to one and a half times as many can be on their way.
    ///
    /// # Errors
    /// Fails if the connection is closed.
    pub(super) async fn begin(
        client: Client,
        domain: Option<&str>,
        stream: &str,
        consumer: &str,
        size: usize,
    ) -> Result<Pulls, String> {
        let prefix = domain.map_or_else(|| "$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"));
        let inbox: Subject = client.new_inbox().into();
        let answers = client.subscribe(inbox.clone()).await.map_err(|error| format!("subscribing: {error}"))?;
        let request = serde_json::json!({
            "batch": size,
            "expires": EXPIRES.as_nanos() as u64,
            "idle_heartbeat": HEARTBEAT.as_nanos() as u64,
        });
        let mut pulls = Pulls {
            client,
            answers,
            subject: format!("{prefix}.CONSUMER.MSG.NEXT.{stream}.{consumer}").into(),
            inbox,
            request: request.to_string().into(),
            size,
            outstanding: 0,
            heard: Instant::now(),
            heard_since: false,
        };
        pulls.ask().await?;
        Ok(pulls)
    }

    /// Waits for the next message. Dropping the future loses no message.
    ///
    /// # Errors
    /// Says why this consumer will deliver no more messages.
    pub(super) async fn next(&mut self) -> Result<Message, String> {
        loop {
            self.ask().await?;
            if std::mem::take(&mut self.heard_since) {
                self.heard = Instant::now();
            }
            let answer = tokio::time::timeout_at(self.heard + SILENCE, self.answers.next()).await;
            let answer = answer.map_err(|_| format!("no answer from the server for {SILENCE:?}"))?;
            self.heard = Instant::now();
            if let Some(message) = self.take(answer)? {
                return Ok(message);
            }
        }
    }

    /// Returns the next message if it has already arrived. Sends no requests: the caller must call [`Pulls::next`] in between, which does.
    ///
    /// # Errors
    /// As [`Pulls::next`].
    pub(super) fn next_ready(&mut self) -> Option<Result<Message, String>> {
        // Once only half of the requested messages are outstanding, it is time for the next request.
        while self.outstanding > self.size / 2 {
            let answer = self.answers.next().now_or_never()?;
            self.heard_since = true;
            if let Some(message) = self.take(answer).transpose() {
                return Some(message);
            }
        }
        None
    }

    /// Requests more messages once at most half of a request is outstanding.
    async fn ask(&mut self) -> Result<(), String> {
        if self.outstanding <= self.size / 2 {
            let published = self.client.publish_with_reply(self.subject.clone(), self.inbox.clone(), self.request.clone());
            published.await.map_err(|error| format!("asking for messages: {error}"))?;
            self.outstanding += self.size;
        }
        Ok(())
    }

    /// Returns the message of an answer, or `None` if the answer is only a status.
    fn take(&mut self, answer: Option<Message>) -> Result<Option<Message>, String> {
        let message = answer.ok_or("the subscription has ended")?;
        match message.status {
            None | Some(StatusCode::OK) => {
                self.outstanding = self.outstanding.saturating_sub(1);
                return Ok(Some(message));
            }
            Some(StatusCode::IDLE_HEARTBEAT) => {}
            // The end of a request, with the number of requested messages that were not delivered.
            Some(StatusCode::TIMEOUT) => {
                let pending = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
                let pending = pending.and_then(|count| count.as_str().parse().ok()).unwrap_or(self.size);
                self.outstanding = self.outstanding.saturating_sub(pending);
            }
            Some(status) => {
                return Err(format!("the server ended a request: {status} {}", message.description.unwrap_or_default()));
            }
        }
        Ok(None)
    }
}

/// The metadata in the reply subject of a delivered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) stream_sequence: u64,
    pub(super) consumer_sequence: u64,
    /// When the stream stored the message, in nanoseconds since the epoch.
    pub(super) timestamp_ns: i64,
    /// The number of messages that the consumer still has to deliver after this one.
    pub(super) pending: u64,
}

impl Delivered {
    /// Parses `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<timestamp>.<pending>`, or the newer form with
    /// `<domain>.<account hash>` after `ACK` and an optional token at the end (ADR-15). Returns `None` for any other text.
    pub(super) fn parse(reply: &str) -> Option<Delivered> {
        let mut tokens = [""; 12];
        let mut count = 0;
        for token in reply.split('.') {
            *tokens.get_mut(count)? = token;
            count += 1;
        }
        let first = match count {
            9 => 5,
            11 | 12 => 7,
            _ => return None,
        };
        if tokens[..2] != ["$JS", "ACK"] {
            return None;
        }
        Some(Delivered {
            stream_sequence: tokens[first].parse().ok()?,
            consumer_sequence: tokens[first + 1].parse().ok()?,
            timestamp_ns: tokens[first + 2].parse().ok()?,
            pending: tokens[first + 3].parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_reply_subjects_are_read() {
        let place = Delivered { stream_sequence: 20, consumer_sequence: 10, timestamp_ns: 1_700_000_000_000_000_000, pending: 3 };
        assert_eq!(Delivered::parse("$JS.ACK.ORDERS.c1.1.20.10.1700000000000000000.3"), Some(place));
        assert_eq!(Delivered::parse("$JS.ACK.hub.h4sh.ORDERS.c1.1.20.10.1700000000000000000.3"), Some(place));
        assert_eq!(Delivered::parse("$JS.ACK.hub.h4sh.ORDERS.c1.1.20.10.1700000000000000000.3.r4nd0m"), Some(place));
        for other in [
            "",
            "$JS.ACK.ORDERS.c1.1.20.10.1700000000000000000",
            "$JS.ACK.ORDERS.c1.1.20.10.1700000000000000000.3.4",
            "$JS.ACK.ORDERS.c1.1.x.10.1700000000000000000.3",
            "$JS.FC.ORDERS.c1.1.20.10.1700000000000000000.3",
            "$JS.ACK.a.b.c.d.e.f.g.h.i.j.k.l.m",
        ] {
            assert_eq!(Delivered::parse(other), None, "{other}");
        }
    }
}
