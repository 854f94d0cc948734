//! No password, token or key is in any output, at the level that logs everything: whichever place it was given in, and however wrong that is.

use std::process::Command;

use crate::orders::{Orders, Running, wait_until};

const SECRET: &str = "hunter2-is-secret";
const NKEY: &str = "SUAAVQYSX3AUAKDQ5IVYSAZMBQGTBSEAQ7OZLPXYLGGWHWE36ZSK3RZBDE";
const COUNTRIES: (&str, &str) = ("countries", "SELECT country, count(*) AS n FROM orders GROUP BY country");

/// A server that asks for a password.
fn guarded() -> Orders {
    let authorization = format!(
        "authorization {{ users: [{{user: me, password: \"{SECRET}\"}}, {{user: other, password: other}}] }}\nno_auth_user: other"
    );
    Orders::on(&authorization, &[COUNTRIES])
}

/// Everything that a command prints, with all that can be logged.
fn all_of(mut command: Command) -> String {
    let output = command.env("ALLUVIUM_LOG", "trace").output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn assert_none(what: &str, printed: &str) {
    for secret in [SECRET, NKEY] {
        if let Some(at) = printed.find(secret) {
            let start = printed.floor_char_boundary(at.saturating_sub(200));
            panic!("{what}: {}", &printed[start..printed.ceil_char_boundary((at + 60).min(printed.len()))]);
        }
    }
}

/// Those that load the declarations or connect.
const CONNECTING: &[&[&str]] = &[&["check"], &["run", "--until-caught-up"], &["status"], &["verify", "--format", "json"]];

fn refused(orders: &Orders, what: &str, environment: &[(&str, &str)]) {
    run_all(orders, what, CONNECTING, environment);
}

/// Runs every command that reads the folder.
fn commands(orders: &Orders, what: &str, environment: &[(&str, &str)]) -> String {
    let all: &[&[&str]] = &[
        &["check"],
        &["run", "--until-caught-up"],
        &["run", "--until-caught-up", "--log-format", "json"],
        &["status"],
        &["status", "--format", "json"],
        &["explain", "countries"],
        &["query", "SELECT * FROM countries"],
        &["verify"],
        &["dead-letters", "list"],
        &["doctor"],
        &["rebuild", "countries"],
    ];
    run_all(orders, what, all, environment)
}

fn run_all(orders: &Orders, what: &str, commands: &[&[&str]], environment: &[(&str, &str)]) -> String {
    let mut all = String::new();
    for arguments in commands {
        let mut command = orders.alluvium(arguments);
        command.envs(environment.iter().copied()).env("ALLUVIUM_SOURCE_TIMEOUT", "100ms");
        let printed = all_of(command);
        assert_none(&format!("{what}: {arguments:?}"), &printed);
        all.push_str(&printed);
    }
    all
}

fn sources(orders: &Orders, edit: impl Fn(&str) -> String) {
    let path = orders.dir().join("sources.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, edit(&text)).unwrap();
}

#[test]
fn no_output_holds_a_secret_that_works() {
    let mut orders = guarded();
    orders.publish(10);
    orders.publish_bodies(vec![b"no order".to_vec()]);
    let plain = std::fs::read_to_string(orders.dir().join("sources.sql")).unwrap();
    let toml = orders.dir().join("alluvium.toml");
    let environment = [("ALLUVIUM_NATS_USER", "me"), ("ALLUVIUM_NATS_PASSWORD", SECRET)];
    let all = commands(&orders, "environment", &environment);
    assert!(all.contains("equal: 5 rows") || all.contains("equal:"), "{all}");

    let mut command = orders.alluvium(&["run", "--http", "127.0.0.1:0"]);
    command.envs(environment).env("ALLUVIUM_LOG", "trace");
    let mut running = Running(orders.logging(&mut command).spawn().unwrap());
    orders.publish(10);
    wait_until("it commits", || orders.offset("countries") == 22);
    let info: serde_json::Value = serde_json::from_slice(&std::fs::read(orders.dir().join("data/run.lock")).unwrap()).unwrap();
    for path in ["metrics", "status", "sources", "readyz"] {
        let url = format!("http://{}/{path}", info["http"].as_str().unwrap());
        assert_none(path, &ureq::get(&url).call().unwrap().body_mut().read_to_string().unwrap());
    }
    running.end();
    assert_none("run", &orders.log());

    std::fs::write(&toml, format!("[nats]\nuser = 'me'\npassword = '{SECRET}'\n")).unwrap();
    commands(&orders, "toml", &[]);
    std::fs::remove_file(&toml).unwrap();
    sources(&orders, |_| plain.replace("format 'json'", &format!("format 'json', user 'me', password '{SECRET}'")));
    commands(&orders, "sql", &[]);
}

#[test]
fn no_message_holds_a_secret_that_is_wrong_or_in_the_wrong_place() {
    let orders = guarded();
    let plain = std::fs::read_to_string(orders.dir().join("sources.sql")).unwrap();
    for (what, option) in [
        ("wrong password", format!("user 'me', password '{SECRET}-not'")),
        ("wrong token", format!("token '{SECRET}'")),
        ("misspelt option", format!("user 'me', pasword '{SECRET}'")),
        ("misspelt word", format!("toekn '{SECRET}'")),
        ("no comma", format!("user 'me' password '{SECRET}'")),
        ("two kinds", format!("token '{SECRET}', nkey '{NKEY}'")),
        ("not closed", format!("token '{SECRET}")),
        ("no name", format!("'{SECRET}'")),
        ("an equals sign too many", format!("password = = '{SECRET}'")),
        ("a wrong option beside it", format!("token '{SECRET}', tls_first 'maybe'")),
        ("nkey", format!("nkey '{NKEY}'")),
        ("quoted name", format!("'pass word' '{SECRET}'")),
    ] {
        sources(&orders, |_| plain.replace("format 'json'", &format!("format 'json', {option}")));
        refused(&orders, what, &[]);
    }
    sources(&orders, |_| plain.replace("nats://", &format!("nats://me:{SECRET}@")));
    refused(&orders, "location", &[]);
    sources(&orders, |_| plain.clone());
    let toml = orders.dir().join("alluvium.toml");
    for text in [
        format!("[nats]\npasword = '{SECRET}'\n"),
        format!("[nats]\npassword = '{SECRET}'\nuser = \n"),
        format!("[nats\npassword = '{SECRET}'\n"),
        format!("[nats]\npassword = {SECRET}\n"),
        format!("[nats]\npassword = '{SECRET}\n"),
        format!("password = '{SECRET}'\n"),
        format!("[sources.ordres]\ntoken = '{SECRET}'\n"),
        format!("[nats]\nurl = 'nats://me:{SECRET}@127.0.0.1:1'\n"),
        format!("[nats]\ntoken = ['{SECRET}']\n"),
        format!("[nats]\ntoken = '{SECRET}'\ntoken = '{SECRET}'\n"),
    ] {
        std::fs::write(&toml, &text).unwrap();
        refused(&orders, &text, &[]);
    }
    std::fs::remove_file(&toml).unwrap();
    for (name, value) in [
        ("ALLUVIUM_NATS_PASWORD", SECRET),
        ("ALLUVIUM_NATS_TOKEN", SECRET),
        ("ALLUVIUM_SOURCE_ORDERS_PASSWORD", SECRET),
        ("ALLUVIUM_SOURCE_ORDERS_PASWORD", SECRET),
        ("ALLUVIUM_NATS_URL", &format!("nats://me:{SECRET}@127.0.0.1:1")),
        ("ALLUVIUM_NATS_NKEY", NKEY),
    ] {
        refused(&orders, name, &[(name, value)]);
    }
}
