//! State files: a projection takes their batches, or refuses them in words.

use std::collections::HashMap;
use std::io::Cursor;

use alluvium_projections::{BatchId, Projection};
use alluvium_sql::{Catalog, SqlFile};
use arrow::ipc::reader::FileReader;
use arrow::ipc::root_as_footer;
use arrow::record_batch::RecordBatch;
use std::sync::LazyLock;

/// Views of the classes that have state.
static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    const SQL: &str = "CREATE EXTERNAL TABLE t (a BIGINT, b BIGINT, c VARCHAR) STORED AS FILE LOCATION 't';
        CREATE MATERIALIZED VIEW merged AS SELECT c, count(*) AS n, sum(a) AS s, max(b) AS m FROM t GROUP BY c;
        CREATE MATERIALIZED VIEW joined AS SELECT l.a, r.b FROM t AS l JOIN t AS r ON l.a = r.b;
        CREATE MATERIALIZED VIEW keyed AS SELECT a, lag(b) OVER (PARTITION BY c ORDER BY a, b) AS p FROM t;
        CREATE MATERIALIZED VIEW best AS SELECT * FROM (SELECT a, c, row_number() OVER (PARTITION BY c ORDER BY a, b) AS r FROM t) WHERE r <= 3;";
    Catalog::load(&[SqlFile { path: "t.sql".into(), text: SQL.into() }]).unwrap_or_else(|errors| panic!("{errors}"))
});

/// The first byte chooses the view and the table, the rest is the file.
pub fn run(bytes: &[u8]) {
    let Some((first, file)) = bytes.split_first() else { return };
    let view = &CATALOG.views[usize::from(*first) % CATALOG.views.len()];
    let Some(batches) = batches(file) else { return };
    let mut projection = futures::executor::block_on(Projection::new(&view.plan)).expect("operators");
    futures::executor::block_on(projection.flush()).expect("no changes");
    let tables: Vec<String> = projection.checkpoint().into_iter().map(|table| table.table).collect();
    let Some(table) = tables.get(usize::from(*first) / CATALOG.views.len() % tables.len().max(1)) else { return };
    let batches = batches.into_iter().enumerate().map(|(index, batch)| (BatchId(index as u64), batch)).collect();
    if let Err(error) = projection.restore(HashMap::from([(table.clone(), batches)])) {
        assert!(!error.to_string().is_empty(), "a refusal without a reason");
    }
}

/// The batches of a file. The program reads a file only if its checksum is right. Over others, Arrow's reader may panic or allocate whatever
/// length they say, which is no finding.
fn batches(file: &[u8]) -> Option<Vec<RecordBatch>> {
    if !lies_within(file)? {
        return None;
    }
    // libFuzzer's hook would end the process.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let read = std::panic::catch_unwind(|| FileReader::try_new(Cursor::new(file), None).and_then(Iterator::collect));
    std::panic::set_hook(hook);
    read.ok()?.ok()
}

/// Whether all blocks that the footer names lie within the file.
fn lies_within(file: &[u8]) -> Option<bool> {
    let (rest, length) = file.strip_suffix(b"ARROW1")?.split_last_chunk::<4>()?;
    let start = rest.len().checked_sub(usize::try_from(i32::from_le_bytes(*length)).ok()?)?;
    let footer = root_as_footer(&rest[start..]).ok()?;
    let blocks = footer.recordBatches().into_iter().flatten().chain(footer.dictionaries().into_iter().flatten());
    let lengths = blocks.map(|block| [block.offset(), block.metaDataLength().into(), block.bodyLength()].map(u64::try_from));
    let within = |lengths: [Result<u64, std::num::TryFromIntError>; 3]| -> Option<bool> {
        let [offset, metadata, body] = lengths.map(Result::ok);
        Some(offset?.checked_add(metadata?)?.checked_add(body?)? <= file.len() as u64)
    };
    Some(lengths.map(within).all(|within| within == Some(true)))
}
