//! Computes views from nothing: DataFusion runs their SQL as one batch query over all rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use alluvium_sql::{Catalog, Changes, EventId, Once, Source, dialect, plan_query, session_state};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::TableSource;
use datafusion::prelude::SessionContext;

use crate::law::Event;
use crate::rows::Bag;

pub fn session() -> SessionContext {
    SessionContext::new_with_state(session_state().unwrap())
}

fn table(schema: &SchemaRef, batches: Vec<RecordBatch>) -> Arc<MemTable> {
    // Even without rows there is a batch: DataFusion would plan a table without partitions differently.
    let rows = concat_batches(schema, &batches).unwrap();
    Arc::new(MemTable::try_new(Arc::clone(schema), vec![vec![rows]]).unwrap())
}

fn source_tables(catalog: &Catalog, events: &[Event]) -> BTreeMap<String, Arc<MemTable>> {
    let of_source = |name: &String| events.iter().filter(|event| event.source == *name).map(|event| event.rows.clone()).collect();
    catalog.sources.iter().map(|(name, source)| (name.clone(), table(&source.schema, of_source(name)))).collect()
}

/// Returns the rows of every view, computed from its optimized query.
pub async fn views(catalog: &Catalog, events: &[Event]) -> Result<Vec<Bag>, DataFusionError> {
    let mut tables = source_tables(catalog, events);
    let mut bags = Vec::new();
    for view in &catalog.views {
        let plan = view.plan.batch_plan_over(|name| Ok(tables[name].clone() as _))?;
        let batches = session().execute_logical_plan(plan).await?.collect().await?;
        let schema = Arc::clone(&view.plan.schema);
        let batches: Vec<_> = batches
            .into_iter()
            .map(|batch| RecordBatch::try_new(Arc::clone(&schema), batch.columns().to_vec()).unwrap())
            .collect();
        bags.push(Bag::of(&batches));
        tables.insert(view.name.clone(), table(&schema, batches));
    }
    Ok(bags)
}

/// Returns the rows of every view, computed from its text without Alluvium's planner. `named` are plain views, each after those that it reads.
pub async fn plain(
    catalog: &Catalog,
    queries: &BTreeMap<String, String>,
    named: &[(String, String)],
    events: &[Event],
) -> Result<Vec<Bag>, DataFusionError> {
    let context = session();
    let mut tables: BTreeMap<String, Arc<dyn TableSource>> =
        source_tables(catalog, events).into_iter().map(|(name, table)| (name, provider_as_source(table))).collect();
    for (name, source) in &catalog.sources {
        let query = match (&source.changes, &source.once) {
            (Some(changes), _) => Some(as_they_are(name, source, changes)),
            (None, Some(once)) => Some(first_of_each(name, source, once)),
            (None, None) => None,
        };
        if let Some(query) = query {
            let rows = context.execute_logical_plan(plan_query(&context.state(), dialect::parse(&query)?, tables.clone())?);
            tables.insert(name.clone(), provider_as_source(rows.await?.into_view()));
        }
    }
    let mut bags = Vec::new();
    for view in &catalog.views {
        for (name, query) in named {
            // One over a view that is not there yet is planned before the next.
            if let Ok(plan) = plan_query(&context.state(), dialect::parse(query)?, tables.clone()) {
                tables.insert(name.clone(), provider_as_source(context.execute_logical_plan(plan).await?.into_view()));
            }
        }
        let query = with_watermarks(&queries[&view.name], catalog);
        let plan = plan_query(&context.state(), dialect::parse(&query)?, tables.clone())?;
        let frame = context.execute_logical_plan(plan).await?;
        tables.insert(view.name.clone(), provider_as_source(frame.clone().into_view()));
        bags.push(Bag::of(&frame.collect().await?));
    }
    Ok(bags)
}

/// Writes out `watermark('s')`, and `watermark()` where there is one source with a watermark.
fn with_watermarks(query: &str, catalog: &Catalog) -> String {
    let timed = || catalog.sources.values().filter_map(|source| Some((source, source.watermark?)));
    let mut query = query.to_owned();
    for (source, watermark) in timed() {
        let (name, column) = (&source.name, source.schema.field(watermark.column).name());
        let latest = format!("(SELECT max({column}) - INTERVAL '{} ms' FROM {name})", watermark.delay.as_millis());
        query = query.replace(&format!("watermark('{name}')"), &latest);
        if timed().count() == 1 {
            query = query.replace("watermark()", &latest);
        }
    }
    query
}

/// The rows of a source of changes, asked for in another way than by ranks.
fn as_they_are(name: &str, source: &Source, changes: &Changes) -> String {
    let column = |index: usize| source.schema.field(index).name().clone();
    let columns: Vec<_> = (0..changes.visible).map(column).collect();
    let same: Vec<_> = changes.key.iter().map(|index| format!("later.{0} = event.{0}", column(*index))).collect();
    format!(
        "SELECT {} FROM {name} event WHERE _change = 0
         AND NOT EXISTS (SELECT 1 FROM {name} later WHERE {} AND later._change < 2 AND later._sequence > event._sequence)
         AND _sequence > (SELECT coalesce(max(_sequence), 0) FROM {name} WHERE _change = 2)",
        columns.join(", "),
        same.join(" AND ")
    )
}

/// The events of a source that are no copies, asked for in another way than by windows.
fn first_of_each(name: &str, source: &Source, once: &Once) -> String {
    let column = |index: usize| source.schema.field(index).name().clone();
    let columns: Vec<_> = (0..once.visible).map(column).collect();
    let EventId::Column(id) = once.id else { panic!("only columns are asked for here") };
    let near = once.within.map_or_else(String::new, |within| format!(" AND event._sequence <= earlier._sequence + {within}"));
    format!(
        "SELECT {0} FROM {name} event WHERE NOT EXISTS
         (SELECT 1 FROM {name} earlier WHERE earlier.{1} = event.{1} AND earlier._sequence < event._sequence{near})",
        columns.join(", "),
        column(id)
    )
}
