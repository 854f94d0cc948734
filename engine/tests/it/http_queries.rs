//! SQL and the rows of views over HTTP, and `wait`, with clients that are not ours.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use arrow::ipc::reader::StreamReader;
use serde_json::{Value, json};

use crate::orders::{Orders, VIEWS, wait_until};
use crate::served::Served;

/// An answer: its status, its headers and its body.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60))).build().into()
}

fn of(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let body = response.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    Answer { code: response.status().as_u16(), headers: response.headers().clone(), body }
}

pub(crate) fn post(served: &Served, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let request = agent().post(format!("{}{path}", served.url()));
    of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(body).unwrap())
}

pub(crate) fn get(served: &Served, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = agent().get(format!("{}{path}", served.url()));
    of(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call().unwrap())
}

fn served(variables: &[(&str, &str)]) -> (Orders, Served) {
    let mut orders = Orders::new(VIEWS);
    orders.publish(2_000);
    let served = Served::start(&orders, variables);
    wait_until("the views have every order", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 2_001));
    (orders, served)
}

#[test]
fn sql_is_answered_in_each_format() {
    let (orders, served) = served(&[]);
    let sql = "SELECT country, n, revenue FROM by_country ORDER BY country";
    let by_query = |format| orders.succeed(&["query", "--format", format, sql]);
    let csv = post(&served, "/query", &[("accept", "text/csv")], sql);
    assert_eq!((csv.code, csv.text()), (200, by_query("csv")));
    let lines = post(&served, "/query", &[], sql);
    assert_eq!((lines.text(), lines.header("content-type")), (by_query("json"), "application/x-ndjson"));
    let body = json!({"sql": sql}).to_string();
    let array = post(&served, "/query?format=json", &[("content-type", "application/json")], &body);
    assert_eq!(array.json().as_array().unwrap().len(), 5);
    let arrow = post(&served, "/query?format=arrow", &[], "SELECT * FROM by_customer");
    let rows: usize = StreamReader::try_new(&arrow.body[..], None).unwrap().map(|batch| batch.unwrap().num_rows()).sum();
    assert_eq!(
        rows.to_string(),
        orders.succeed(&["query", "--format", "csv", "SELECT count(*) AS n FROM by_customer"])[2..].trim()
    );
    // No rows are an answer, too, and a NULL is said.
    assert_eq!(post(&served, "/query?format=csv", &[], "SELECT n FROM by_country WHERE n < 0").text(), "n\n");
    assert_eq!(post(&served, "/query?format=json", &[], "SELECT n FROM by_country WHERE n < 0").json(), json!([]));
    assert_eq!(post(&served, "/query", &[], "SELECT CAST(NULL AS INT) AS nothing").text(), "{\"nothing\":null}\n");
    // Views that read each other are read at one commit.
    let together = "SELECT (SELECT sum(n) FROM by_bucket) = (SELECT n FROM totals) AS same, (SELECT count(*) FROM best) AS best";
    assert_eq!(post(&served, "/query", &[], together).json(), json!({"same": true, "best": 10}));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let (_orders, served) = served(&[]);
    let answer = post(&served, "/query", &[], "SELECT country,\n  revenu FROM by_country");
    assert_eq!(answer.code, 400);
    let wrong = answer.json();
    assert_eq!((&wrong["line"], &wrong["column"]), (&json!(2), &json!(3)), "{wrong}");
    assert!(wrong["message"].as_str().unwrap().contains("revenu"), "{wrong}");
    assert_eq!(wrong["help"], "did you mean revenue?");
    for (sql, said) in [
        ("DROP TABLE by_country", "a query can only read"),
        ("SELECT * FROM by_contry", "no committed view by_contry"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("{\"query\": \"SELECT 1\"}", "no member `sql`"),
        ("SELECT 1 / (n - n) FROM by_country", "a division by zero"),
        ("", "empty"),
    ] {
        let answer = post(&served, "/query", &[], sql);
        assert!(answer.code == 400 && answer.text().contains(said), "{sql}: {} {}", answer.code, answer.text());
    }
    assert_eq!(post(&served, "/query?format=xml", &[], "SELECT 1").code, 400);
    assert_eq!(get(&served, "/query", &[]).code, 405);
    let rebound = post(&served, "/query", &[("host", "views.example")], "SELECT 1");
    assert_eq!(rebound.code, 403, "a web page with a name that points here reads nothing");
}

#[test]
fn views_are_served_to_who_carries_the_token() {
    let (_orders, served) = served(&[("ALLUVIUM_SERVE_HTTP_TOKEN", "a token")]);
    for carried in [&[][..], &[("authorization", "Bearer another")]] {
        for path in ["/views", "/views/by_country", "/views/by_country/rows", "/views/by_country/changes"] {
            assert_eq!(get(&served, path, carried).code, 403, "{path}");
        }
        assert_eq!(post(&served, "/query", carried, "SELECT 1").code, 403);
    }
    let carried = [("authorization", "Bearer a token"), ("host", "views.example")];
    assert_eq!(post(&served, "/query", &carried, "SELECT 1").code, 200);
    assert_eq!(get(&served, "/healthz", &[]).code, 200);
}

#[test]
fn queries_are_bounded_and_end_with_their_client() {
    const HEAVY: &str =
        "SELECT count(*) FROM generate_series(1, 1000) a, generate_series(1, 1000000000) b WHERE (a.value * b.value) % 7 = 9";
    let (_orders, served) = served(&[("ALLUVIUM_MAX_QUERIES", "1"), ("ALLUVIUM_QUERY_TIMEOUT", "5 seconds")]);
    let late = post(&served, "/query", &[], HEAVY);
    assert!(late.code == 504 && late.text().contains("query_timeout"), "{} {}", late.code, late.text());
    // A client that goes away gives back the only turn, before and while it receives rows.
    for sql in [HEAVY, "SELECT value FROM generate_series(1, 1000000000)"] {
        let mut client = std::net::TcpStream::connect(served.url().trim_start_matches("http://")).unwrap();
        write!(client, "POST /query HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{sql}", sql.len()).unwrap();
        if sql != HEAVY {
            let mut some = [0; 1 << 16];
            client.read_exact(&mut some).unwrap();
            assert!(some.starts_with(b"HTTP/1.1 200"));
        }
        // A query that came before its own has the turn for a moment.
        wait_until("it has the only turn", || {
            let refused = post(&served, "/query", &[], "SELECT 1");
            assert!(refused.code == 200 || refused.text().contains("max_queries"), "{} {}", refused.code, refused.text());
            refused.code == 503
        });
        drop(client);
        wait_until("its turn is free", || post(&served, "/query", &[], "SELECT 1").code == 200);
    }
}

#[test]
fn a_query_for_which_too_little_memory_is_left_fails_alone() {
    let (mut orders, served) = served(&[("ALLUVIUM_QUERY_MEMORY", "1 MB")]);
    let large = "SELECT value, count(*) FROM generate_series(1, 1000000) GROUP BY value ORDER BY value";
    let refused = post(&served, "/query", &[], large);
    assert!(refused.code == 503 && refused.text().contains("query_memory"), "{} {}", refused.code, refused.text());
    assert_eq!(post(&served, "/query", &[], "SELECT count(*) FROM by_customer").code, 200);
    orders.publish(100);
    wait_until("views go on", || orders.offset("by_customer") == 2_101);
}

#[test]
fn rows_of_a_view_are_a_read_model() {
    let (mut orders, served) = served(&[]);
    let about = get(&served, "/views/by_country", &[]).json();
    assert_eq!(about["key"], json!(["country"]));
    assert_eq!(about["columns"][2], json!({"name": "revenue", "type": "DECIMAL(22, 2)", "nullable": true}), "{about}");
    assert_eq!((&about["rows"], &about["offsets"]), (&json!(5), &json!({"orders": 2001})));
    assert_eq!(about["epoch"], orders.epoch("by_country"));
    assert!(about["staleness_seconds"].is_number() && about["phase"].is_string(), "{about}");
    assert_eq!(get(&served, "/views", &[]).json()["views"].as_array().unwrap().len(), VIEWS.len());

    let one = get(&served, "/views/by_country/rows?country=DE", &[]);
    assert_eq!(one.header("content-type"), "application/json");
    let expected = orders.succeed(&["query", "--format", "json", "SELECT * FROM by_country WHERE country = 'DE'"]);
    assert_eq!(one.json()[0], serde_json::from_str::<Value>(&expected).unwrap());
    assert_eq!(get(&served, "/views/by_country/rows?country=XX", &[]).json(), json!([]));
    let best = get(&served, "/views/by_country/rows?order_by=n%20desc,country&limit=2&format=csv", &[]).text();
    assert_eq!(best, orders.succeed(&["query", "--format", "csv", "SELECT * FROM by_country ORDER BY n DESC, country LIMIT 2"]));
    let all = get(&served, "/views/by_customer/rows?format=jsonl", &[]).text();
    for line in all.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let found = get(&served, &format!("/views/by_customer/rows?customer={}", row["customer"]), &[]).json();
        assert_eq!(found, json!([row]));
    }
    assert_eq!(all.lines().count() as u64, get(&served, "/views/by_customer", &[]).json()["rows"].as_u64().unwrap());
    let order = get(&served, "/views/large_orders/rows?limit=1", &[]).json();
    let total = order[0]["total"].to_string();
    let by_value = format!("/views/large_orders/rows?order_id={}&total={}", order[0]["order_id"], total.trim_matches('"'));
    assert_eq!(get(&served, &by_value, &[]).json(), order);
    let placed = format!("/views/large_orders/rows?placed_at={}", order[0]["placed_at"].as_str().unwrap());
    assert!(get(&served, &placed, &[]).json().as_array().unwrap().contains(&order[0]));

    for (path, code, said) in [
        ("/views/by_country/rows?n=many", 400, "column n is a BIGINT, and 'many' is none"),
        ("/views/by_country/rows?contry=DE", 400, "did you mean country?"),
        ("/views/by_country/rows?order_by=x", 400, "there is no column x"),
        ("/views/by_country/rows?limit=-1", 400, "limit '-1'"),
        ("/views/by_country/rows?n=1&n=2", 400, "given twice"),
        ("/views/by_country/rows?min_sequence=x", 400, "SOURCE:N"),
        ("/views/by_country/rows?min_sequence=payments:1", 400, "does not read source payments"),
        ("/views/by_country/rows?timeout=1s", 400, "there is no min_sequence"),
        ("/views/by_contry/rows", 404, "did you mean by_country?"),
        ("/views/by_contry", 404, "did you mean by_country?"),
        ("/views/..%2F..%2Fdata/rows", 404, "there is no view"),
    ] {
        let answer = get(&served, path, &[]);
        assert!(answer.code == code && answer.text().contains(said), "{path}: {} {}", answer.code, answer.text());
    }

    let tag = one.header("etag").to_owned();
    let again = get(&served, "/views/by_country/rows?country=DE", &[("if-none-match", &tag)]);
    assert_eq!((again.code, again.body.len(), again.header("etag")), (304, 0, tag.as_str()));
    orders.publish(1);
    let newer = get(&served, "/views/by_country/rows?min_sequence=2001&timeout=60s", &[("if-none-match", &tag)]);
    assert_eq!(newer.code, 200);
    assert_ne!(newer.header("etag"), tag);
    let n: u64 = newer.json().as_array().unwrap().iter().map(|row| row["n"].as_u64().unwrap()).sum();
    assert_eq!(n, 2_001);
    let late = get(&served, "/views/by_country/rows?min_sequence=orders:2002&timeout=100ms", &[]);
    assert!(late.code == 504 && late.text().contains("orders before 2002"), "{} {}", late.code, late.text());
}

