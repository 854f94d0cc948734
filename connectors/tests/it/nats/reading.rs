//! Reads everything in order, from any position, with and without filters.

use alluvium_connectors::source::Extent;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_in_order_and_from_any_position() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        stream(&context).await;
        let source = source(&server, "S", &[]);
        assert_eq!(source.extent().await.unwrap(), Extent { first: 1, end: 1 });
        publish(&context, 1..=5_000, |_| "s.a".into()).await;
        assert_eq!(source.extent().await.unwrap(), Extent { first: 1, end: 5_001 });

        let mut reader = source.read(Start::First).await.unwrap();
        let mut positions = vec![reader.position().clone()];
        let mut got = Got::default();
        while reader.position().offset < 5_001 {
            if let Read::Batch(batch) = next(&mut reader).await.unwrap() {
                got.add(&batch);
                positions.push(batch.position.clone());
            }
        }
        assert_eq!((got.start, got.end, got.events), (Some(1), 5_001, 5_000));
        assert_eq!(got.rows, (1..=5_000).map(|id| (id, i64::try_from(id).unwrap())).collect::<Vec<_>>());
        assert!(matches!(next(&mut reader).await.unwrap(), Read::CaughtUp { offset: 5_001 }));
        assert_eq!(reader.restarts(), 0);

        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..5 {
            let position = positions[random.usize(0..positions.len())].clone();
            let from = position.offset;
            let mut again = source.read(Start::At(position)).await.unwrap();
            let rest = read_to(&mut again, 5_001).await;
            assert_eq!(rest.sequences(), (from..=5_000).collect::<Vec<_>>(), "from {from}");
        }

        // Events that are published later arrive too.
        publish(&context, 5_001..=5_010, |_| "s.a".into()).await;
        assert_eq!(read_to(&mut reader, 5_011).await.sequences(), (5_001..=5_010).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_next_loses_nothing() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    publish(&context, 1..=20_000, |_| "s.a".into()).await;
    let mut reader = source(&server, "S", &[]).read(Start::First).await.unwrap();
    let mut got = Got::default();
    let begun = std::time::Instant::now();
    while got.end < 20_001 {
        assert!(begun.elapsed() < LIMIT, "only up to {}", got.end);
        tokio::select! {
            biased;
            read = reader.next() => if let Read::Batch(batch) = read.unwrap() { got.add(&batch) },
            () = tokio::task::yield_now() => {}
        }
    }
    assert_eq!(got.sequences(), (1..=20_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_reads_its_subjects_and_covers_the_rest() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        stream(&context).await;
        // No filter selects the last hundred.
        let subject = |id: u64| if id > 3_000 { "s.none".into() } else { format!("s.{}", ["a", "b", "c"][(id % 3) as usize]) };
        publish(&context, 1..=3_100, subject).await;

        let one = read_all(&source(&server, "S", &[("subject", "s.b")])).await;
        assert_eq!(one.sequences(), (1..=3_000).filter(|id| id % 3 == 1).collect::<Vec<_>>());
        assert_eq!((one.start, one.end), (Some(1), 3_101));

        let several = source(&server, "S", &[("subject", "s.a, s.c")]);
        let mut reader = several.read(Start::First).await.unwrap();
        let got = read_to(&mut reader, 3_101).await;
        assert_eq!(got.sequences(), (1..=3_000).filter(|id| id % 3 != 1).collect::<Vec<_>>());
        assert_eq!(got.end, 3_101);

        // While only unselected events arrive, the offset advances. No selected event is skipped.
        publish(&context, 3_101..=3_200, |_| "s.none".into()).await;
        let quiet = read_to(&mut reader, 3_201).await;
        assert_eq!((quiet.events, quiet.end), (0, 3_201));
        publish(&context, 3_201..=3_203, |_| "s.a".into()).await;
        assert_eq!(read_to(&mut reader, 3_204).await.sequences(), [3_201, 3_202, 3_203]);

        // Read from a position that was reached without an event.
        publish(&context, 3_204..=3_210, |id| format!("s.{}", if id == 3_210 { "c" } else { "none" })).await;
        let mut again = several.read(Start::At(reader.position().clone())).await.unwrap();
        assert_eq!(read_to(&mut again, 3_211).await.sequences(), [3_210]);

        let nothing = read_all(&source(&server, "S", &[("subject", "s.nothing")])).await;
        assert_eq!((nothing.events, nothing.end), (0, 3_211));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_that_overlap_are_refused() {
    let server = Server::start(Version::Newest);
    stream(&jetstream(&server).await).await;
    let error = source(&server, "S", &[("subject", "s.a.>, s.a.b")]).read(Start::First).await.unwrap_err();
    assert!(config_error(error).1.contains("subject"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holes_are_covered() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        let stream = stream(&context).await;
        publish(&context, 1..=2_000, |_| "s.a".into()).await;
        // A single one, which is probed; many, which are read as a list; and the last ones, after which nothing follows.
        let deleted = |id: u64| id == 7 || (500..900).contains(&id) || id > 1_990;
        for id in (1..=2_000).filter(|id| deleted(*id)) {
            stream.delete_message(id).await.unwrap();
        }
        let source = source(&server, "S", &[]);
        let got = read_all(&source).await;
        assert_eq!(got.sequences(), (1..=2_000).filter(|id| !deleted(*id)).collect::<Vec<_>>());
        assert_eq!((got.start, got.end), (Some(1), 2_001));

        // The last event that was read may be deleted too.
        let position = position_at_end(&source).await;
        stream.delete_message(1_990).await.unwrap();
        publish(&context, 2_001..=2_001, |_| "s.a".into()).await;
        let mut reader = source.read(Start::At(position)).await.unwrap();
        assert_eq!(read_to(&mut reader, 2_002).await.sequences(), [2_001]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_loses_nothing() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    let mut config = config(&server, "S", &[]);
    config.limits.max_events = 100;
    let source = NatsSource::new(config).unwrap();
    let mut reader = source.read(Start::First).await.unwrap();
    assert!(matches!(next(&mut reader).await.unwrap(), Read::CaughtUp { offset: 1 }));
    // More than the client's channel can hold, while nobody reads.
    publish(&context, 1..=120_000, |_| "s.a".into()).await;
    let mut got = Got::default();
    let mut pauses = 0;
    while got.end < 120_001 {
        match next(&mut reader).await.unwrap() {
            Read::Batch(batch) => got.add(&batch),
            _ => continue,
        }
        if got.batches % 100 == 0 {
            pauses += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert!(pauses >= 10);
    assert_eq!(got.sequences(), (1..=120_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_reader_leaves_no_consumer() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let mut stream = stream(&context).await;
    let source = source(&server, "S", &[]);
    let reader = source.read(Start::First).await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.consumer_count, 1);
    drop(reader);
    let begun = std::time::Instant::now();
    while stream.info().await.unwrap().state.consumer_count > 0 {
        assert!(begun.elapsed() < LIMIT);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
