#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use alluvium_sql::{Errors, Location, SqlFile};

use super::*;
use crate::layout::Layout;
use crate::project::Project;
use crate::settings::{Overrides, Settings};

const PLAIN: report::Style = report::Style { color: false, width: 100 };

#[test]
fn the_command_line_is_well_formed_and_each_command_has_an_example() {
    Cli::command().debug_assert();
    for command in Cli::command().get_subcommands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Example") && help.contains(command.get_name()), "{}", command.get_name());
    }
}

#[test]
fn what_can_be_said() {
    for line in [
        "alluvium run --until-caught-up --http off",
        "alluvium -C views run",
        "alluvium status -C views --format json -v",
        "alluvium query SELECT --format csv",
        "alluvium drop v --yes",
        "alluvium restart v",
        "alluvium completions fish",
        "alluvium explain v --format json",
        "alluvium explain v --format mermaid",
    ] {
        Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
    for line in ["alluvium", "alluvium rn", "alluvium query", "alluvium status --format csv", "alluvium run -q -v"] {
        assert_eq!(Cli::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
    }
}

fn sql_error(text: &str, concerned: &str, message: &str, help: Option<&str>) -> alluvium_sql::Error {
    let file = Arc::new(SqlFile { path: "revenue.sql".into(), text: text.into() });
    let offset = text.find(concerned).unwrap();
    alluvium_sql::Error {
        message: message.into(),
        help: help.map(str::to_owned),
        at: Location { file, offset, length: concerned.len() },
    }
}

#[test]
fn an_error_points_at_its_place() {
    let text = "CREATE MATERIALIZED VIEW v AS\nSELECT contry FROM orders;\n";
    let one = sql_error(text, "contry", "there is no column contry", Some("did you mean country?"));
    let shown = report::render(&Error::Sql(Errors(vec![one.clone()])), PLAIN);
    let expected = "  × there is no column contry
   ╭─[revenue.sql:2:8]
 1 │ CREATE MATERIALIZED VIEW v AS
 2 │ SELECT contry FROM orders;
   ·        ──────
   ╰────
  help: did you mean country?
";
    assert_eq!(shown, expected);

    let two = report::render(&Error::Sql(Errors(vec![one.clone(), one])), PLAIN);
    assert_eq!(two.matches("revenue.sql:2:8").count(), 2, "{two}");
    assert!(two.ends_with("2 errors\n"), "{two}");
}

#[test]
fn a_place_at_or_beyond_the_end_is_shown_all_the_same() {
    for (offset, text) in [(6, "SELECT"), (600, "SELECT"), (0, ""), (1, "ä")] {
        let file = Arc::new(SqlFile { path: "v.sql".into(), text: text.into() });
        let error =
            alluvium_sql::Error { message: "it ends too early".into(), help: None, at: Location { file, offset, length: 9 } };
        let shown = report::render(&Error::Sql(Errors(vec![error])), PLAIN);
        assert!(shown.contains("it ends too early") && shown.contains("v.sql"), "{shown}");
    }
}

#[test]
fn colours_only_where_asked_for() {
    let error = Error::config("there is no folder x", "make one");
    let plain = report::render(&error, PLAIN);
    assert_eq!(plain, "  × there is no folder x\n  help: make one\n");
    assert!(report::render(&error, report::Style { color: true, ..PLAIN }).contains('\u{1b}'));
}

#[test]
fn a_new_folder_loads_and_is_not_overwritten() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("views");
    init::write(&folder).unwrap();
    let toml = std::fs::read_to_string(folder.join("alluvium.toml")).unwrap();
    for key in crate::settings::keys::KEYS {
        assert!(toml.contains(key.name), "{}", key.name);
    }
    let settings = |toml: &str| {
        std::fs::write(folder.join("alluvium.toml"), toml).unwrap();
        format!("{:?}", Settings::load(&folder, &Overrides::default()).unwrap())
    };
    // The file lists the defaults, so removing the comment signs changes nothing.
    let commented = settings(&toml);
    let keys: Vec<_> = toml
        .lines()
        .filter(|line| crate::settings::keys::KEYS.iter().any(|key| line.starts_with(&format!("# {} =", key.name))))
        .collect();
    assert_eq!(keys.len(), crate::settings::keys::KEYS.len());
    assert_eq!(settings(&keys.join("\n").replace("# ", "")), commented);

    let project = Project::load(&folder, &Overrides::default()).unwrap();
    assert_eq!(project.catalog.views.len(), 3);
    assert_eq!(project.sources.len(), 1);
    assert!(init::write(&folder).unwrap_err().to_string().contains("not empty"));
}

#[test]
fn a_folder_without_sql_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for dir in [folder.path().to_owned(), folder.path().join("nowhere")] {
        let error = Project::load(&dir, &Overrides::default()).unwrap_err();
        assert!(error.help().unwrap().contains("alluvium init"), "{error}");
    }
}

#[tokio::test]
async fn answers_are_written_in_three_ways() {
    let folder = tempfile::tempdir().unwrap();
    let layout = Layout::new(folder.path());
    let ask = async |sql: &str, format| {
        let mut out = Vec::new();
        query::write(crate::query::query(&layout, sql, None).await.unwrap(), format, &mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    };
    let sql = "SELECT 1 AS n, 'a,\"b' AS t UNION ALL SELECT NULL, 'c' ORDER BY t";
    assert_eq!(ask(sql, query::Format::Csv).await, "n,t\n1,\"a,\"\"b\"\n,c\n");
    assert_eq!(ask(sql, query::Format::Json).await, "{\"n\":1,\"t\":\"a,\\\"b\"}\n{\"t\":\"c\"}\n");
    let table = ask(sql, query::Format::Table).await;
    assert!(table.contains("| n    | t    |") && table.contains("| NULL | c    |"), "{table}");
    assert_eq!(ask("SELECT 1 AS n WHERE false", query::Format::Csv).await, "n\n");
    assert!(ask("SELECT 1 AS n WHERE false", query::Format::Table).await.contains("| n |"));
}
