//! Which messages are events.

use async_nats::jetstream::message::PublishMessage;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markers_are_passed_over_and_empty_bodies_are_not() {
    for version in VERSIONS {
        let server = Server::start(version);
        let context = jetstream(&server).await;
        stream(&context).await;
        let send = async |message: PublishMessage| context.send_publish("s.a", message).await.unwrap().await.unwrap().sequence;
        let event = || PublishMessage::build().payload("{\"id\":1}".into());
        send(event()).await;
        send(PublishMessage::build().header("KV-Operation", "DEL")).await;
        send(PublishMessage::build().header("KV-Operation", "PURGE")).await;
        send(PublishMessage::build().header("Nats-Marker-Reason", "MaxAge")).await;
        send(PublishMessage::build()).await;
        send(event().header("KV-Operation", "DEL")).await;
        send(PublishMessage::build().header("KV-Operation", "DEL")).await;
        let got = read_all(&source(&server, "S", &[])).await;
        assert_eq!(got.sequences(), [1, 6]);
        assert_eq!((got.events, got.end), (3, 8));
        assert_eq!(got.dead.iter().map(|letter| letter.sequence).collect::<Vec<_>>(), [5]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_carry_where_they_came_from() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    let broken: &[u8] = b"{\"id\": 1\xff";
    publish(&context, 1..=3, |_| "s.good".into()).await;
    let message = PublishMessage::build().payload(broken.to_vec().into()).header("Trace", "t-1").message_id("m-1");
    context.send_publish("s.bad.one", message).await.unwrap().await.unwrap();
    publish(&context, 5..=6, |_| "s.good".into()).await;
    let got = read_all(&source(&server, "S", &[])).await;
    assert_eq!(got.sequences(), [1, 2, 3, 5, 6]);
    let [letter] = got.dead.as_slice() else { panic!("one dead letter, not {}", got.dead.len()) };
    assert_eq!((letter.source.as_str(), letter.sequence, letter.subject.as_str()), ("orders", 4, "s.bad.one"));
    assert_eq!(letter.payload, broken);
    assert!(letter.timestamp_ns.is_some_and(|time| time > 1_600_000_000_000_000_000));
    let headers = letter.headers.as_deref().unwrap_or_default();
    assert!(headers.contains("\"Trace\":\"t-1\"") && headers.contains("\"Nats-Msg-Id\":\"m-1\""), "{headers}");
    assert!(headers.find("Nats-Msg-Id") < headers.find("Trace"), "by name: {headers}");
}
