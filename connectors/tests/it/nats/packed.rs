//! Messages of several events, and of formats that are not JSON, through a server.

use alluvium_connectors::decode::Ordinals;
use arrow::array::{RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use async_nats::jetstream::message::PublishMessage;

use super::*;

/// A row: its sequence, its place in its message, and its id.
type Row = (u64, u32, i64);

/// Reads everything in batches of one message, so that each batch ends between two messages.
async fn rows(server: &Server, options: &[(&str, &str)]) -> (Vec<Row>, Vec<DeadLetter>) {
    let config = SourceConfig { limits: BatchLimits { max_events: 1, ..BatchLimits::default() }, ..config(server, "S", options) };
    let source = NatsSource::new(config).expect("a source");
    let end = source.extent().await.expect("an extent").end;
    let mut reader = source.read(Start::First).await.expect("a reader");
    let (mut rows, mut letters) = (Vec::new(), Vec::new());
    while reader.position().offset < end {
        let Read::Batch(batch) = next(&mut reader).await.expect("a batch") else { continue };
        let ids: &Int64Array = batch.rows.column(0).as_primitive::<Int64Type>();
        let ordinal = |row| batch.ordinals.as_ref().map_or(0, |ordinals: &Ordinals| ordinals.of(row));
        let of_batch = (0..ids.len()).map(|row| (batch.sequences.value(row), ordinal(row), ids.value(row)));
        rows.extend(of_batch);
        // The letter of a row has the bytes of its event, also in a part of the batch.
        if let Some(last) = batch.rows.num_rows().checked_sub(1) {
            let part = batch.since(batch.sequences.value(last));
            let letter = part.expression_letter("orders", "v", part.rows.num_rows() - 1, "it fails".into());
            assert_eq!(letter.ordinal.unwrap_or_default(), ordinal(last));
            assert!(!letter.payload.is_empty());
        }
        letters.extend(batch.dead_letters);
    }
    (rows, letters)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_a_message_keep_their_places() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    let send = async |message: PublishMessage| context.send_publish("s.a", message).await.unwrap().await.unwrap().sequence;
    let body = |bytes: &[u8]| PublishMessage::build().payload(bytes.to_vec().into());
    send(body(b"{\"id\":1}\n{\"id\":2}\nbad\n{\"id\":3}")).await;
    send(body(b"[{\"id\":4},{\"id\":5}]")).await;
    send(body(b"{\"id\":6}")).await;
    let (of_lines, letters) = rows(&server, &[("batch", "lines")]).await;
    assert_eq!(of_lines, [(1, 1, 1), (1, 2, 2), (1, 4, 3), (3, 1, 6)]);
    let places: Vec<_> = letters.iter().map(|letter| (letter.sequence, letter.ordinal, letter.payload.len())).collect();
    assert_eq!(places, [(1, Some(3), 3), (2, Some(1), 19)]);
    let (of_arrays, letters) = rows(&server, &[("batch", "array")]).await;
    assert_eq!(of_arrays, [(2, 1, 4), (2, 2, 5), (3, 0, 6)]);
    // The lines are no array, and no single object.
    assert_eq!(letters.iter().map(|letter| (letter.sequence, letter.ordinal)).collect::<Vec<_>>(), [(1, None)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrow_cloud_events_and_message_pack_are_read() {
    let server = Server::start(Version::Newest);
    let context = jetstream(&server).await;
    stream(&context).await;
    let send = async |message: PublishMessage| context.send_publish("s.a", message).await.unwrap().await.unwrap().sequence;
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as _),
        ("country", Arc::new(StringArray::from(vec!["DE", "FR"])) as _),
    ])
    .unwrap();
    let mut arrow = Vec::new();
    let mut writer = StreamWriter::try_new(&mut arrow, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    send(PublishMessage::build().payload(arrow.into())).await;
    let attributes = |message: PublishMessage| {
        let message = message.header("ce-specversion", "1.0").header("ce-source", "/shop").header("ce-type", "order");
        message.header("ce-id", "3").header("content-type", "application/json")
    };
    send(attributes(PublishMessage::build().payload("{\"total\":1.5}".into()))).await;
    let structured = r#"{"specversion":"1.0","id":"4","source":"/shop","type":"order","data":{"total":2}}"#;
    send(PublishMessage::build().header("content-type", "application/cloudevents+json").payload(structured.into())).await;
    send(PublishMessage::build().payload(format!("[{structured},{structured}]").into())).await;
    let mut pack = Vec::new();
    rmp::encode::write_map_len(&mut pack, 1).unwrap();
    rmp::encode::write_str(&mut pack, "id").unwrap();
    rmp::encode::write_sint(&mut pack, 5).unwrap();
    send(PublishMessage::build().payload(pack.into())).await;
    let (of_arrow, letters) = rows(&server, &[("format", "arrow")]).await;
    assert_eq!((of_arrow, letters.len()), (vec![(1, 1, 1), (1, 2, 2)], 4));
    let (of_events, letters) = rows(&server, &[("format", "cloudevents")]).await;
    assert_eq!((of_events, letters.len()), (vec![(2, 0, 3), (3, 0, 4), (4, 1, 4), (4, 2, 4)], 2));
    let (of_packs, letters) = rows(&server, &[("format", "msgpack")]).await;
    assert_eq!((of_packs, letters.len()), (vec![(5, 0, 5)], 4));
}
