//! Whether a stream still holds the events that were read.

use super::*;

/// Reads everything that the source holds, from the stream's first event on.
async fn past(source: &NatsSource, events: u64) -> Past {
    let began = source.extent().await.unwrap().first;
    Past { began: Some(began), events: Some(events), position: position_at_end(source).await }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_gone_are_counted_and_those_of_other_subjects_are_not() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        let stream = stream(&context).await;
        // Even ids go to s.a, odd ones to s.b.
        publish(&context, 1..=100, |id| if id % 2 == 0 { "s.a".into() } else { "s.b".into() }).await;
        let (all, half) = (source(&server, "S", &[]), source(&server, "S", &[("subject", "s.a")]));
        let (of_all, of_half) = (past(&all, 100).await, past(&half, 50).await);
        let unknown = Past { began: None, events: None, ..of_half.clone() };
        for (source, past) in [(&all, &of_all), (&half, &of_half), (&half, &unknown)] {
            assert_eq!(source.holds(past).await.unwrap(), Held::All);
        }
        assert_eq!((half.events_from(1).await.unwrap(), half.events_from(51).await.unwrap()), (50, 25));

        stream.purge().filter("s.b").await.unwrap();
        assert_eq!(half.holds(&of_half).await.unwrap(), Held::All, "events of other subjects do not matter");
        assert_eq!(half.holds(&unknown).await.unwrap(), Held::Part { first: 2, gone: None });
        assert_eq!(all.holds(&of_all).await.unwrap(), Held::Part { first: 2, gone: Some(50) });
        // Later events are not among those that were read.
        publish(&context, 101..=200, |_| "s.a".into()).await;
        assert_eq!(half.holds(&of_half).await.unwrap(), Held::All);

        stream.delete_message(50).await.unwrap();
        assert_eq!(half.holds(&of_half).await.unwrap(), Held::Part { first: 2, gone: Some(1) });
        let later = past(&half, 149).await;
        stream.purge().sequence(61).await.unwrap();
        // Event 61 was purged before, and servers differ in whether they count it as the first.
        let first = half.extent().await.unwrap().first;
        assert!([61, 62].contains(&first), "{first}");
        assert_eq!(half.holds(&of_half).await.unwrap(), Held::Part { first, gone: Some(30) });
        assert_eq!(half.holds(&later).await.unwrap(), Held::Part { first, gone: Some(29) });
        // Who began after that has lost nothing.
        let later = past(&half, 120).await;
        assert_eq!(half.holds(&later).await.unwrap(), Held::All);

        context.delete_stream("S").await.unwrap();
        changed(half.holds(&later).await.unwrap_err());
        super::stream(&context).await;
        changed(half.holds(&later).await.unwrap_err());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marker_does_not_stand_for_an_event_that_is_gone() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    let config = stream::Config { max_messages_per_subject: 1, ..Default::default() };
    stream_with(&context, config).await;
    publish(&context, 1..=2, |id| format!("s.{id}")).await;
    let source = source(&server, "S", &[]);
    let before = past(&source, 2).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("KV-Operation", "DEL");
    context.publish_with_headers("s.1", headers, "".into()).await.unwrap().await.unwrap();
    assert_eq!(source.holds(&before).await.unwrap(), Held::Part { first: 2, gone: Some(1) });
    let after = Past { position: position_at_end(&source).await, ..before };
    assert_eq!(source.holds(&after).await.unwrap(), Held::Part { first: 2, gone: Some(1) });
}
