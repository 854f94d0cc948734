#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alluvium_projections::LeftOut;

use super::*;
use crate::serve::limits::Limits;
use crate::status::{Board, Committed, CommittedView, KeptLetter};
use tokio::sync::mpsc;

struct Running {
    base: String,
    board: Arc<Board>,
    commands: mpsc::Receiver<Command>,
    shutdown: CancellationToken,
}

async fn start(views: &[&str]) -> Running {
    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let base = format!("http://{}", server.address());
    let (sender, commands) = mpsc::channel(4);
    let (board, shutdown) = (Arc::new(Board::default()), CancellationToken::new());
    let engine = Engine {
        board: Arc::clone(&board),
        views: views.iter().map(|view| (*view).to_owned()).collect(),
        commands: sender,
        metrics: crate::metrics::install(),
        layout: crate::layout::Layout::new("/nowhere"),
        limits: Limits::new(2, Duration::from_secs(10), None),
        keys: Default::default(),
        declared: Declared::default(),
        token: None,
    };
    tokio::spawn(server.serve(engine, shutdown.clone()));
    Running { base, board, commands, shutdown }
}

/// Sends a request with a client that is not ours, and returns the status and the body.
async fn ask(method: &'static str, url: String, headers: Vec<(&'static str, String)>) -> (u16, String) {
    tokio::task::spawn_blocking(move || {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(20))).build();
        let agent: ureq::Agent = config.into();
        let mut response = if method == "GET" {
            agent.get(url).call().unwrap()
        } else {
            headers.into_iter().fold(agent.post(url), |request, (name, value)| request.header(name, value)).send_empty().unwrap()
        };
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    })
    .await
    .unwrap()
}