#[test]
fn the_shell_waits_until_an_event_is_committed() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(10);
    let said = |arguments: &[&str]| orders_said(&orders, arguments);
    let (code, log) = said(&["wait", "by_country", "--sequence", "10", "--timeout", "50ms"]);
    assert!(code == Some(1) && log.contains("has no commit yet") && log.contains("no engine is running"), "{log}");
    let (code, log) = said(&["wait", "by_contry", "--sequence", "10"]);
    assert!(code == Some(1) && log.contains("did you mean by_country?"), "{log}");
    assert_eq!(said(&["wait", "by_country", "--sequence", "ten"]).0, Some(2));
    // An engine without HTTP.
    let _running = orders.start();
    assert!(orders.succeed(&["wait", "by_country", "--sequence", "10", "--timeout", "90s"]).contains("has it at commit"));
    let waiting = orders.alluvium(&["wait", "totals", "--sequence", "orders:20", "--timeout", "90s"]).spawn().unwrap();
    orders.publish(10);
    let output = waiting.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(orders.offset("totals"), 21);
    let (code, log) = orders_said(&orders, &["wait", "totals", "--sequence", "payments:1"]);
    assert!(code == Some(1) && log.contains("does not read source payments"), "{log}");
}

fn orders_said(orders: &Orders, arguments: &[&str]) -> (Option<i32>, String) {
    let output = orders.ask(arguments);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_long_row_of_operators_is_answered_and_a_longer_one_is_refused() {
    let (_orders, served) = served(&[]);
    let query = |terms: u64| {
        let terms: Vec<String> = (0..terms).map(|at| format!("n = {at}")).collect();
        format!("SELECT count(*) AS n FROM by_country WHERE n < 0 OR {}", terms.join(" OR "))
    };
    let answered = post(&served, "/query", &[], &query(1_200));
    assert_eq!((answered.code, answered.text().as_str()), (200, "{\"n\":5}\n"));
    let refused = post(&served, "/query", &[], &query(20_000));
    assert_eq!(refused.code, 400);
    assert!(refused.text().contains("operators"), "{}", refused.text());
}
