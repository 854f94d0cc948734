//! Compares every view with DuckDB's answer over the events that it has committed.

use std::fmt::Write as _;

use serde_json::Value;

use crate::duckdb;
use crate::ledger::COLUMNS;
use crate::torture::Torture;

impl Torture {
    /// Returns the views that are not what DuckDB computes. No view may be failed or rebuilt meanwhile.
    pub(crate) fn compare(&mut self) -> Vec<String> {
        let names = self.declared();
        let commits: Vec<(Value, Value)> = names
            .iter()
            .map(|name| self.committed(name).unwrap_or_else(|| panic!("{name} has no manifest or no record that can be read")))
            .collect();
        self.ledger.update(&self.orders);
        self.ledger.assert_holds(&self.publishers.acknowledged.lock().unwrap());
        let file = self.orders.dir().join("events.jsonl");
        self.ledger.write(&file);

        let mut sql = format!(
            "CREATE TABLE events ({COLUMNS});\nCOPY events FROM '{}' (FORMAT json);\n\
             CREATE TABLE compared (name VARCHAR, rows BIGINT, wrong BIGINT, missing BIGINT);\n",
            file.display()
        );
        for (name, (manifest, record)) in names.iter().zip(&commits) {
            self.assert_began(name, record);
            let view = self.views.iter().find(|view| view.name == *name).unwrap();
            if let Some(base) = view.over {
                // At the commit of this view, which may not be the last of the other.
                let at = names.iter().position(|name| *name == base).unwrap();
                self.write_table(&mut sql, base, base, &manifest["offsets"], &commits[at].1);
            }
            self.write_table(&mut sql, name, "expected", &manifest["offsets"], record);
            let files = &manifest["files"];
            let empty = files.as_array().is_none_or(Vec::is_empty);
            let found =
                if empty { "expected WHERE false".to_owned() } else { format!("read_parquet({files})").replace('"', "'") };
            let found = format!("SELECT COLUMNS(*)::VARCHAR FROM {found}");
            let expected = "SELECT COLUMNS(*)::VARCHAR FROM expected";
            writeln!(
                sql,
                "INSERT INTO compared SELECT '{name}', (SELECT count(*) FROM expected), \
                 (SELECT count(*) FROM ({found} EXCEPT ALL {expected})), (SELECT count(*) FROM ({expected} EXCEPT ALL {found}));"
            )
            .unwrap();
        }
        sql.push_str("FROM compared");
        std::fs::write(self.orders.dir().join("compare.txt"), &sql).unwrap();
        let answer = duckdb::rows(&sql).unwrap_or_else(|error| panic!("DuckDB: {error}"));
        assert_eq!(answer.len(), names.len());
        let different: Vec<String> =
            answer.iter().filter(|row| row["wrong"] != 0 || row["missing"] != 0).map(Value::to_string).collect();
        if different.is_empty() {
            self.may_begin_anew.clear();
            *self.counts.entry("views compared".to_owned()).or_default() += names.len() as u64;
        }
        different
    }

    /// Writes the statements that make a table of what a view is at these offsets.
    fn write_table(&self, sql: &mut String, name: &str, table: &str, offsets: &Value, record: &Value) {
        let view = self.views.iter().find(|view| view.name == name).unwrap();
        for (source, subject) in [("orders", "orders.placed"), ("refunds", "orders.refunded")] {
            let tally = &record["tallies"][source];
            let (began, end) = (tally["began"].as_u64().unwrap_or(0), offsets[source].as_u64().unwrap_or(0));
            let crashed = self.crashed(name, source, tally);
            let bad = if view.reads_total { "bad = ''" } else { "bad <> 'body'" };
            writeln!(
                sql,
                "CREATE OR REPLACE VIEW {source} AS SELECT * FROM events WHERE subject = '{subject}' AND {bad} \
                 AND sequence >= {began} AND sequence < {end} AND sequence NOT IN ({crashed});"
            )
            .unwrap();
        }
        writeln!(sql, "CREATE OR REPLACE TABLE {table} AS {};", view.query(view.variant.unwrap())).unwrap();
    }

    /// Asserts that a view holds all of the stream from where it began, and that it began anew only where it may have.
    fn assert_began(&mut self, name: &str, record: &Value) {
        for (source, tally) in record["tallies"].as_object().into_iter().flatten() {
            let began = tally["began"].as_u64().unwrap_or_else(|| panic!("the record of {name} does not say where it began"));
            let known = self.began.insert((name.to_owned(), source.clone()), began);
            // A rebuild that was asked for by name follows a stream that has changed.
            let changed = self.expected.lost_tail || self.expected.purged_unread;
            let may = known.is_none() || changed || self.may_begin_anew.contains(name);
            let first = self.ledger.firsts.last().copied().unwrap_or(1).max(1);
            assert!(began <= first, "{name} begins at {began} of {source}, but the stream holds events from {first} on");
            // A filtered source begins at its first event or before.
            assert!(
                may || known.is_some_and(|known| began <= known.max(1)),
                "{name} has lost the events of {source} before {began}"
            );
        }
    }

    /// The events that are kept from a view since the program panicked on them, as a list for SQL.
    fn crashed(&self, name: &str, source: &str, tally: &Value) -> String {
        let crashed: Vec<u64> = tally["crashed"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
        for sequence in &crashed {
            let armed = self.armed.get(name).is_some_and(|armed| armed.contains(sequence));
            assert!(armed, "{name} has set aside event {sequence} of {source}, on which nothing panics");
        }
        crashed.iter().map(u64::to_string).chain(["-1".to_owned()]).collect::<Vec<_>>().join(", ")
    }
}
