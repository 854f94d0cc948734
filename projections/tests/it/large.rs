//! Steps of many thousand rows, which are spread over the cores. The steps of most other tests run on one.

use std::sync::Arc;

use alluvium_sql::{Catalog, SqlFile};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::record_batch::RecordBatch;

use crate::law::{Cut, Event, Prefixes, hold};

/// Rows of one step: more than any operator gives to each of two cores, and not a multiple of that.
const ROWS: usize = 70_001;

const VIEWS: &str = "
CREATE EXTERNAL TABLE l (k BIGINT, v BIGINT, t TIMESTAMP(3), name VARCHAR) STORED AS FILE LOCATION 'l';
CREATE EXTERNAL TABLE r (k BIGINT, v BIGINT, t TIMESTAMP(3), name VARCHAR) STORED AS FILE LOCATION 'r';
CREATE MATERIALIZED VIEW linear AS SELECT k, v * 2 AS w, upper(name) AS n FROM l WHERE v % 3 <> 0;
CREATE MATERIALIZED VIEW both AS SELECT k + 1 AS k, name FROM l WHERE v < 500 UNION ALL SELECT k, lower(name) AS name FROM r;
CREATE MATERIALIZED VIEW groups AS SELECT k, count(*) AS n, sum(v) AS s, max(name) AS m FROM l GROUP BY k;
CREATE MATERIALIZED VIEW joined AS SELECT l.k, l.name, r.v FROM l JOIN r ON l.k = r.k AND l.v < r.v;
CREATE MATERIALIZED VIEW changing AS SELECT g.k, g.n, r.name FROM groups AS g JOIN r ON g.k = r.k AND r.v < 100;
CREATE MATERIALIZED VIEW counts AS SELECT n, s % 100 AS c, count(*) AS groups FROM groups GROUP BY n, s % 100;
CREATE MATERIALIZED VIEW first AS SELECT k, s, m FROM groups ORDER BY s DESC NULLS LAST, k LIMIT 7000;
CREATE MATERIALIZED VIEW ranked AS SELECT k, v, name, n FROM (
  SELECT k, v, name, rank() OVER (PARTITION BY k % 20000 ORDER BY name DESC, v) AS n FROM l) AS t WHERE n <= 2;
CREATE MATERIALIZED VIEW sessions AS SELECT k, window_start, window_end, count(*) AS n
  FROM SESSION(l, t, INTERVAL '20 minutes' PARTITION BY k)
  GROUP BY k, window_start, window_end;
CREATE MATERIALIZED VIEW kept AS SELECT l.k, l.v, r.name FROM l LEFT JOIN r ON l.k = r.k AND l.v < r.v;
CREATE MATERIALIZED VIEW whole AS SELECT l.k, l.v, r.v AS w FROM l FULL JOIN r ON l.k = r.k;
CREATE MATERIALIZED VIEW numbered AS SELECT k, v, row_number() OVER (ORDER BY name, t, v, k) AS n FROM l;
CREATE MATERIALIZED VIEW placed AS SELECT k, rank() OVER (ORDER BY v DESC) AS n, dense_rank() OVER (ORDER BY v DESC) AS d FROM l;
CREATE MATERIALIZED VIEW running AS SELECT k, v, sum(v) OVER (ORDER BY v, k) AS s, count(*) OVER (ORDER BY v, k) AS n FROM kept;
CREATE MATERIALIZED VIEW by_key AS SELECT k, avg(v) OVER (PARTITION BY k % 7 ORDER BY t) AS a FROM l;
";

/// Makes rows with NULLs, few names, and keys that mostly occur about twice.
fn rows(random: &mut fastrand::Rng) -> RecordBatch {
    let mut numbers = |most: i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter((0..ROWS).map(|_| (random.u8(..50) > 0).then(|| random.i64(0..most)))))
    };
    let (k, v, t) = (numbers(30_000), numbers(1_000), numbers(3_600_000));
    let t = cast(&t, &DataType::Timestamp(TimeUnit::Millisecond, None)).unwrap();
    let name = |_| (random.u8(..50) > 0).then(|| "name of some length ".repeat(random.usize(..3)) + &random.u8(..4).to_string());
    let name: ArrayRef = Arc::new(StringArray::from_iter((0..ROWS).map(name)));
    RecordBatch::try_from_iter_with_nullable([("k", k, true), ("v", v, true), ("t", t, true), ("name", name, true)]).unwrap()
}

#[tokio::test]
async fn steps_that_are_spread_over_the_cores_hold_the_law() {
    let seed = std::env::var("ALLUVIUM_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("seed {seed}: set ALLUVIUM_SEED to repeat");
    let mut random = fastrand::Rng::with_seed(seed);
    let catalog = Catalog::load(&[SqlFile { path: "large.sql".to_owned(), text: VIEWS.to_owned() }]).unwrap();
    let events: Vec<Event> =
        ["l", "r", "l"].iter().map(|source| Event { source: (*source).to_owned(), rows: rows(&mut random) }).collect();
    let (held, changes) = hold(&catalog, &events, &Cut::Every(1), &mut Prefixes::default()).await;
    assert_eq!(held.len(), catalog.views.len());
    for (view, changes) in catalog.views.iter().zip(changes) {
        assert!(changes > 5_000 || view.name == "counts", "view {}: {changes} changes are not many", view.name);
    }
}
