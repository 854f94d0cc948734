//! Audits of a source's filter.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_is_compared_with_the_stream() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        let stream = stream(&context).await;
        publish(&context, 1..=5_000, |id| if id % 5 == 0 { "s.a.x".into() } else { "s.b".into() }).await;
        stream.delete_message(4_995).await.unwrap();
        let unaudited = source(&server, "S", &[("subject", "s.a.*"), ("audit_interval", "off")]);
        assert_eq!(read_all(&unaudited).await.rows.len(), 999);
        let source = source(&server, "S", &[("subject", "s.a.*"), ("audit_interval", "1ms")]);
        assert!(source.audited().is_none());
        assert_eq!(read_all(&source).await.rows.len(), 999);
        let begun = std::time::Instant::now();
        let audited = loop {
            match source.audited() {
                Some(audited) if audited.events > 0 => break audited,
                _ => assert!(begun.elapsed() < LIMIT, "no audit"),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert!((1..=200 * audited.audits).contains(&audited.events) && audited.skipped == 0, "{audited:?}");
        assert!(unaudited.audited().is_none());
    }
}
