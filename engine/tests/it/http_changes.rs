//! The changes of a view as server-sent events, added up by a client.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use serde_json::Value;

use crate::http_queries::get;
use crate::orders::{Orders, VIEWS, wait_until};
use crate::served::Served;

/// A client: what it has received adds up to `rows`.
struct Client {
    lines: std::io::Lines<BufReader<Box<dyn Read + Send>>>,
    rows: BTreeMap<String, i64>,
    last: Option<String>,
    events: Vec<String>,
}

impl Client {
    fn follow(served: &Served, view: &str, last: Option<&str>) -> Client {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut request = agent.get(format!("{}/views/{view}/changes", served.url()));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.call().unwrap();
        assert_eq!(response.status().as_u16(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let body: Box<dyn Read + Send> = Box::new(response.into_body().into_reader());
        Client { lines: BufReader::new(body).lines(), rows: BTreeMap::new(), last: None, events: Vec::new() }
    }

    /// Takes the next event. Returns its data, if it is the last one of a commit.
    fn next(&mut self) -> Option<Value> {
        self.try_next().unwrap()
    }

    /// Does the same. Fails if the server has closed the connection.
    fn try_next(&mut self) -> std::io::Result<Option<Value>> {
        let (mut kind, mut id, mut data) = (String::new(), None, String::new());
        for line in self.lines.by_ref() {
            let line = line?;
            match line.split_once(": ") {
                Some(("event", value)) => kind = value.to_owned(),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => data = value.to_owned(),
                _ if line.is_empty() && !kind.is_empty() => break,
                _ => {}
            }
        }
        let data: Value = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {kind} {data}"));
        match kind.as_str() {
            "snapshot" => data["rows"].as_array().unwrap().iter().for_each(|row| self.add(row, 1)),
            "changes" => {
                data["changes"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .for_each(|change| self.add(&change["row"], change["weight"].as_i64().unwrap()));
            }
            "reset" => self.rows.clear(),
            other => panic!("{other}: {data}"),
        }
        if self.events.last() != Some(&kind) {
            self.events.push(kind);
        }
        assert_eq!(id.is_some(), data["last"] == true, "{data}");
        self.last = id.or(self.last.take());
        Ok((data["last"] == true).then_some(data))
    }

    fn add(&mut self, row: &Value, weight: i64) {
        let count = self.rows.entry(row.to_string()).or_default();
        *count += weight;
        if *count == 0 {
            self.rows.remove(&row.to_string());
        }
    }

    /// Reads until a commit holds all orders before `offset`. At each commit, `check` sees the rows and the offset.
    fn read_to(&mut self, offset: u64, check: impl FnMut(&[Value], u64)) {
        self.try_read_to(offset, check).unwrap();
    }

    /// Does the same. Fails if the server has closed the connection.
    fn try_read_to(&mut self, offset: u64, mut check: impl FnMut(&[Value], u64)) -> std::io::Result<()> {
        loop {
            let Some(data) = self.try_next()? else { continue };
            let at = data["offsets"]["orders"].as_u64().unwrap();
            check(&self.all(), at);
            if at >= offset {
                return Ok(());
            }
        }
    }

    fn all(&self) -> Vec<Value> {
        let rows = self.rows.iter().inspect(|(row, count)| assert!(**count > 0, "{count} times {row}"));
        rows.flat_map(|(row, count)| (0..*count).map(|_| serde_json::from_str(row).unwrap())).collect()
    }

    fn assert_equal(&self, served: &Served, view: &str) {
        let mut all: Vec<String> = self.all().iter().map(Value::to_string).collect();
        let found = get(served, &format!("/views/{view}/rows"), &[]).json();
        let mut found: Vec<String> = found.as_array().unwrap().iter().map(Value::to_string).collect();
        all.sort();
        found.sort();
        assert!(!found.is_empty() && all == found, "{} rows, {} expected", all.len(), found.len());
    }
}

/// At each commit, a view that counts orders has counted exactly those before its offset.
fn counts_all(rows: &[Value], offset: u64) {
    let n: u64 = rows.iter().map(|row| row["n"].as_u64().unwrap()).sum();
    assert_eq!(n, offset - 1);
}

#[test]
fn changes_add_up_to_the_view() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(3_000);
    let served = Served::start(&orders, &[("ALLUVIUM_COMMIT_INTERVAL", "20ms")]);
    wait_until("the views have every order", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 3_001));
    let mut by_bucket = Client::follow(&served, "by_bucket", None);
    let mut by_customer = Client::follow(&served, "by_customer", None);
    let mut large_orders = Client::follow(&served, "large_orders", None);
    by_bucket.read_to(3_001, counts_all);
    by_customer.read_to(3_001, counts_all);
    by_customer.assert_equal(&served, "by_customer");
    for round in 1..=20 {
        orders.publish(50);
        by_bucket.read_to(3_001 + round * 50, counts_all);
    }
    by_customer.read_to(4_001, counts_all);
    large_orders.read_to(4_001, |_, _| {});
    for (client, view) in [(&by_bucket, "by_bucket"), (&by_customer, "by_customer"), (&large_orders, "large_orders")] {
        client.assert_equal(&served, view);
        assert_eq!(client.events, ["snapshot", "changes"], "{view}");
    }
}

#[test]
fn a_client_goes_on_behind_the_last_event() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(1_000);
    let served = Served::start(&orders, &[("ALLUVIUM_COMMIT_INTERVAL", "20ms")]);
    wait_until("the views have every order", || orders.offset("by_country") == 1_001);
    let mut client = Client::follow(&served, "by_country", None);
    client.read_to(1_001, counts_all);
    let (last, rows) = (client.last.take().unwrap(), client.rows.clone());
    drop(client);
    orders.publish(100);
    wait_until("it has more", || orders.offset("by_country") == 1_101);

