#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::options::SourceSettings;
use super::*;

fn load(toml: &str, environment: &[(&str, &str)]) -> Result<Settings, Error> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), toml).unwrap();
    Settings::load(folder.path(), &overrides(environment))
}

fn overrides(environment: &[(&str, &str)]) -> Overrides {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Overrides { environment, ..Overrides::default() }
}

/// Returns the first error: message, help, line and column.
fn wrong(toml: &str) -> (String, Option<String>, (usize, usize)) {
    match load(toml, &[]) {
        Err(Error::Settings(errors)) => (errors.0[0].message.clone(), errors.0[0].help.clone(), errors.0[0].at.line_column()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn everything_has_a_default() {
    let settings = Settings::defaults(Path::new("views")).unwrap();
    assert_eq!(settings.data, Path::new("views/data"));
    assert_eq!(settings.commit_interval, Duration::from_secs(1));
    assert_eq!((settings.snapshots_kept, settings.snapshots_min_age), (10, Duration::from_secs(60)));
    assert_eq!((settings.http, settings.http_chosen), (Some("127.0.0.1:9464".parse().unwrap()), false));
    assert_eq!(settings.on_stream_change, OnStreamChange::Stop);
    let limits = alluvium_connectors::source::BatchLimits::default();
    assert_eq!((settings.batch_events, settings.batch_bytes), (limits.max_events, limits.max_bytes));
}

#[test]
fn the_environment_goes_before_the_file_and_the_command_line_before_both() {
    let toml = "commit_interval = \"200ms\"\nsnapshots_kept = 3\nhttp = \"off\"\n";
    let settings = load(toml, &[("ALLUVIUM_SNAPSHOTS_KEPT", "5"), ("ALLUVIUM_ON_STREAM_CHANGE", "rebuild")]).unwrap();
    assert_eq!((settings.commit_interval, settings.snapshots_kept), (Duration::from_millis(200), 5));
    assert_eq!((settings.http, settings.http_chosen), (None, true));
    assert_eq!(settings.on_stream_change, OnStreamChange::Rebuild);

    let folder = tempfile::tempdir().unwrap();
    let all =
        Overrides { data: Some("elsewhere".into()), http: Some("127.0.0.1:1".into()), ..overrides(&[("ALLUVIUM_HTTP", "off")]) };
    let settings = Settings::load(folder.path(), &all).unwrap();
    assert_eq!(settings.data, Path::new("elsewhere"));
    assert_eq!(settings.http, Some("127.0.0.1:1".parse().unwrap()));
}

#[test]
fn unknown_names_are_refused_with_the_nearest_and_their_place() {
    let (message, help, at) = wrong("# first\n  comit_interval = \"1s\"\n");
    assert_eq!(message, "there is no setting 'comit_interval'");
    assert_eq!(help.as_deref(), Some("did you mean commit_interval?"));
    assert_eq!(at, (2, 3));
    let (message, help, at) = wrong("[nats]\nusr = \"a\"\n");
    assert_eq!(
        (message.as_str(), help.as_deref(), at),
        ("there is no setting 'usr' in [nats]", Some("did you mean user?"), (2, 1))
    );
    assert_eq!(wrong("commit_interval = \"1s\nhttp = 3").2.0, 1);
    assert!(wrong("[source.orders]\nsubject = 'x'").1.unwrap().contains("sources"));
}

#[test]
fn wrong_values_say_what_to_write() {
    for (toml, help) in [
        ("commit_interval = 5", "unit"),
        ("commit_interval = \"0s\"", "above zero"),
        ("snapshots_kept = -1", "whole number"),
        ("http = \"there\"", "127.0.0.1:9464"),
        ("on_stream_change = \"go on\"", "rebuild"),
        ("batch_events = 0", "1 or more"),
        ("memory_limit = \"200%\"", "4 GB"),
        ("query_memory = \"much\"", "256 MB"),
        ("data = [1]", "data = \"data\""),
    ] {
        let (message, told, at) = wrong(toml);
        assert!(told.as_deref().is_some_and(|told| told.contains(help)), "{toml}: {message}: {told:?}");
        assert_eq!(at, (1, 1), "{toml}");
    }
    let error = load("", &[("ALLUVIUM_BATCH_EVENTS", "many")]).unwrap_err().to_string();
    assert!(error.contains("ALLUVIUM_BATCH_EVENTS"), "{error}");
}

#[test]
fn a_misspelt_variable_is_refused_and_a_foreign_one_is_not() {
    let error = load("", &[("ALLUVIUM_COMIT_INTERVAL", "1s")]).unwrap_err();
    assert_eq!(error.help().as_deref(), Some("did you mean ALLUVIUM_COMMIT_INTERVAL?"));
    load("", &[("ALLUVIUM_SERVICE_HOST", "10.0.0.1"), ("ALLUVIUM_PORT_9464_TCP_ADDR", "10.0.0.1")]).unwrap();
}

fn source(name: &str, options: &[(&str, &str)]) -> alluvium_sql::Source {
    let file = Arc::new(alluvium_sql::SqlFile { path: "sources.sql".into(), text: String::new() });
    alluvium_sql::Source {
        batches: false,
        name: name.into(),
        schema: Arc::new(arrow::datatypes::Schema::empty()),
        stored_as: "NATS".into(),
        location: "nats://there:4222/ORDERS".into(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        changes: None,
        once: None,
        watermark: None,
        of_schema: 0,
        notes: Vec::new(),
        at: alluvium_sql::Location { file, offset: 0, length: 0 },
    }
}

fn merged(settings: &SourceSettings, source: &alluvium_sql::Source) -> (String, BTreeMap<String, String>) {
    settings.merge(source, ["orders", "orders_eu"], Path::new("/views"))
}

#[test]
fn options_are_merged_from_strong_to_weak() {
    let toml = "[nats]\ncreds = 'weak.creds'\nsubject_of_nobody = 1\n";
    assert!(matches!(load(toml, &[]), Err(Error::Settings(_))));
    let toml = "[nats]\ncreds = 'weak.creds'\ntls_ca = 'ca.pem'\n[sources.orders]\nsubject = ['b.>', 'c.>']\nformat = 'json'\n";
    let settings = load(toml, &[]).unwrap().sources;
    let (location, options) = merged(&settings, &source("orders", &[("subject", "a.>"), ("domain", "hub")]));
    assert_eq!(location, "nats://there:4222/ORDERS");
    let expected = [
        ("creds", "/views/weak.creds"),
        ("domain", "hub"),
        ("format", "json"),
        ("subject", "b.>, c.>"),
        ("tls_ca", "/views/ca.pem"),
    ];
    assert_eq!(options, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

    let environment = [
        ("ALLUVIUM_SOURCE_ORDERS_SUBJECT", "d.>"),
        ("ALLUVIUM_SOURCE_ORDERS_EU_SUBJECT", "e.>"),
        ("ALLUVIUM_NATS_URL", "here:1"),
    ];
    let settings = load(toml, &environment).unwrap().sources;
    let (location, options) = merged(&settings, &source("orders", &[]));
    assert_eq!((location.as_str(), options["subject"].as_str()), ("nats://here:1/ORDERS", "d.>"));
    assert!(!options.contains_key("eu_subject") && !options.contains_key("url"));
    assert_eq!(merged(&settings, &source("orders_eu", &[])).1["subject"], "e.>");
}

#[test]
fn a_stronger_place_names_the_only_way_to_prove_who_we_are() {
    let settings = load("[nats]\nuser = 'a'\n", &[("ALLUVIUM_NATS_PASSWORD", "p")]).unwrap().sources;
    let (_, options) = merged(&settings, &source("orders", &[]));
    assert_eq!((options["user"].as_str(), options["password"].as_str()), ("a", "p"));
    let settings = load("[nats]\nuser = 'a'\npassword = 'b'\n", &[("ALLUVIUM_NATS_TOKEN", "t")]).unwrap().sources;
    let (_, options) = merged(&settings, &source("orders", &[("creds", "x")]));
    assert_eq!(options.keys().collect::<Vec<_>>(), ["token"]);
}

#[test]
fn files_are_named_as_they_are_written() {
    let settings = SourceSettings::default();
    let file =
        |location: &str| alluvium_sql::Source { stored_as: "FILE".into(), location: location.into(), ..source("orders", &[]) };
    for (location, expected) in
        [("events.jsonl", "events.jsonl"), ("-", "-"), ("/abs/*.jsonl", "/abs/*.jsonl"), ("file:///abs", "/abs")]
    {
        assert_eq!(merged(&settings, &file(location)).0, expected);
    }
}

#[test]
fn no_secret_is_ever_printed() {
    let secret = "hunter2";
    let toml = "[nats]\npassword = 'hunter2'\nuser = 'u'\n[sources.orders]\npassword = 'hunter2'\n";
    let environment = [("ALLUVIUM_NATS_PASSWORD", secret), ("ALLUVIUM_SOURCE_ORDERS_PASSWORD", secret)];
    let settings = load(toml, &environment).unwrap();
    let printed = format!("{settings:?} {:#?} {:?}", settings.sources, overrides(&environment));
    assert!(printed.contains("password") && !printed.contains(secret), "{printed}");

    let catalog = alluvium_sql::Catalog {
        sources: [("orders".to_owned(), source("orders", &[("password", secret)]))].into(),
        ..alluvium_sql::Catalog::default()
    };
    let project = crate::project::Project::new("/views".into(), settings, catalog).unwrap();
    assert!(!format!("{project:?}").contains(secret));
}

#[test]
fn settings_of_a_source_that_is_not_there_are_refused() {
    let settings = load("[sources.ordres]\nsubject = 'x'\n", &[]).unwrap();
    let catalog = alluvium_sql::Catalog {
        sources: [("orders".to_owned(), source("orders", &[]))].into(),
        ..alluvium_sql::Catalog::default()
    };
    let error = crate::project::Project::new("/views".into(), settings, catalog).unwrap_err();
    assert_eq!(error.help().as_deref(), Some("did you mean [sources.orders]?"));
}

#[test]
fn servers_beside_http_are_off_until_they_are_named() {
    assert_eq!(load("", &[]).unwrap().serve.postgres, None);
    let toml = "[serve]\npostgres = \"127.0.0.1:5433\"\npostgres_user = \"reader\"\n";
    let settings = load(toml, &[("ALLUVIUM_SERVE_POSTGRES_PASSWORD", "hidden")]).unwrap();
    assert_eq!(settings.serve.postgres, Some("127.0.0.1:5433".parse().unwrap()));
    assert_eq!((settings.serve.user.as_str(), settings.serve.password.as_deref()), ("reader", Some("hidden")));
    assert!(!format!("{settings:?}").contains("hidden"));
    assert_eq!(load(toml, &[("ALLUVIUM_SERVE_POSTGRES", "off")]).unwrap().serve.postgres, None);

    let (message, help, at) = wrong("[serve]\npostgress = \"off\"\n");
    assert_eq!(
        (message.as_str(), help.as_deref(), at),
        ("there is no setting 'postgress' in [serve]", Some("did you mean postgres?"), (2, 1))
    );
    let (message, _, at) = wrong("[serve]\npostgres = \"somewhere\"\n");
    assert_eq!((message.as_str(), at), ("serve.postgres cannot be used", (2, 1)));
    let (_, help, _) = wrong("[serve]\npostgres_password_file = \"missing\"\n");
    assert!(help.unwrap().contains("missing"));
}
