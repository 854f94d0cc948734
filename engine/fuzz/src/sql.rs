//! SQL files: they load, or each error has a message and a place in the text.

use alluvium_sql::{Catalog, SqlFile};

/// The text of one file beside a source.
pub fn run(bytes: &[u8]) {
    const SOURCE: &str = "CREATE EXTERNAL TABLE orders (order_id BIGINT, customer BIGINT, country VARCHAR, total DECIMAL(12, 2), \
        placed_at TIMESTAMP, tags VARCHAR[], address STRUCT<city VARCHAR, zip VARCHAR>) STORED AS FILE LOCATION 'orders.jsonl';";
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = |path: &str, text: &str| SqlFile { path: path.to_owned(), text: text.to_owned() };
    let Err(errors) = Catalog::load(&[file("sources.sql", SOURCE), file("fuzzed.sql", text)]) else { return };
    assert!(!errors.0.is_empty(), "no error is named");
    for error in &errors.0 {
        let (at, all) = (&error.at, &error.at.file.text);
        assert!(!error.message.is_empty(), "an error without a message");
        assert!(all.get(at.offset..at.offset + at.length).is_some(), "{}..+{}: {error}", at.offset, at.length);
    }
}
