//! Kinds of streams and messages: what is read of each.

use async_nats::HeaderMap;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::Source as Origin;

use super::*;

async fn send(context: &Context, subject: &str, message: PublishMessage) -> u64 {
    context.send_publish(subject.to_owned(), message).await.unwrap().await.unwrap().sequence
}

/// Waits until the stream has this end.
async fn wait_for_end(source: &NatsSource, end: u64) {
    let begun = std::time::Instant::now();
    while source.extent().await.unwrap().end < end {
        assert!(begun.elapsed() < LIMIT, "the stream does not grow to {end}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mirrors_and_streams_with_sources_are_streams_of_their_own() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        let stream = stream(&context).await;
        let config = stream::Config { name: "T".into(), subjects: vec!["t.>".into()], ..Default::default() };
        context.create_stream(config).await.unwrap();
        publish(&context, 1..=50, |_| "s.a".into()).await;
        stream.delete_message(7).await.unwrap();
        publish(&context, 51..=80, |_| "t.a".into()).await;
        let origin = |name: &str| Origin { name: name.into(), ..Default::default() };
        let mirror = stream::Config { name: "M".into(), mirror: Some(origin("S")), ..Default::default() };
        context.create_stream(mirror).await.unwrap();
        let sources = Some(vec![origin("S"), origin("T")]);
        context.create_stream(stream::Config { name: "BOTH".into(), sources, ..Default::default() }).await.unwrap();

        let mirror = source(&server, "M", &[]);
        wait_for_end(&mirror, 51).await;
        let got = read_all(&mirror).await;
        assert_eq!(
            got.sequences(),
            (1..=50).filter(|sequence| *sequence != 7).collect::<Vec<_>>(),
            "its sequences are the origin's"
        );
        // A position in the mirror is none in its origin.
        let position = position_at_end(&mirror).await;
        changed(source(&server, "S", &[]).read(Start::At(position)).await.unwrap_err());

        let both = source(&server, "BOTH", &[]);
        wait_for_end(&both, 80).await;
        let got = read_all(&both).await;
        assert_eq!(got.sequences(), (1..=79).collect::<Vec<_>>(), "its sequences are its own");
        let mut ids = got.ids();
        ids.sort_unstable();
        assert_eq!(ids, (1..=80).filter(|id| *id != 7).collect::<Vec<_>>());
        assert_eq!(read_all(&source(&server, "BOTH", &[("subject", "t.>")])).await.rows.len(), 30);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_store_is_refused_in_words_and_what_describes_it_is_read() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        let config = stream::Config {
            name: "OBJ_files".into(),
            subjects: vec!["$O.files.C.>".into(), "$O.files.M.>".into()],
            allow_rollup: true,
            ..Default::default()
        };
        context.create_stream(config).await.unwrap();
        publish(&context, 1..=3, |id| if id == 3 { "$O.files.M.a".into() } else { "$O.files.C.x".into() }).await;
        for options in [&[][..], &[("subject", "$O.files.>")]] {
            let (message, help) = config_error(source(&server, "OBJ_files", options).read(Start::First).await.unwrap_err());
            assert!(message.contains("is an object store") && help.contains("'$O.files.M.>'"), "{message}: {help}");
        }
        assert_eq!(read_all(&source(&server, "OBJ_files", &[("subject", "$O.files.M.>")])).await.sequences(), [3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollup_is_an_event_and_takes_others_away() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        stream_with(&context, stream::Config { allow_rollup: true, ..Default::default() }).await;
        let source = source(&server, "S", &[]);
        publish(&context, 1..=4, |id| format!("s.{}", id % 2)).await;
        let position = position_at_end(&source).await;
        publish(&context, 5..=8, |id| format!("s.{}", id % 2)).await;
        let rollup = |id: u64| PublishMessage::build().payload(body(id).into()).header("Nats-Rollup", "sub");
        // The events of s.1 that were not read are gone, each by itself, as if they had been deleted.
        assert_eq!(send(&context, "s.1", rollup(9)).await, 9);
        let mut reader = source.read(Start::At(position.clone())).await.unwrap();
        assert_eq!(read_to(&mut reader, 10).await.sequences(), [6, 8, 9]);
        // A rollup of all subjects empties the stream before it: what was not read is missing.
        let all = PublishMessage::build().payload(body(10).into()).header("Nats-Rollup", "all");
        assert_eq!(send(&context, "s.1", all).await, 10);
        assert_eq!(read_to(&mut reader, 11).await.sequences(), [10], "who had read the others goes on");
        let message = changed(source.read(Start::At(position)).await.unwrap_err());
        assert!(message.contains("expected sequence 5"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_expires_leaves_a_marker_that_is_no_event() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let config = stream::Config {
        max_age: Duration::from_secs(1),
        allow_message_ttl: true,
        allow_rollup: true,
        subject_delete_marker_ttl: Some(Duration::from_secs(3_600)),
        ..Default::default()
    };
    stream_with(&context, config).await;
    let source = source(&server, "S", &[]);
    let mut reader = source.read(Start::First).await.unwrap();
    publish(&context, 1..=2, |id| format!("s.{id}")).await;
    read_to(&mut reader, 3).await;
    wait_for_end(&source, 5).await;
    let got = read_to(&mut reader, 5).await;
    assert_eq!((got.events, got.end), (0, 5), "the markers are passed over");
    assert_eq!(read_all(&source).await.events, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_of_a_counter_holds_its_value() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream_with(&context, stream::Config { allow_message_counter: true, ..Default::default() }).await;
    for step in ["+5", "-2"] {
        send(&context, "s.hits", PublishMessage::build().header("Nats-Incr", step)).await;
    }
    let mut config = config(&server, "S", &[]);
    config.declared = Arc::new(Schema::new(vec![Field::new("val", DataType::Int64, false)]));
    assert_eq!(read_all(&NatsSource::new(config).unwrap()).await.ids(), [5, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_headers_only_is_a_dead_letter() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        stream(&context).await;
        let mut headers = HeaderMap::new();
        headers.insert("Order", "7");
        send(&context, "s.a", PublishMessage::build().headers(headers)).await;
        let got = read_all(&source(&server, "S", &[])).await;
        assert_eq!((got.rows.len(), got.dead.len()), (0, 1));
        assert!(got.dead[0].headers.as_deref().is_some_and(|headers| headers.contains("\"Order\":\"7\"")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_64_megabytes_is_read() {
    for (version, storage, megabytes) in [
        (Version::Newest, stream::StorageType::Memory, 64),
        (Version::Newest, stream::StorageType::File, 31),
        (Version::Oldest, stream::StorageType::File, 31),
    ] {
        let server = Server::start_with(version, "max_payload: 67108864\nmax_pending: 268435456");
        let context = jetstream(&server).await;
        stream_with(&context, stream::Config { storage, ..Default::default() }).await;
        let filler = "x".repeat((megabytes << 20) - 100);
        send(&context, "s.a", PublishMessage::build().payload(format!("{{\"id\":1,\"note\":\"{filler}\"}}").into())).await;
        publish(&context, 2..=3, |_| "s.a".into()).await;
        assert_eq!(read_all(&source(&server, "S", &[])).await.ids(), [1, 2, 3]);
    }
}
