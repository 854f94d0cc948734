//! Valid and invalid declarations.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Schema;

use super::*;
use crate::source::BatchLimits;

fn config(location: &str, options: &[(&str, &str)]) -> SourceConfig {
    SourceConfig {
        name: "orders".into(),
        stored_as: "NATS".into(),
        location: location.into(),
        folder: Default::default(),
        options: options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect::<BTreeMap<_, _>>(),
        declared: Arc::new(Schema::empty()),
        columns: vec![],
        limits: BatchLimits::default(),
    }
}

fn refused(location: &str, options: &[(&str, &str)]) -> (String, String) {
    match NatsOptions::parse(&config(location, options)) {
        Err(Error::Config { message, help }) => (message, help.unwrap_or_default()),
        other => panic!("{location} {options:?} gave {other:?}"),
    }
}

#[test]
fn a_full_declaration() {
    let options = NatsOptions::parse(&config(
        "nats://one:4222,two,tls://three:4333/ORDERS",
        &[
            ("subject", "a.> , b.*,a.>"),
            ("user", "u"),
            ("password", "p"),
            ("request_timeout", "2 seconds"),
            ("tls_first", "true"),
        ],
    ))
    .unwrap();
    assert_eq!(options.servers_text(), "nats://one:4222,nats://two:4222,tls://three:4333");
    assert_eq!(options.stream, "ORDERS");
    assert_eq!(options.subjects, ["a.>", "b.*"]);
    assert!(options.tls && options.tls_first);
    assert_eq!(options.request_timeout, Duration::from_secs(2));
    assert!(matches!(options.credentials, Credentials::User(_, _)));
}

#[test]
fn everything_is_no_filter() {
    assert!(NatsOptions::parse(&config("nats://h/S", &[("subject", "a, >")])).unwrap().subjects.is_empty());
}

#[test]
fn an_unknown_option_names_the_nearest() {
    let (message, help) = refused("nats://h/S", &[("pasword", "hunter2")]);
    assert!(message.contains("'pasword'"), "{message}");
    assert!(help.contains("'password'"), "{help}");
    assert!(!message.contains("hunter2") && !help.contains("hunter2"));
}

#[test]
fn bad_locations() {
    for location in [
        "h:4222/S",
        "http://h/S",
        "nats://h",
        "nats://h/",
        "nats://h/A.B",
        "nats:///S",
        "nats://h:x/S",
        "nats://h/S?x=1",
        "nats://a,,b/S",
        "nats://a,http://b/S",
    ] {
        refused(location, &[]);
    }
}

#[test]
fn secrets_in_the_location_are_not_repeated() {
    let (message, help) = refused("nats://me:hunter2@h/S", &[]);
    assert!(!message.contains("hunter2") && !help.contains("hunter2"), "{message} {help}");
    assert!(help.contains("environment"));
}

#[test]
fn credentials_are_of_one_kind_and_whole() {
    refused("nats://h/S", &[("user", "u")]);
    refused("nats://h/S", &[("password", "p")]);
    refused("nats://h/S", &[("token", "t"), ("creds", "f")]);
    refused("nats://h/S", &[("tls_cert", "f")]);
    let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
    let options = NatsOptions::parse(&config("nats://h/S", &[("nkey", seed)])).unwrap();
    assert!(matches!(options.credentials, Credentials::Seed(_)));
    assert!(!format!("{options:?}").contains(seed));
    let options = NatsOptions::parse(&config("nats://h/S", &[("nkey", "/a/file")])).unwrap();
    assert!(matches!(options.credentials, Credentials::SeedFile(_)));
}

#[test]
fn bad_values() {
    refused("nats://h/S", &[("tls_first", "maybe")]);
    refused("nats://h/S", &[("connect_timeout", "soon")]);
    refused("nats://h/S", &[("connect_timeout", "0s")]);
    for subject in ["a..b", "a b", ">.a", ".a"] {
        refused("nats://h/S", &[("subject", subject)]);
    }
}
