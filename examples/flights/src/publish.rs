//! Publishes each event once to JetStream, however often it runs and wherever it was interrupted.
//!
//! A stream holds its events in the order of the timeline, so its last message shows where to continue. Within its duplicate window, the
//! server drops repeated messages by the id in `Nats-Msg-Id`.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::context::PublishAckFuture;
use async_nats::jetstream::stream::{Config, StorageType, Stream};
use async_nats::jetstream::{self, Context, message::PublishMessage};
use indicatif::{ProgressBar, ProgressStyle};
use miette::{IntoDiagnostic, Result, WrapErr, miette};

use crate::message::Source;
use crate::timeline::Timeline;

/// The maximum number of outstanding acknowledgements.
const WINDOW: usize = 4_000;
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
const STREAMS: [(&str, &str); 3] = [("FLIGHTS", "flights.>"), ("WEATHER", "weather.>"), ("REFERENCE", "reference.>")];

/// Creates missing streams, and publishes the events that they do not hold yet.
pub(crate) async fn publish(timeline: &Timeline<'_>, server: &str) -> Result<()> {
    let client = async_nats::connect(server).await.into_diagnostic().wrap_err_with(|| format!("connecting to {server}"))?;
    let jetstream = jetstream::new(client);
    let mut held = HashMap::new();
    for (name, subjects) in STREAMS {
        held.insert(name, open(&jetstream, timeline, name, subjects).await?);
    }
    let started = Instant::now();
    let published = send(&jetstream, timeline, held).await?;
    let seconds = started.elapsed().as_secs_f64();
    let there = timeline.events.len() - published;
    eprintln!("published {published} events in {seconds:.1} s; {there} were already there");
    Ok(())
}

/// Opens or creates a stream, and returns the number of the timeline's events that it holds.
async fn open(jetstream: &Context, timeline: &Timeline<'_>, name: &str, subjects: &str) -> Result<usize> {
    let config = Config {
        name: name.into(),
        subjects: vec![subjects.into()],
        storage: StorageType::File,
        duplicate_window: DUPLICATE_WINDOW,
        ..Config::default()
    };
    let opening = || format!("opening the stream {name}");
    let mut stream = jetstream.get_or_create_stream(config).await.into_diagnostic().wrap_err_with(opening)?;
    let state = stream.info().await.into_diagnostic().wrap_err_with(opening)?.state.clone();
    if state.messages == 0 {
        return Ok(0);
    }
    let held = position_after(&stream, timeline, name, state.last_sequence).await?;
    if held.is_some_and(|held| held as u64 == state.messages) {
        return Ok(state.messages as usize);
    }
    Err(miette!(
        help = "delete the stream (`nats stream rm`), or use another server",
        "the stream {name} holds {} messages that are not the first of these events",
        state.messages
    ))
}

/// Returns one past the index of the stream's last message among the timeline's events for the stream.
async fn position_after(stream: &Stream, timeline: &Timeline<'_>, name: &str, sequence: u64) -> Result<Option<usize>> {
    let last = stream.get_raw_message(sequence).await.into_diagnostic().wrap_err_with(|| format!("reading from {name}"))?;
    let Some(id) = last.headers.get(NATS_MESSAGE_ID) else { return Ok(None) };
    let mut index = 0;
    for message in timeline.messages() {
        let message = message?;
        if message.source.stream() == name {
            index += 1;
            if message.id == id.as_str() {
                return Ok(Some(index));
            }
        }
    }
    Ok(None)
}

/// Publishes all but the first `held` events of each stream, and returns the number of published events.
async fn send(jetstream: &Context, timeline: &Timeline<'_>, mut held: HashMap<&str, usize>) -> Result<usize> {
    let bar = progress(timeline.events.len() as u64);
    let mut outstanding = VecDeque::with_capacity(WINDOW);
    let mut published = 0;
    for message in timeline.messages() {
        let message = message?;
        bar.inc(1);
        if let Some(left) = held.get_mut(message.source.stream()).filter(|left| **left > 0) {
            *left -= 1;
            continue;
        }
        if outstanding.len() == WINDOW {
            acknowledged(&mut outstanding).await?;
        }
        let publish = PublishMessage::build().message_id(&message.id).payload(message.body.into());
        let sent = jetstream.send_publish(message.subject, publish).await.into_diagnostic().wrap_err("publishing")?;
        outstanding.push_back((message.source, sent));
        published += 1;
    }
    while !outstanding.is_empty() {
        acknowledged(&mut outstanding).await?;
    }
    bar.finish_and_clear();
    Ok(published)
}

/// Waits for the oldest acknowledgement.
async fn acknowledged(outstanding: &mut VecDeque<(Source, PublishAckFuture)>) -> Result<()> {
    let Some((source, sent)) = outstanding.pop_front() else { return Ok(()) };
    let stored = sent.await.into_diagnostic();
    let stored = stored.wrap_err_with(|| format!("publishing to {}; run again to continue from there", source.stream()))?;
    if stored.stream != source.stream() {
        return Err(miette!("the events of {} are stored in the stream {}", source.stream(), stored.stream));
    }
    Ok(())
}

fn progress(events: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} events, {per_sec:.0}, {eta} left");
    ProgressBar::new(events).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
