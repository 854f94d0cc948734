//! A third judge for the standard's reading: PostgreSQL runs the queries in `tests/slt` that it can run, over the same rows. The test is
//! skipped where there is no PostgreSQL; `make tools` installs Debian's. `ALLUVIUM_POSTGRES` names another folder of programs.

mod server;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::datatypes::{DataType, Schema, SchemaRef};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};

use self::server::Server;
use crate::rows::{Bag, Cell, Row};
use crate::slt::{Failure, Streams, files, streams};

/// Where PostgreSQL answers something else: a part of the query, and why.
const DIFFERENT: &[(&str, &str)] = &[
    ("avg(amount), avg(price), avg(total)", "avg of DECIMAL has four digits more than its argument, and is cut there"),
    ("sum(d) / count(*) AS mean, avg(d)", "the same"),
    ("avg(CAST(d AS DECIMAL(33, 0)))", "the same"),
    ("avg(e) OVER", "the same"),
    ("avg(d) OVER (PARTITION BY k ORDER BY at)", "the same"),
    // A sum of BIGINT is a DECIMAL.
    ("avg(n) OVER w AS b, first_value(n) OVER w AS c, last_value(n) OVER w AS e FROM sums", "the same"),
    ("ORDER BY day IS NULL", "rows that tie come in the order of their events; PostgreSQL does not say in which"),
    ("rank() OVER (ORDER BY amount) AS over_all", "the same"),
    ("total / 3", "a quotient of DECIMALs has 16 digits behind the point; PostgreSQL gives small ones more"),
    ("day + INTERVAL '1 day'", "a DATE plus an INTERVAL is a DATE; and to_char also takes '%Y'"),
    ("max(placed) - min(placed)", "an INTERVAL is written as ISO 8601 writes it"),
    ("paid - placed AS waited", "the same"),
    ("INTERVAL '1 day 2 hours' AS fixed", "the same"),
    ("max(paid - placed) AS longest", "the same"),
];

/// What came of the queries.
#[derive(Debug, Default)]
struct Tally {
    agree: usize,
    documented: usize,
    not_run: usize,
    differences: Vec<String>,
}

/// Asks PostgreSQL the queries of one file.
struct Judge {
    streams: Streams,
    server: Arc<Server>,
    tally: Arc<Mutex<Tally>>,
}

impl DB for Judge {
    type Error = Failure;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failure> {
        let sql = sql.trim().trim_end_matches(';');
        let upper = sql.to_uppercase();
        if ["EXPECT ", "CREATE", "INSERT INTO"].iter().any(|word| upper.starts_with(word)) {
            return self.streams.run(sql);
        }
        // PostgreSQL knows nothing of changes and copies of events.
        let catalog = self.streams.catalog("")?;
        if catalog.sources.values().any(|source| source.changes.is_some() || source.once.is_some()) {
            self.tally.lock().unwrap().not_run += 1;
            return Ok(DBOutput::Rows { types: Vec::new(), rows: Vec::new() });
        }
        let (schema, ours) = self.streams.answer(sql)?;
        let mut tally = self.tally.lock().unwrap();
        match self.server.copy(&format!("{}COPY ({sql}) TO STDOUT WITH (FORMAT csv, NULL 'NULL');\n", self.tables())) {
            None => tally.not_run += 1,
            Some(answer) => {
                let theirs = bag(&answer, &schema);
                let is_documented = DIFFERENT.iter().any(|(part, _)| sql.contains(part));
                match as_compared(&ours, &schema).difference(&theirs) {
                    None => tally.agree += 1,
                    Some(_) if is_documented => tally.documented += 1,
                    Some(difference) => tally.differences.push(format!("{sql}\nours and PostgreSQL's:\n{difference}")),
                }
            }
        }
        // The rows in the file are compared elsewhere.
        Ok(DBOutput::Rows { types: Vec::new(), rows: Vec::new() })
    }
}

impl Judge {
    /// Returns statements that create the sources with their rows, and the views.
    fn tables(&self) -> String {
        let Ok(catalog) = self.streams.catalog("") else { return String::new() };
        let mut script = String::new();
        for (name, source) in &catalog.sources {
            let columns: Vec<String> = source
                .schema
                .fields()
                .iter()
                .map(|field| format!("\"{}\" {}", field.name(), type_name(field.data_type())))
                .collect();
            script.push_str(&format!("CREATE TEMP TABLE \"{name}\" ({});\n", columns.join(", ")));
            for event in self.streams.events.iter().filter(|event| event.source == *name) {
                for row in crate::rows::rows_of(&event.rows) {
                    let values = row.iter().zip(source.schema.fields()).map(|(cell, field)| literal(cell, field.data_type()));
                    let values: Vec<String> = values.collect();
                    script.push_str(&format!("INSERT INTO \"{name}\" VALUES ({});\n", values.join(", ")));
                }
            }
        }
        let named = self.streams.named.iter().map(|(name, query)| (name, query));
        for (name, query) in named.chain(&self.streams.queries) {
            script.push_str(&format!("CREATE TEMP VIEW {name} AS {query};\n"));
        }
        script
    }
}

fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int8 | DataType::Int16 => "smallint".to_owned(),
        DataType::Int32 => "integer".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => "numeric(20)".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Time64(_) | DataType::Time32(_) => "time".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Decimal128(precision, scale) => format!("numeric({precision}, {scale})"),
        DataType::Binary => "bytea".to_owned(),
        DataType::Interval(_) => "interval".to_owned(),
        DataType::List(item) => format!("{}[]", type_name(item.data_type())),
        DataType::Utf8 => "text".to_owned(),
        // PostgreSQL has no such type, so that queries of the table are not run.
        other => format!("\"{other}\""),
    }
}

