//! TPC-H's eight tables as eight streams, their rows interleaved at random.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::Arc;

use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, StringArray};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use fastrand::Rng;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator, RegionGenerator,
    SupplierGenerator,
};

use super::{run, seed};
use crate::law::Event;

const SOURCES: &str = "
CREATE EXTERNAL TABLE region (r_regionkey BIGINT, r_name VARCHAR, r_comment VARCHAR) STORED AS FILE LOCATION 'region';
CREATE EXTERNAL TABLE nation (n_nationkey BIGINT, n_name VARCHAR, n_regionkey BIGINT, n_comment VARCHAR)
  STORED AS FILE LOCATION 'nation';
CREATE EXTERNAL TABLE supplier (s_suppkey BIGINT, s_name VARCHAR, s_address VARCHAR, s_nationkey BIGINT, s_phone VARCHAR,
  s_acctbal DECIMAL(15, 2), s_comment VARCHAR) STORED AS FILE LOCATION 'supplier';
CREATE EXTERNAL TABLE customer (c_custkey BIGINT, c_name VARCHAR, c_address VARCHAR, c_nationkey BIGINT, c_phone VARCHAR,
  c_acctbal DECIMAL(15, 2), c_mktsegment VARCHAR, c_comment VARCHAR) STORED AS FILE LOCATION 'customer';
CREATE EXTERNAL TABLE part (p_partkey BIGINT, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, p_size INT,
  p_container VARCHAR, p_retailprice DECIMAL(15, 2), p_comment VARCHAR) STORED AS FILE LOCATION 'part';
CREATE EXTERNAL TABLE partsupp (ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INT, ps_supplycost DECIMAL(15, 2),
  ps_comment VARCHAR) STORED AS FILE LOCATION 'partsupp';
CREATE EXTERNAL TABLE orders (o_orderkey BIGINT, o_custkey BIGINT, o_orderstatus VARCHAR, o_totalprice DECIMAL(15, 2),
  o_orderdate DATE, o_orderpriority VARCHAR, o_clerk VARCHAR, o_shippriority INT, o_comment VARCHAR)
  STORED AS FILE LOCATION 'orders';
CREATE EXTERNAL TABLE lineitem (l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INT,
  l_quantity DECIMAL(15, 2), l_extendedprice DECIMAL(15, 2), l_discount DECIMAL(15, 2), l_tax DECIMAL(15, 2),
  l_returnflag VARCHAR, l_linestatus VARCHAR, l_shipdate DATE, l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR,
  l_shipmode VARCHAR, l_comment VARCHAR) STORED AS FILE LOCATION 'lineitem';";

/// Makes about 8,700 rows.
const SCALE: f64 = 0.001;

/// Formats rows as the generator writes them, with `|` between columns.
fn lines<T: Display>(rows: impl IntoIterator<Item = T>) -> Vec<String> {
    rows.into_iter().map(|row| row.to_string()).collect()
}

fn table(schema: &SchemaRef, lines: &[String]) -> RecordBatch {
    let columns = schema.fields().iter().enumerate().map(|(index, field)| {
        let texts: Vec<&str> = lines.iter().map(|line| line.split('|').nth(index).unwrap()).collect();
        cast(&(Arc::new(StringArray::from(texts)) as ArrayRef), field.data_type()).unwrap()
    });
    RecordBatch::try_new(Arc::clone(schema), columns.collect()).unwrap()
}

fn events(random: &mut Rng) -> Vec<Event> {
    let catalog = Catalog::load(&[SqlFile { path: "tpch.sql".to_owned(), text: SOURCES.to_owned() }]).unwrap();
    let tables = BTreeMap::from([
        ("region", lines(RegionGenerator::new(SCALE, 1, 1).iter())),
        ("nation", lines(NationGenerator::new(SCALE, 1, 1).iter())),
        ("supplier", lines(SupplierGenerator::new(SCALE, 1, 1).iter())),
        ("customer", lines(CustomerGenerator::new(SCALE, 1, 1).iter())),
        ("part", lines(PartGenerator::new(SCALE, 1, 1).iter())),
        ("partsupp", lines(PartSuppGenerator::new(SCALE, 1, 1).iter())),
        ("orders", lines(OrderGenerator::new(SCALE, 1, 1).iter())),
        ("lineitem", lines(LineItemGenerator::new(SCALE, 1, 1).iter())),
    ]);
    let mut events = Vec::new();
    for (source, lines) in tables {
        let rows = table(&catalog.sources[source].schema, &lines);
        events.extend((0..rows.num_rows()).map(|row| Event { source: source.to_owned(), rows: rows.slice(row, 1) }));
    }
    random.shuffle(&mut events);
    events
}

/// Picks a few events of each table, with all rows of the smallest ones: without these, most answers are empty.
fn few(events: &[Event], random: &mut Rng) -> Vec<Event> {
    let mut few: Vec<Event> = Vec::new();
    for (source, count) in [
        ("region", 5),
        ("nation", 25),
        ("supplier", 4),
        ("part", 10),
        ("partsupp", 10),
        ("customer", 10),
        ("orders", 15),
        ("lineitem", 25),
    ] {
        few.extend(events.iter().filter(|event| event.source == source).take(count).cloned());
    }
    random.shuffle(&mut few);
    few
}

#[test]
fn tpch_holds_the_law() {
    let mut random = Rng::with_seed(seed());
    let events = events(&mut random);
    let few = few(&events, &mut random);
    run("tpch", SOURCES, &events, &few);
}
