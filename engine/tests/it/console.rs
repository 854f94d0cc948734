//! The console over HTTP: its pages, what they load, the JSON beside each page, and who may give commands.

use serde_json::Value;

use crate::http_queries::{get, post};
use crate::orders::{Orders, VIEWS, wait_until};
use crate::served::Served;

fn served(variables: &[(&str, &str)]) -> (Orders, Served) {
    let mut orders = Orders::new(VIEWS);
    orders.publish(500);
    // Its total is none, and no view that reads the total has it.
    orders.publish_bodies(vec![
        br#"{"order_id": 501, "customer": 1, "country": "<script>alert(1)</script>", "total": "none"}"#.to_vec(),
    ]);
    let served = Served::start(&orders, variables);
    wait_until("the views have every order", || VIEWS.iter().all(|(name, _)| orders.offset(name) == 502));
    (orders, served)
}

#[test]
fn pages_and_what_they_load_are_served_with_a_strict_policy() {
    let (_orders, served) = served(&[]);
    let root = get(&served, "/", &[]);
    assert_eq!(root.code, 200, "it leads to the console");
    let pages = ["/console", "/console/views/by_country", "/console/sources/orders", "/console/dead-letters", "/console/query"];
    for path in pages {
        let page = get(&served, path, &[]);
        assert_eq!((page.code, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert_eq!(page.body, root.body, "{path}");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), "nosniff");
        if let Some(twin) = page.header("link").strip_prefix('<').and_then(|link| link.split_once('>')) {
            let twin = get(&served, twin.0, &[]);
            assert_eq!((twin.code, twin.header("content-type")), (200, "application/json"), "{path}");
            assert!(twin.json().is_object() || twin.json().is_array());
        } else {
            assert_eq!(path, "/console/query");
        }
    }
    let text = root.text();
    for (before, content_type) in
        [("href=\"/console/assets/console.css", "text/css"), ("src=\"/console/assets/app.js", "text/javascript")]
    {
        assert!(text.contains(before));
        let path = before.split('"').nth(1).unwrap();
        let asset = get(&served, path, &[]);
        assert!(asset.code == 200 && asset.header("content-type").starts_with(content_type), "{path}");
        let tag = asset.header("etag").to_owned();
        assert_eq!(get(&served, path, &[("if-none-match", &tag)]).code, 304);
    }
    assert_eq!(get(&served, "/console/assets/none.js", &[]).code, 404);
}

#[test]
fn the_overview_says_what_status_says() {
    let (orders, served) = served(&[]);
    let overview = get(&served, "/overview", &[]).json();
    let status = orders.succeed(&["status"]);
    let views = overview["views"].as_array().unwrap();
    assert_eq!(views.len(), VIEWS.len());
    for view in views {
        let name = view["view"].as_str().unwrap();
        for remark in view["remarks"].as_array().unwrap() {
            let line = format!("{name}: {}", remark.as_str().unwrap());
            assert!(status.contains(&line), "{line}\n{status}");
        }
    }
    let by_country = views.iter().find(|view| view["view"] == "by_country").unwrap();
    assert_eq!(by_country["reads"], serde_json::json!(["orders"]));
    assert!(by_country["remarks"].to_string().contains("not in it"), "{by_country}");
    let best = views.iter().find(|view| view["view"] == "best").unwrap();
    assert_eq!(best["reads"], serde_json::json!(["by_bucket"]));
    assert!(overview["sources"][0]["says"].as_str().unwrap().starts_with("connected"), "{overview}");
}

#[test]
fn a_plan_a_source_and_dead_letters_are_there_as_json() {
    let (orders, served) = served(&[]);
    let plan = get(&served, "/views/by_country/plan", &[]).json();
    let explained: Value = serde_json::from_str(&orders.succeed(&["explain", "by_country", "--format", "json"])).unwrap();
    assert_eq!(plan["plan"], explained["plan"]);
    assert_eq!(plan["fingerprint"], get(&served, "/views/by_country", &[]).json()["fingerprint"]);
    assert!(plan["sql"].as_str().unwrap().contains("GROUP BY country"));
    let missing = get(&served, "/views/by_contry/plan", &[]);
    assert!(missing.code == 404 && missing.text().contains("by_country"), "{}", missing.text());

    let source = get(&served, "/sources/orders", &[]).json();
    assert_eq!(source["views"]["by_country"]["offset"], 502);
    assert_eq!(source["declared"]["columns"][0]["name"], "order_id");
    assert!(!source.to_string().contains("nats://"), "a location may hold credentials");
    assert_eq!(get(&served, "/sources/order", &[]).code, 404);

    let letters = get(&served, "/dead-letters?source=orders&kind=wrong_type&limit=5", &[]).json();
    assert_eq!(letters.as_array().unwrap().len(), 1, "{letters}");
    assert_eq!(letters[0]["sequence"], 501);
    assert_eq!(get(&served, "/dead-letters?view=none", &[]).json(), serde_json::json!([]));
    assert_eq!(get(&served, "/dead-letters?limit=many", &[]).code, 400);
    assert_eq!(get(&served, "/dead-letters?colour=red", &[]).code, 400);
}

#[test]
fn pages_need_no_token_and_data_does() {
    let (_orders, served) = served(&[("ALLUVIUM_SERVE_HTTP_TOKEN", "a-long-token")]);
    assert_eq!(get(&served, "/console", &[]).code, 200);
    for path in ["/overview", "/views/by_country/plan", "/sources/orders", "/dead-letters"] {
        let refused = get(&served, path, &[]);
        assert!(refused.code == 403 && refused.text().contains("token"), "{path}: {}", refused.text());
        assert_eq!(get(&served, path, &[("authorization", "Bearer a-long-token")]).code, 200, "{path}");
    }
}

#[test]
fn only_the_console_s_own_origin_can_give_commands() {
    let (_orders, served) = served(&[]);
    let host = ("host", "evil.example");
    assert_eq!(
        post(&served, "/rebuild/by_country", &[("origin", "https://evil.example")], "").code,
        403,
        "a form of another page"
    );
    assert_eq!(
        post(&served, "/rebuild/by_country", &[("x-alluvium-command", "1"), host], "").code,
        403,
        "a name that points here"
    );
    assert_eq!(get(&served, "/overview", &[host]).code, 403);
    let origin = served.url().to_owned();
    let asked = post(&served, "/rebuild/by_country", &[("x-alluvium-command", "1"), ("origin", &origin)], "");
    assert_eq!(asked.code, 200, "{}", asked.text());
}