fn literal(cell: &Cell, data_type: &DataType) -> String {
    match cell {
        Cell::Text(text) if text == "NULL" => text.clone(),
        Cell::Text(text) if text == "(empty)" => "''".to_owned(),
        Cell::Text(text) => {
            let text = match data_type {
                DataType::List(_) => text.replace('[', "{").replace(']', "}"),
                DataType::Binary => format!("\\x{text}"),
                _ => text.clone(),
            };
            format!("'{}'", text.replace('\'', "''"))
        }
        Cell::Float(bits) => format!("'{}'", f64::from_bits(*bits)),
    }
}

/// Reads rows of CSV.
fn bag(answer: &str, schema: &SchemaRef) -> Bag {
    let mut bag = Bag::default();
    for cells in records(answer) {
        let row = cells.iter().zip(schema.fields()).map(|((text, quoted), field)| match field.data_type() {
            _ if text == "NULL" && !quoted => Cell::Text("NULL".to_owned()),
            DataType::Float32 | DataType::Float64 => number(text).unwrap_or_else(|| Cell::Text(text.clone())),
            data_type => Cell::Text(plain(text, data_type)),
        });
        bag.add(row.collect(), 1);
    }
    bag
}

fn number(text: &str) -> Option<Cell> {
    let text = text.replace("Infinity", "inf");
    text.parse::<f64>().ok().map(|value| Cell::Float(value.to_bits()))
}

/// Splits CSV into records: each cell, and whether it was in quotes.
fn records(text: &str) -> Vec<Vec<(String, bool)>> {
    let (mut records, mut record) = (Vec::new(), Vec::new());
    let (mut cell, mut was_quoted, mut inside) = (String::new(), false, false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if inside && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' => {
                inside = !inside;
                was_quoted = true;
            }
            ',' | '\n' if !inside => {
                record.push((std::mem::take(&mut cell), std::mem::take(&mut was_quoted)));
                if letter == '\n' {
                    records.push(std::mem::take(&mut record));
                }
            }
            _ => cell.push(letter),
        }
    }
    records
}

/// Returns rows with each value in the form in which it is compared.
fn as_compared(ours: &Bag, schema: &Schema) -> Bag {
    let mut bag = Bag::default();
    for (row, weight) in &ours.0 {
        let row: Row = row
            .iter()
            .zip(schema.fields())
            .map(|(cell, field)| match cell {
                Cell::Text(text) if text != "NULL" => {
                    Cell::Text(plain(if text == "(empty)" { "" } else { text }, field.data_type()))
                }
                other => other.clone(),
            })
            .collect();
        bag.add(row, *weight);
    }
    bag
}

/// Returns a value in one form: numbers without zeros at their end, times as ISO 8601 writes them, lists in brackets.
fn plain(text: &str, data_type: &DataType) -> String {
    let without_zeros = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    match data_type {
        DataType::Boolean => match text {
            "t" => "true".to_owned(),
            "f" => "false".to_owned(),
            other => other.to_owned(),
        },
        DataType::Decimal128(..) | DataType::Decimal256(..) => without_zeros(text),
        DataType::Timestamp(_, None) => without_zeros(&text.trim_end_matches("+00").replacen(' ', "T", 1)),
        DataType::Timestamp(..) => text.replacen(' ', "T", 1).replace("+00", "Z"),
        DataType::Time64(_) | DataType::Time32(_) => without_zeros(text),
        DataType::Binary => text.replace("\\x", ""),
        DataType::List(_) => {
            let items = text.trim_matches(['[', ']', '{', '}']).replace(", ", ",").replace('"', "");
            let is_whole = |item: &str| item.parse::<f64>().is_ok();
            let items = items.split(',').map(|item| if is_whole(item) { without_zeros(item) } else { item.to_owned() });
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        _ if text.is_empty() => "(empty)".to_owned(),
        _ => text.to_owned(),
    }
}

/// Returns the folder of PostgreSQL's programs: `ALLUVIUM_POSTGRES`, else Debian's newest.
fn programs() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("ALLUVIUM_POSTGRES") {
        return Some(PathBuf::from(folder));
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let found = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    found.filter(|folder| folder.join("postgres").exists() && folder.join("initdb").exists()).max()
}

#[test]
fn postgres_agrees() {
    let Some(programs) = programs() else {
        println!("skipped: there is no PostgreSQL (`make tools` installs it)");
        return;
    };
    let server = Arc::new(Server::start(&programs));
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt"), &mut found);
    found.sort();
    let only = std::env::var("ALLUVIUM_SLT_ONLY").unwrap_or_default();
    for file in found.iter().filter(|file| file.to_string_lossy().contains(&only)) {
        let mut runner = Runner::new(|| async {
            Ok(Judge {
                streams: streams(1, Arc::new(Mutex::new(Vec::new()))),
                server: Arc::clone(&server),
                tally: Arc::clone(&tally),
            })
        });
        runner.with_validator(|_, _, _| true);
        runner.run_file(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
    let tally = tally.lock().unwrap();
    println!("{} queries agree, {} differ as documented, {} are not run", tally.agree, tally.documented, tally.not_run);
    assert!(tally.differences.is_empty(), "{}", tally.differences.join("\n\n"));
    assert!(!only.is_empty() || tally.agree >= 550, "PostgreSQL runs only {} queries", tally.agree);
}
