//! Pull requests to a consumer, and the messages that answer them, on the client's plain subscription.
//!
//! The client library's own stream of a consumer makes a JetStream context of each message, to acknowledge it by: more than a
//! tenth of the time that it takes to receive one, for nothing, since nothing is acknowledged here. What a request is and how it
//! ends is in the protocol's ADR-37. Whatever is not a message, a heartbeat or the regular end of a request is an error, and
//! the consumer is to be made anew.

use std::time::Duration;

use async_nats::{Client, Message, StatusCode, Subject, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use tokio::time::Instant;

/// Messages asked for at a time, at most: half as many again can be on their way.
pub(super) const MAX_PULL: usize = 20_000;
/// How often an idle server says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// After so long without a word the server or the request is taken for lost.
const SILENCE: Duration = Duration::from_secs(12);
/// How long a request stays with the server.
const EXPIRES: Duration = Duration::from_secs(30);

/// Requests and their answers.
pub(super) struct Pulls {
    client: Client,
    answers: Subscriber,
    /// Where requests go to.
    subject: Subject,
    inbox: Subject,
    request: Bytes,
    /// Messages that a request asks for.
    size: usize,
    /// Messages asked for that have not come.
    outstanding: usize,
    heard: Instant,
    /// Messages came since `heard`: the clock is read when there is time for it.
    heard_since: bool,
}

impl Pulls {
    /// Asks `consumer` of `stream` for messages, `size` at a time; half as many again can be on their way.
    ///
    /// # Errors
    /// When the connection is closed.
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

    /// The next message. Dropping the future loses none.
    ///
    /// # Errors
    /// Why no more can be expected of this consumer.
    pub(super) async fn next(&mut self) -> Result<Message, String> {
        loop {
            self.ask().await?;
            if std::mem::take(&mut self.heard_since) {
                self.heard = Instant::now();
            }
            let answer = tokio::time::timeout_at(self.heard + SILENCE, self.answers.next()).await;
            let answer = answer.map_err(|_| format!("the server has said nothing for {SILENCE:?}"))?;
            self.heard = Instant::now();
            if let Some(message) = self.take(answer)? {
                return Ok(message);
            }
        }
    }

    /// The next message if it is already here. Asks for no more: [`Pulls::next`] does, and is called in between.
    ///
    /// # Errors
    /// As [`Pulls::next`].
    pub(super) fn next_ready(&mut self) -> Option<Result<Message, String>> {
        // At half of what was asked for it is time to ask again.
        while self.outstanding > self.size / 2 {
            let answer = self.answers.next().now_or_never()?;
            self.heard_since = true;
            if let Some(message) = self.take(answer).transpose() {
                return Some(message);
            }
        }
        None
    }

    /// Asks for more in time.
    async fn ask(&mut self) -> Result<(), String> {
        if self.outstanding <= self.size / 2 {
            let published = self.client.publish_with_reply(self.subject.clone(), self.inbox.clone(), self.request.clone());
            published.await.map_err(|error| format!("asking for messages: {error}"))?;
            self.outstanding += self.size;
        }
        Ok(())
    }

    /// A message; none where the answer only says how requests stand.
    fn take(&mut self, answer: Option<Message>) -> Result<Option<Message>, String> {
        let message = answer.ok_or("the subscription has ended")?;
        match message.status {
            None | Some(StatusCode::OK) => {
                self.outstanding = self.outstanding.saturating_sub(1);
                return Ok(Some(message));
            }
            Some(StatusCode::IDLE_HEARTBEAT) => {}
            // The end of a request, which says how many messages it still asked for.
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

/// What a delivered message's reply subject says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) stream_sequence: u64,
    pub(super) consumer_sequence: u64,
    /// When the stream stored it, nanoseconds since the epoch.
    pub(super) timestamp_ns: i64,
    /// Messages that the consumer still has to deliver after it.
    pub(super) pending: u64,
}

impl Delivered {
    /// From `$JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.<consumer sequence>.<timestamp>.<pending>`, or the newer
    /// form with `<domain>.<account hash>` after `ACK` and perhaps one more token at the end (ADR-15). None where it is neither.
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
