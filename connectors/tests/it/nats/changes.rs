//! Streams that no longer match a position.

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

            // Events that were read may disappear.
            stream.purge().sequence(101).await.unwrap();
            let mut reader = source.read(Start::At(position.clone())).await.unwrap();
            read_to(&mut reader, 101).await;
            drop(reader);

            // Events that were not read may not disappear.
            publish(&context, 101..=110, |_| "s.a".into()).await;
            read_to(&mut running, 111).await;
            stream.purge().sequence(106).await.unwrap();
            let message = changed(source.read(Start::At(position)).await.unwrap_err());
            assert!(message.contains("expected sequence 101") && message.contains("is 106"), "{message}");
            // The reader that had read them continues.
            publish(&context, 111..=112, |_| "s.a".into()).await;
            assert_eq!(read_to(&mut running, 113).await.sequences(), [111, 112]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_ahead_of_a_slow_reader_is_an_error() {
    for options in [&[][..], &[("subject", "s.a")]] {
        let server = Server::start(Version::Newest);
        let context = jetstream(&server).await;
        let stream = stream(&context).await;
        let mut config = config(&server, "S", options);
        config.limits.max_events = 10;
        let mut reader = NatsSource::new(config).unwrap().read(Start::First).await.unwrap();
        // More than can be on their way to a reader that nobody polls: 30,000 and the look-ahead.
        publish(&context, 1..=40_000, |_| "s.a".into()).await;
        stream.purge().sequence(39_001).await.unwrap();
        let mut got = Got::default();
        let error = loop {
            match next(&mut reader).await {
                Ok(Read::Batch(batch)) => got.add(&batch),
                Ok(_) => assert!(got.end < 40_001, "read to the end without an error"),
                Err(error) => break error,
            }
        };
        let message = changed(error);
        assert!(message.contains("lost events") && message.contains("is 39001"), "{message}");
        assert!(got.end < 39_001, "{}", got.end);
        assert_eq!(got.sequences(), (1..got.end).collect::<Vec<_>>());
        // The position is still valid, but reading cannot continue from it.
        changed(source(&server, "S", options).read(Start::At(reader.position().clone())).await.unwrap_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_expires_is_no_error_at_the_first_event() {
    for options in [&[][..], &[("subject", "s.a")]] {
        let server = Server::start(Version::Newest);
        let context = jetstream(&server).await;
        // Large enough that the reader always outpaces the moving head.
        stream_with(&context, stream::Config { max_messages: 20_000, ..Default::default() }).await;
        publish(&context, 1..=20_000, |_| "s.a".into()).await;
        let publishing = tokio::spawn(async move {
            for id in 20_001..=25_000 {
                context.publish("s.a", body(id).into()).await.unwrap().await.unwrap();
            }
        });
        let source = source(&server, "S", options);
        let mut heads = 0;
        while !publishing.is_finished() {
            let mut reader = source.read(Start::First).await.unwrap();
            while !matches!(next(&mut reader).await.unwrap(), Read::Batch(_)) {}
            heads += 1;
        }
        publishing.await.unwrap();
        assert!(heads > 2, "{heads}");
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

/// The store is reset to an earlier state, as after a power cut, and grows beyond the position while nobody reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_was_lost_and_refilled_is_an_error() {
    for version in VERSIONS {
        for options in [&[][..], &[("subject", "s.a")]] {
            let mut server = Server::start(version);
            let context = jetstream(&server).await;
            stream(&context).await;
            publish(&context, 1..=10, |_| "s.a".into()).await;
            server.stop();
            let (store, earlier) = (server.folder().join("store"), server.folder().join("earlier"));
            copy(&store, &earlier);
            server.resume();
            let context = jetstream(&server).await;
            // The filter selects nothing of the tail.
            publish(&context, 11..=20, |_| "s.b".into()).await;
            let reading = source(&server, "S", options);
            let position = position_at_end(&reading).await;
            assert_eq!(position.offset, 21);
            let mut running = reading.read(Start::At(position.clone())).await.unwrap();
            read_to(&mut running, 21).await;

            server.stop();
            std::fs::remove_dir_all(&store).unwrap();
            copy(&earlier, &store);
            server.resume();
            let context = jetstream(&server).await;
            // Without a check, the reader would skip the selected events before its position.
            publish(&context, 111..=130, |_| "s.a".into()).await;
            let message = changed(source(&server, "S", options).read(Start::At(position)).await.unwrap_err());
            assert!(message.contains("sequence 20"), "{version:?}: {message}");
            let message = changed(try_read_to(&mut running, u64::MAX).await.err().expect("an error"));
            assert!(message.contains("lost its end") || message.contains("sequence 20"), "{version:?}: {message}");
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
        assert!(message.contains("no longer exists"), "{message}");
        let (message, _) = absent_error(source.read(Start::First).await.unwrap_err());
        assert!(message.contains("no stream S"), "{message}");
        absent_error(source.extent().await.unwrap_err());

        // Recreated with the same name and more events.
        stream(&context).await;
        publish(&context, 1..=20, |_| "s.a".into()).await;
        let message = changed(source.read(Start::At(position)).await.unwrap_err());
        assert!(message.contains("was recreated"), "{message}");
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
        assert!(message.contains("was recreated"), "{message}");
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
    assert!(message.contains("no longer exists"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_end_is_an_error() {
    let mut server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    publish(&context, 1..=100, |_| "s.a".into()).await;
    let source = source(&server, "S", &[]);
    // The store is reset to an earlier state, as after a power cut.
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

    // A stream of at least the same length with other events is noticed too.
    let context = jetstream(&server).await;
    publish(&context, 201..=220, |_| "s.a".into()).await;
    let message = changed(source.read(Start::At(position)).await.unwrap_err());
    assert!(message.contains("another event"), "{message}");
}
