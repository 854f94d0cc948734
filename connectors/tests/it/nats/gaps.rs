//! Events that are gone before they are read, where the source says to go on.

use super::*;

const GO_ON: (&str, &str) = ("on_gap", "continue");

fn ranges(got: &Got) -> Vec<(u64, u64)> {
    got.gaps.iter().map(|gap| (gap.first, gap.last)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_goes_on_and_tells_which_events_are_missing() {
    for version in VERSIONS {
        for options in [&[GO_ON][..], &[("subject", "s.a"), GO_ON]] {
            let server = Server::start(version);
            let context = jetstream(&server).await;
            let stream = stream(&context).await;
            publish(&context, 1..=100, |_| "s.a".into()).await;
            let source = source(&server, "S", options);
            let position = position_at_end(&source).await;
            publish(&context, 101..=160, |_| "s.a".into()).await;
            stream.purge().sequence(131).await.unwrap();
            let mut reader = source.read(Start::At(position.clone())).await.unwrap();
            let got = read_to(&mut reader, 161).await;
            assert_eq!((got.start, got.sequences()), (Some(101), (131..=160).collect()));
            assert_eq!(ranges(&got), [(101, 130)]);
            let gap = &got.gaps[0];
            assert!(gap.reason.contains("expected sequence 101") && gap.reason.contains("was 131"), "{gap:?}");
            assert!(gap.found_ms > 1_600_000_000_000, "{gap:?}");

            // Nothing is left, also of what comes while it is read.
            drop(reader);
            stream.purge().await.unwrap();
            let mut reader = source.read(Start::At(position)).await.unwrap();
            let got = read_to(&mut reader, 161).await;
            assert_eq!((got.rows.len(), ranges(&got)), (0, vec![(101, 160)]));
            publish(&context, 161..=165, |_| "s.a".into()).await;
            let got = read_to(&mut reader, 166).await;
            assert_eq!((got.sequences(), got.gaps.len()), ((161..=165).collect(), 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_gets_or_misses_each_event() {
    for options in [&[GO_ON][..], &[("subject", "s.a"), GO_ON]] {
        let server = Server::start(Version::Newest);
        let context = jetstream(&server).await;
        let stream = stream(&context).await;
        let mut config = config(&server, "S", options);
        config.limits.max_events = 10;
        let mut reader = NatsSource::new(config).unwrap().read(Start::First).await.unwrap();
        // More than can be on their way to a reader that nobody polls.
        publish(&context, 1..=40_000, |_| "s.a".into()).await;
        stream.purge().sequence(39_001).await.unwrap();
        let got = read_to(&mut reader, 40_001).await;
        let mut seen: Vec<u64> = got.sequences();
        let read = seen.len();
        for (first, last) in ranges(&got) {
            seen.extend(first..=last);
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, (1..=40_000).collect::<Vec<_>>(), "each is read or missing");
        assert!((1_000..39_000).contains(&read) && !got.gaps.is_empty(), "{read}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_or_passed_over_may_go() {
    for version in VERSIONS {
        for filtered in [false, true] {
            let server = Server::start(version);
            let context = jetstream(&server).await;
            let stream = stream(&context).await;
            publish(&context, 1..=10, |_| "s.a".into()).await;
            publish(&context, 11..=20, |_| "s.b".into()).await;
            let source = source(&server, "S", if filtered { &[("subject", "s.a")] } else { &[] });
            let position = position_at_end(&source).await;
            for subject in ["s.b", "s.a"] {
                stream.purge().filter(subject).await.unwrap();
                let mut reader = source.read(Start::At(position.clone())).await.unwrap();
                assert_eq!(read_to(&mut reader, 21).await.gaps, []);
            }
            publish(&context, 21..=22, |_| "s.a".into()).await;
            let mut reader = source.read(Start::At(position)).await.unwrap();
            let got = read_to(&mut reader, 23).await;
            assert_eq!((got.sequences().as_slice(), got.gaps.len()), (&[21, 22][..], 0));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_missing_events_are_a_gap() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    publish(&context, 1..=10, |_| "s.a".into()).await;
    let source = source(&server, "S", &[GO_ON]);
    let position = position_at_end(&source).await;
    context.delete_stream("S").await.unwrap();
    stream(&context).await;
    publish(&context, 1..=20, |_| "s.a".into()).await;
    assert!(changed(source.read(Start::At(position)).await.unwrap_err()).contains("was recreated"));
}

/// A source that reads a bucket with keys `$KV.b.<id>`, or the same messages as plain events.
fn bucket(server: &Server, is_bucket: bool) -> NatsSource {
    let options: &[(&str, &str)] = if is_bucket { &[("format", "kv"), ("key", "_subject")] } else { &[] };
    let mut config = config(server, "KV_b", options);
    let mut fields = vec![Field::new("id", DataType::Int64, true), Field::new("_subject", DataType::Utf8, true)];
    if is_bucket {
        fields.push(Field::new("_change", DataType::Int8, false));
    }
    config.columns = (0..fields.len()).collect();
    config.declared = Arc::new(Schema::new(fields));
    NatsSource::new(config).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_bucket_overwrites_is_no_gap() {
    for version in VERSIONS {
        for expires in [false, true] {
            let server = Server::start(version);
            let context = jetstream(&server).await;
            let config = stream::Config {
                name: "KV_b".into(),
                subjects: vec!["$KV.b.>".into()],
                max_messages_per_subject: 1,
                max_age: if expires { Duration::from_secs(3_600) } else { Duration::ZERO },
                ..Default::default()
            };
            let stream = context.create_stream(config).await.unwrap();
            let put = async |ids: std::ops::RangeInclusive<u64>| publish(&context, ids, |id| format!("$KV.b.{}", id % 10)).await;
            put(1..=10).await;
            let (keys, events) = (bucket(&server, true), bucket(&server, false));
            let position = position_at_end(&keys).await;
            let of_events = position_at_end(&events).await;
            // Every key is overwritten twice while nobody reads.
            put(11..=30).await;
            assert!(changed(events.read(Start::At(of_events)).await.unwrap_err()).contains("expected sequence 11"));
            if expires {
                // What has expired cannot be told from what was overwritten.
                assert!(changed(keys.read(Start::At(position)).await.unwrap_err()).contains("expected sequence 11"));
                continue;
            }
            let mut reader = keys.read(Start::At(position.clone())).await.unwrap();
            let got = read_to(&mut reader, 31).await;
            assert_eq!((got.sequences(), got.gaps.len()), ((21..=30).collect(), 0));
            let past = Past { began: Some(1), events: Some(10), position: position.clone() };
            assert_eq!(keys.holds(&past).await.unwrap(), Held::All, "the rows can be made anew");

            // Emptied by hand, it has lost keys.
            stream.purge().await.unwrap();
            assert!(changed(keys.read(Start::At(position)).await.unwrap_err()).contains("is 31"));
        }
    }
}
