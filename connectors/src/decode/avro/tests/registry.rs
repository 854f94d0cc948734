//! Bodies of a registry, beside a server that answers as one.

use arrow::datatypes::DataType;

use super::{PAIR, decode, long, nullable, show, text};
use crate::Error;
use crate::decode::tests::registry::{declared, serve};
use crate::decode::{Decoder, Message};

fn schema(schema: &str) -> String {
    serde_json::json!({ "schema": schema }).to_string()
}

fn decoder(options: &[(&str, &str)]) -> Result<Decoder, Error> {
    let fields = vec![nullable("n", DataType::Int64), nullable("word", DataType::Utf8)];
    Decoder::new(&declared(fields, options))
}

fn framed(id: u32, datum: &[Vec<u8>]) -> Vec<u8> {
    [vec![0], id.to_be_bytes().to_vec(), datum.concat()].concat()
}

fn error_of(decoder: &Decoder, body: &[u8]) -> Error {
    let message = Message { sequence: 1, subject: "s", timestamp_ns: None, headers: None, payload: body };
    decoder.decode(1, [message]).unwrap_err()
}

#[test]
fn each_body_is_read_by_its_own_schema() {
    let other = r#"{"type":"record","name":"Pair","fields":[{"name":"word","type":"string"},{"name":"more","type":"boolean"},{"name":"n","type":"Amount"}]}"#;
    let amount = r#"{"type":"fixed","name":"Amount","size":2,"logicalType":"decimal","precision":4}"#;
    let refers = serde_json::json!({"schema": other, "references": [{"name": "Amount", "subject": "the amount", "version": 3}]});
    let (url, answers) = serve(&[
        ("/schemas/ids/1", 200, schema(PAIR)),
        ("/schemas/ids/258", 200, refers.to_string()),
        ("/subjects/the%20amount/versions/3", 200, schema(amount)),
        ("/schemas/ids/3", 200, serde_json::json!({"schema": "x", "schemaType": "PROTOBUF"}).to_string()),
    ]);
    let decoder =
        decoder(&[("format", "avro"), ("registry", &url), ("registry_user", "me"), ("registry_password", "secret")]).unwrap();
    let bodies = [
        framed(1, &[long(5), text("a")]),
        framed(258, &[text("b"), vec![1], vec![1, 0]]),
        framed(1, &[long(7)]),
        framed(3, &[]),
        framed(4, &[]),
        vec![0, 0, 0],
        b"{}".to_vec(),
    ];
    for _ in 0..3 {
        let decoded = decode(&decoder, &bodies);
        let shown: Vec<_> = (0..2).map(|row| [0, 1].map(|column| show(decoded.rows.column(column), row))).collect();
        assert_eq!(shown, [["5", "a"], ["256", "b"]]);
        let errors: Vec<_> = decoded.dead_letters.iter().map(|letter| letter.error.as_str()).collect();
        assert_eq!(errors[0], "cut off: the body ends within the datum, at byte 6");
        assert_eq!(errors[1], "schema 3 of the registry: it is one of PROTOBUF, not of Avro");
        assert_eq!(errors[2], "the registry has no schema 4");
        assert!(errors[3..].iter().all(|error| error.starts_with("the body does not begin with a zero byte")), "{errors:?}");
    }
    let answers = answers.lock().unwrap();
    let paths: Vec<_> = answers.asked.iter().map(|(path, _)| path.as_str()).collect();
    let expected =
        ["/schemas/ids/1", "/schemas/ids/258", "/subjects/the%20amount/versions/3", "/schemas/ids/3", "/schemas/ids/4"];
    assert_eq!(paths, expected, "each is asked for once");
    assert!(answers.asked.iter().all(|(_, authorization)| authorization.ends_with("Basic bWU6c2VjcmV0")));
    assert!(!format!("{decoder:?}").contains("secret"));
}

#[test]
fn a_registry_that_is_away_is_waited_for_and_no_event_is_lost() {
    let (url, answers) = serve(&[("/schemas/ids/1", 503, String::new())]);
    let decoder = decoder(&[("format", "avro"), ("registry", &url)]).unwrap();
    let body = framed(1, &[long(5), text("a")]);
    let error = error_of(&decoder, &body);
    assert!(matches!(&error, Error::Unavailable { message, .. } if message.contains("answers with status 503")), "{error}");
    answers.lock().unwrap().by_path.insert("/schemas/ids/1".into(), (401, String::new()));
    let error = error_of(&decoder, &body);
    assert!(matches!(&error, Error::Config { message, .. } if message.contains("refuses us")), "{error}");
    answers.lock().unwrap().by_path.insert("/schemas/ids/1".into(), (200, schema(PAIR)));
    assert_eq!(show(decode(&decoder, &[&body]).rows.column(0), 0), "5");
    let nobody = self::decoder(&[("format", "avro"), ("registry", "http://127.0.0.1:1")]).unwrap();
    assert!(matches!(error_of(&nobody, &body), Error::Unavailable { message, .. } if message.contains("does not answer")));
}

#[test]
fn wrong_options_are_refused_without_their_secrets() {
    let url = ("registry", "http://host:8081");
    for (options, said) in [
        (&[("registry", "http://me:geheim@host")][..], "holds credentials"),
        (&[("registry", "https://host")], "does not begin with http://"),
        (&[url, ("registry_password", "geheim")], "not whole"),
        (&[("schema", "x.avsc"), ("registry_user", "me")], "is one of a registry"),
        (&[], "needs a schema"),
    ] {
        let options = [&[("format", "avro")], options].concat();
        match decoder(&options) {
            Err(Error::Config { message, .. }) => assert!(message.contains(said) && !message.contains("geheim"), "{message}"),
            other => panic!("{other:?}"),
        }
    }
}
