//! `alluvium check` for programs: JSON, and SARIF in the shape that code scanning reads.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Runs `check` in a folder above that of the project. Returns the exit code and the document.
fn check(parent: &Path, arguments: &[&str]) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
    let output = command.env_clear().current_dir(parent).args(["-C", "my views", "check"]).args(arguments).output().unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), document, String::from_utf8(output.stderr).unwrap())
}

fn project(parent: &Path, files: &[(&str, &str)]) {
    let dir = parent.join("my views");
    std::fs::create_dir_all(&dir).unwrap();
    for (name, text) in files {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

const SOURCES: &str =
    "CREATE EXTERNAL TABLE orders (order_id BIGINT, country VARCHAR, total DOUBLE) STORED AS FILE LOCATION 'orders.jsonl';\n";
const RANKS: &str =
    "-- ä\nCREATE MATERIALIZED VIEW ranks AS\n  SELECT order_id, rank() OVER (ORDER BY total) AS place FROM orders;\n";
const SUMS: &str = "CREATE MATERIALIZED VIEW sums AS\nSELECT country, sum(total) AS s FROM orders GROUP BY country;\n";

/// What GitHub needs of a document: https://docs.github.com/en/code-security/code-scanning, "SARIF support".
fn assert_is_read_by_code_scanning(document: &Value, dir: &Path) {
    assert_eq!(document["version"], "2.1.0");
    assert!(document["$schema"].as_str().unwrap().contains("sarif-2.1.0"));
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let driver = &runs[0]["tool"]["driver"];
    assert!(!driver["name"].as_str().unwrap().is_empty());
    let rules = driver["rules"].as_array().unwrap();
    for rule in rules {
        for text in ["shortDescription", "fullDescription", "help"] {
            assert!(!rule[text]["text"].as_str().unwrap().is_empty(), "{rule}");
        }
        assert!(!rule["id"].as_str().unwrap().is_empty());
    }
    for result in runs[0]["results"].as_array().unwrap() {
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()), "{result}");
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        let locations = result["locations"].as_array().unwrap();
        assert!(!locations.is_empty());
        let place = &locations[0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap();
        assert!(!uri.starts_with('/') && !uri.contains(' '), "{uri}");
        assert!(dir.join(uri.replace("%20", " ")).exists(), "{uri}");
        let number = |name: &str| place["region"][name].as_u64().unwrap();
        assert!(number("startLine") >= 1 && number("startColumn") >= 1);
        assert!((number("startLine"), number("startColumn")) < (number("endLine"), number("endColumn")), "{place}");
    }
}

#[test]
fn warnings_have_their_places_and_the_exit_code_is_0() {
    let parent = tempfile::tempdir().unwrap();
    project(parent.path(), &[("sources.sql", SOURCES), ("ranks.sql", RANKS), ("sums.sql", SUMS), ("alluvium.toml", "")]);
    let (code, document, said) = check(parent.path(), &["--format", "json"]);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!((&document["errors"], &document["warnings"]), (&0.into(), &2.into()));
    let find = |view: &str| document["problems"].as_array().unwrap().iter().find(|problem| problem["view"] == view).unwrap();
    let ranks = find("ranks");
    assert_eq!(
        (&ranks["level"], &ranks["rule"], &ranks["file"]),
        (&"warning".into(), &"cost".into(), &"my views/ranks.sql".into())
    );
    assert_eq!((&ranks["line"], &ranks["column"], &ranks["end_line"]), (&3.into(), &27.into(), &3.into()));
    assert!(ranks["message"].as_str().unwrap().contains("all input is kept") && ranks["help"].is_string(), "{ranks}");
    let views: Vec<_> = document["views"].as_array().unwrap().iter().map(|view| (&view["view"], &view["class"])).collect();
    assert_eq!(views.len(), 2, "{document}");
    assert!(views.contains(&(&"ranks".into(), &"full recompute".into())) && views.contains(&(&"sums".into(), &"merge".into())));

    let (code, document, _) = check(parent.path(), &["--format", "sarif"]);
    assert_eq!(code, 0);
    assert_is_read_by_code_scanning(&document, parent.path());
    assert_eq!(document["runs"][0]["results"].as_array().unwrap().len(), 2);

    // From within the project, files are named from there. Those elsewhere have absolute URIs, which have no base.
    let artifacts = |from: &Path, dir: &str| -> Vec<Value> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alluvium"));
        let output = command.env_clear().current_dir(from).args(["-C", dir, "check", "--format", "sarif"]).output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let results = document["runs"][0]["results"].as_array().unwrap();
        results.iter().map(|result| result["locations"][0]["physicalLocation"]["artifactLocation"].clone()).collect()
    };
    let within = parent.path().join("my views");
    for dir in [".", "../my views", within.to_str().unwrap()] {
        let artifacts = artifacts(&within, dir);
        assert!(
            artifacts.iter().all(|artifact| artifact["uri"] == "ranks.sql" || artifact["uri"] == "sums.sql"),
            "{artifacts:?}"
        );
    }
    let elsewhere = tempfile::tempdir().unwrap();
    for artifact in artifacts(elsewhere.path(), within.to_str().unwrap()) {
        assert!(artifact["uri"].as_str().unwrap().starts_with("file:///") && artifact["uriBaseId"].is_null(), "{artifact}");
    }
}

