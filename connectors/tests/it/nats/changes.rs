//! Streams that are no longer what a position knows.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_of_unread_events_is_an_error() {
    for version in VERSIONS {
        for options in [&[][..], &[("subject", "s.a")]] {
            let server = Server::start(version);
            let context = jetstream(&server).await;
            let stream = stream(&context).await;
            publish(&context, 1..=100, |_| "s.a".into()).await;
            let source = source(&server, "S", options);
            let position = position_at_end(&source).await;
            let mut running = source.read(Start::At(position.clone())).await.unwrap();
            read_to(&mut running, 101).await;

            // What was read may go.
            stream.purge().sequence(101).await.unwrap();
            let mut reader = source.read(Start::At(position.clone())).await.unwrap();
            read_to(&mut reader, 101).await;
            drop(reader);

            // What was not read may not.
            publish(&context, 101..=110, |_| "s.a".into()).await;
            read_to(&mut running, 111).await;
            stream.purge().sequence(106).await.unwrap();
            let message = changed(source.read(Start::At(position)).await.unwrap_err());
            assert!(message.contains("expected sequence 101") && message.contains("is 106"), "{message}");
            // The one that had read them goes on.
            publish(&context, 111..=112, |_| "s.a".into()).await;
            assert_eq!(read_to(&mut running, 113).await.sequences(), [111, 112]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_under_a_reader_that_is_away_is_an_error() {
    for options in [&[][..], &[("subject", "s.a")]] {
        let mut server = Server::start(Version::Newest);
        let context = jetstream(&server).await;
        stream(&context).await;
        publish(&context, 1..=100, |_| "s.a".into()).await;
        let mut reader = source(&server, "S", options).read(Start::First).await.unwrap();
        read_to(&mut reader, 101).await;
        // A reader that is not asked stops taking messages after its look-ahead; here it is cut off instead.
        server.stop();
        let store = server.folder().join("store");
        drop(context);
        std::fs::rename(&store, server.folder().join("aside")).unwrap();
        copy(&server.folder().join("aside"), &store);
        server.resume();
        let context = jetstream(&server).await;
        let stream = context.get_stream("S").await.unwrap();
        // Published and purged within one request each: the reader may see them or not, but never a gap in silence.
        publish(&context, 101..=150, |_| "s.a".into()).await;
        stream.purge().await.unwrap();
        publish(&context, 151..=152, |_| "s.a".into()).await;
        match try_read_to(&mut reader, 153).await {
            Ok(got) => assert_eq!(got.sequences(), (101..=152).collect::<Vec<_>>()),
            Err(error) => assert!(changed(error).contains("lost events")),
        }
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_made_anew_is_an_error_at_the_start() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        stream(&context).await;
        publish(&context, 1..=10, |_| "s.a".into()).await;
        let source = source(&server, "S", &[]);
        let position = position_at_end(&source).await;

        context.delete_stream("S").await.unwrap();
        let message = changed(source.read(Start::At(position.clone())).await.unwrap_err());
        assert!(message.contains("no longer there"), "{message}");
        let (message, _) = config_error(source.read(Start::First).await.unwrap_err());
        assert!(message.contains("no stream S"), "{message}");
        config_error(source.extent().await.unwrap_err());

        // Anew with the same name and more events.
        stream(&context).await;
        publish(&context, 1..=20, |_| "s.a".into()).await;
        let message = changed(source.read(Start::At(position)).await.unwrap_err());
        assert!(message.contains("made anew"), "{message}");
        assert_eq!(read_all(&source).await.sequences(), (1..=20).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_made_anew_is_an_error_while_reading() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        stream(&context).await;
        publish(&context, 1..=10, |_| "s.a".into()).await;
        let mut reader = source(&server, "S", &[]).read(Start::First).await.unwrap();
        read_to(&mut reader, 11).await;
        context.delete_stream("S").await.unwrap();
        stream(&context).await;
        publish(&context, 1..=20, |_| "s.a".into()).await;
        let message = changed(try_read_to(&mut reader, u64::MAX).await.err().expect("an error"));
        assert!(message.contains("made anew"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_stream_is_an_error_after_a_while() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    publish(&context, 1..=10, |_| "s.a".into()).await;
    let mut reader = source(&server, "S", &[]).read(Start::First).await.unwrap();
    read_to(&mut reader, 11).await;
    context.delete_stream("S").await.unwrap();
    let message = changed(try_read_to(&mut reader, u64::MAX).await.err().expect("an error"));
    assert!(message.contains("no longer there"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_end_is_an_error() {
    let mut server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    publish(&context, 1..=100, |_| "s.a".into()).await;
    let source = source(&server, "S", &[]);
    // The store goes back to an earlier state, as after a power cut.
    server.stop();
    copy(&server.folder().join("store"), &server.folder().join("earlier"));
    server.resume();
    let context = jetstream(&server).await;
    publish(&context, 101..=110, |_| "s.a".into()).await;
    let mut reader = source.read(Start::First).await.unwrap();
    read_to(&mut reader, 111).await;
    let position = reader.position().clone();
    server.stop();
    std::fs::remove_dir_all(server.folder().join("store")).unwrap();
    copy(&server.folder().join("earlier"), &server.folder().join("store"));
    server.resume();
    let message = changed(source.read(Start::At(position.clone())).await.unwrap_err());
    assert!(message.contains("lost its end"), "{message}");
    let message = changed(try_read_to(&mut reader, u64::MAX).await.err().expect("an error"));
    assert!(message.contains("lost its end"), "{message}");

    // The same length with other events is noticed as well.
    let context = jetstream(&server).await;
    publish(&context, 201..=220, |_| "s.a".into()).await;
    let message = changed(source.read(Start::At(position)).await.unwrap_err());
    assert!(message.contains("another event"), "{message}");
}