    let mut client = Client::follow(&served, "by_country", Some(&last));
    client.rows = rows;
    client.read_to(1_101, counts_all);
    assert_eq!(client.events, ["changes"]);
    client.assert_equal(&served, "by_country");

    for unknown in ["1-0-0", "nonsense"] {
        let mut client = Client::follow(&served, "by_country", Some(unknown));
        client.read_to(1_101, counts_all);
        assert_eq!(client.events, ["reset", "snapshot"]);
    }
    // The same view with another column is another version: what a client has counts no more.
    orders.declare("by_country", "SELECT country, count(*) AS n, max(order_id) AS newest FROM orders GROUP BY country");
    orders.succeed(&["check"]);
    drop(served);
    let served = Served::start(&orders, &[]);
    wait_until("the new version serves", || get(&served, "/views/by_country/rows", &[]).text().contains("newest"));
    let mut after = Client::follow(&served, "by_country", client.last.as_deref());
    after.read_to(1_101, counts_all);
    assert_eq!(after.events, ["reset", "snapshot"]);
    after.assert_equal(&served, "by_country");
}

#[test]
fn a_client_that_does_not_read_holds_up_nothing() {
    let mut orders = Orders::new(VIEWS);
    orders.publish(60_000);
    let variables =
        [("ALLUVIUM_COMMIT_INTERVAL", "20ms"), ("ALLUVIUM_SNAPSHOTS_KEPT", "2"), ("ALLUVIUM_SNAPSHOTS_MIN_AGE", "0 seconds")];
    let served = Served::start(&orders, &variables);
    wait_until("the views have every order", || orders.offset("by_customer") == 60_001);
    // They take the first events, and no more than the sockets hold of the rest.
    let mut slow: Vec<Client> = (0..20).map(|_| Client::follow(&served, "by_customer", None)).collect();
    slow.iter_mut().for_each(|client| assert!(client.next().is_none(), "the snapshot is longer than one event"));
    for round in 1..=20 {
        orders.publish(10);
        wait_until("commits go on", || orders.offset("by_customer") == 60_001 + round * 10);
    }
    // What they have read to then is no longer kept, so that they are sent a snapshot.
    for client in &mut slow {
        if let Err(error) = client.try_read_to(60_201, counts_all) {
            // One that takes nothing for half a minute is sent away. It follows again, as any client does then.
            println!("{error}: it follows again");
            *client = Client::follow(&served, "by_customer", None);
            client.read_to(60_201, counts_all);
        }
        let after = |two: &[String]| two[0] != "reset" || two[1] == "snapshot";
        assert!(client.events[0] == "snapshot" && client.events.windows(2).all(after), "{:?}", client.events);
    }
    slow[0].assert_equal(&served, "by_customer");
}