#[test]
fn errors_have_their_places_and_the_exit_code_is_1() {
    let wrong =
        "CREATE MATERIALIZED VIEW a AS SELECT countr FROM orders;\nCREATE MATERIALIZED VIEW b AS SELECT x FROM nothing;\n";
    let parent = tempfile::tempdir().unwrap();
    project(parent.path(), &[("sources.sql", SOURCES), ("wrong.sql", wrong)]);
    let (code, document, said) = check(parent.path(), &["--format", "json"]);
    assert_eq!((code, &document["errors"]), (1, &2.into()));
    let first = &document["problems"][0];
    assert_eq!(
        (&first["rule"], &first["line"], &first["column"], &first["end_column"]),
        (&"sql".into(), &1.into(), &38.into(), &44.into())
    );
    assert!(said.contains("wrong.sql:1:38"), "people see it too: {said}");
    let (code, document, _) = check(parent.path(), &["--format", "sarif"]);
    assert_eq!(code, 1);
    assert_is_read_by_code_scanning(&document, parent.path());

    // A wrong setting, and an error that is about no place.
    for (toml, rule) in [("commit_intervall = \"1 s\"\n", "setting"), ("[sources.order]\nsubject = \"x\"\n", "project")] {
        project(parent.path(), &[("wrong.sql", ""), ("alluvium.toml", toml)]);
        let (code, document, _) = check(parent.path(), &["--format", "sarif"]);
        assert_eq!((code, &document["runs"][0]["results"][0]["ruleId"]), (1, &rule.into()), "{document}");
        assert_is_read_by_code_scanning(&document, parent.path());
    }
}

#[test]
fn a_sample_and_a_change_are_told_and_secrets_are_not() {
    let parent = tempfile::tempdir().unwrap();
    let events = "{\"order_id\": 1, \"country\": \"DE\", \"total\": \"much\"}\n";
    project(parent.path(), &[("sources.sql", SOURCES), ("sums.sql", SUMS), ("orders.jsonl", events), ("alluvium.toml", "")]);
    let (code, document, _) = check(parent.path(), &["--sample", "--format", "json"]);
    assert_eq!(code, 0);
    let problems = document["problems"].as_array().unwrap();
    let sample = problems.iter().find(|problem| problem["rule"] == "sample").unwrap();
    assert!(sample["message"].as_str().unwrap().contains("1 of 1 events set aside") && sample["line"] == 1, "{sample}");

    let source =
        "CREATE EXTERNAL TABLE o (id BIGINT) STORED AS NATS LOCATION 'nats://127.0.0.1:1/O' OPTIONS (pasword 'hunter22');";
    project(parent.path(), &[("secret.sql", source)]);
    let (code, document, _) = check(parent.path(), &["--format", "sarif"]);
    assert_eq!(code, 1);
    assert!(!document.to_string().contains("hunter22"), "{document}");
}