async fn get_url(running: &Running, path: &str) -> (u16, String) {
    ask("GET", format!("{}{path}", running.base), Vec::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_be_scraped() {
    let running = start(&[]).await;
    let left_out = LeftOut { rows: 3, first_error: Some("Divide by zero error".to_owned()) };
    let view = CommittedView {
        view: "scraped".into(),
        rows: 7,
        state_written: 5,
        view_written: 7,
        left_out,
        ..CommittedView::default()
    };
    let committed = Committed {
        committed_ms: 1,
        took: Duration::from_millis(2),
        offsets: [("orders".to_owned(), 11)].into(),
        newest_ns: [("orders".to_owned(), 1)].into(),
        views: vec![view],
        dead_letters: vec![KeptLetter { source: "scraped_source".to_owned(), view: None, kind: "not_json" }],
        ..Committed::default()
    };
    running.board.applied("scraped", "orders", 11, Some(21));
    running.board.committed(&committed);
    running.board.live("scraped");
    running.board.rebuild_began("being_rebuilt");
    running.board.rebuild_applied("being_rebuilt", "orders", 1, Some(4));
    crate::metrics::reader_restarted("scraped_source");
    crate::metrics::batch_applied("scraped", Duration::from_millis(3));
    crate::metrics::committed(&committed);

    let (code, text) = get_url(&running, "/metrics").await;
    assert_eq!(code, 200);
    let scrape = prometheus_parse::Scrape::parse(text.lines().map(|line| Ok(line.to_owned()))).unwrap();
    let value = |name: &str, labels: &[(&str, &str)]| {
        let sample = scrape
            .samples
            .iter()
            .find(|sample| sample.metric == name && labels.iter().all(|(label, value)| sample.labels.get(label) == Some(*value)));
        match &sample.unwrap_or_else(|| panic!("{name} {labels:?} in\n{text}")).value {
            prometheus_parse::Value::Counter(value)
            | prometheus_parse::Value::Gauge(value)
            | prometheus_parse::Value::Untyped(value) => *value,
            prometheus_parse::Value::Histogram(buckets) => buckets.iter().map(|bucket| bucket.count).fold(0.0, f64::max),
            other => panic!("{name}: {other:?}"),
        }
    };
    assert_eq!(value("alluvium_dead_letters_total", &[("source", "scraped_source"), ("kind", "not_json")]), 1.0);
    assert_eq!(value("alluvium_rows_left_out_total", &[("view", "scraped")]), 3.0);
    assert_eq!(running.board.all().iter().map(|view| view.left_out).sum::<u64>(), 3);
    assert_eq!(value("alluvium_reader_restarts_total", &[("source", "scraped_source")]), 1.0);
    assert_eq!(value("alluvium_batch_duration_seconds", &[("view", "scraped")]), 1.0);
    assert_eq!(value("alluvium_commit_duration_seconds", &[("view", "scraped")]), 1.0);
    assert_eq!(value("alluvium_commits_total", &[("view", "scraped")]), 1.0);
    assert_eq!(value("alluvium_view_lag_events", &[("view", "scraped"), ("source", "orders")]), 10.0);
    assert!(value("alluvium_view_freshness_seconds", &[("view", "scraped")]) > 1e6);
    assert_eq!(value("alluvium_view_rows", &[("view", "scraped")]), 7.0);
    assert_eq!(value("alluvium_rebuild_progress_ratio", &[("view", "being_rebuilt")]), 0.25);
    assert_eq!(value("alluvium_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
    for sample in &scrape.samples {
        let name = sample.metric.trim_end_matches("_sum").trim_end_matches("_count");
        assert!(scrape.docs.contains_key(name), "{name} has no HELP");
    }
    running.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_when_every_view_was_live_once() {
    let running = start(&["a", "b"]).await;
    assert_eq!(get_url(&running, "/healthz").await.0, 200);
    running.board.declare("b", Default::default());
    running.board.live("a");
    let (code, text) = get_url(&running, "/readyz").await;
    assert_eq!(code, 503);
    let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["not_ready"], json!([{"view": "b", "phase": "catching_up"}]));

    running.board.live("b");
    assert_eq!(get_url(&running, "/readyz").await.0, 200);
    running.board.rebuild_began("b");
    assert_eq!(get_url(&running, "/readyz").await.0, 200, "the old view serves");
    running.board.failed("b", "damaged");
    assert_eq!(get_url(&running, "/readyz").await.0, 503);

    let status: Vec<crate::status::ViewStatus> = serde_json::from_str(&get_url(&running, "/status").await.1).unwrap();
    assert_eq!(status.iter().map(|status| status.view.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    running.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_the_runtime_and_its_answer_comes_back() {
    let mut running = start(&[]).await;
    let url = format!("{}/rebuild/by%20day", running.base);
    let asked = tokio::spawn(ask("POST", url, vec![(COMMAND_HEADER, "1".into())]));
    match running.commands.recv().await {
        Some(Command::Rebuild { view, reply, .. }) => {
            assert_eq!(view, "by day");
            reply.send(Ok(())).unwrap();
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(asked.await.unwrap().0, 200);

    let asked = tokio::spawn(ask("POST", format!("{}/drop/a", running.base), vec![(COMMAND_HEADER, "1".into())]));
    match running.commands.recv().await {
        Some(Command::Drop { reply, .. }) => reply.send(Err(Error::config("it is declared", "remove it"))).unwrap(),
        other => panic!("{other:?}"),
    }
    let (code, text) = asked.await.unwrap();
    assert_eq!(code, 409);
    assert!(text.contains("it is declared") && text.contains("remove it"), "{text}");
    running.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_page_cannot_give_commands() {
    let mut running = start(&[]).await;
    let url = format!("{}/drop/a", running.base);
    assert_eq!(ask("POST", url.clone(), Vec::new()).await.0, 403, "no header");
    assert_eq!(
        ask("POST", url.clone(), vec![(COMMAND_HEADER, "1".into()), ("host", "evil.example:9464".into())]).await.0,
        403,
        "a name that points here"
    );
    assert_eq!(get_url(&running, "/drop/a").await.0, 405);
    assert!(running.commands.try_recv().is_err());
    running.shutdown.cancel();
}

#[test]
fn commands_come_from_this_machine_only() {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let headers = |host: &str| {
        HeaderMap::from_iter([(header::HOST, host.parse().unwrap()), (COMMAND_HEADER.parse().unwrap(), "1".parse().unwrap())])
    };
    let ok = |bound: &str, peer: &str, host: &str| allowed(ip(bound), ip(peer), &headers(host)).is_ok();
    assert!(ok("127.0.0.1", "127.0.0.1", "localhost:9464"));
    assert!(ok("::1", "::1", "[::1]:9464"));
    assert!(ok("10.0.0.5", "10.0.0.5", "10.0.0.5:9464"));
    assert!(!ok("0.0.0.0", "10.0.0.6", "127.0.0.1:9464"), "another machine");
    assert!(!ok("0.0.0.0", "127.0.0.1", "0.0.0.0:9464"), "browsers reach this machine by it");
    assert!(!ok("127.0.0.1", "127.0.0.1", "views.example"));
}

#[tokio::test]
async fn a_taken_port_says_how_to_choose_another() {
    let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = Server::bind(first.address()).await.unwrap_err();
    assert!(error.to_string().contains("taken") && error.help().unwrap().contains("--http"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_are_closed() {
    use tokio::io::AsyncReadExt;

    let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = server.address();
    let (commands, _receiver) = mpsc::channel(1);
    let engine = Engine {
        board: Arc::default(),
        views: Vec::new(),
        commands,
        metrics: crate::metrics::install(),
        layout: crate::layout::Layout::new("/nowhere"),
        limits: Limits::new(2, Duration::from_secs(10), None),
        keys: Default::default(),
        declared: Declared::default(),
        token: None,
    };
    let shutdown = CancellationToken::new();
    tokio::spawn(server.serve_with(engine, shutdown.clone(), Duration::from_millis(100)));
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    for mut connection in silent {
        let closed = tokio::time::timeout(Duration::from_secs(20), connection.read(&mut [0; 16])).await.unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
    shutdown.cancel();
}
