//! Computes views from nothing: DataFusion runs their SQL as one batch query over all rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use alluvium_sql::{Catalog, dialect, plan_query, session_state};
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
    let mut bags = Vec::new();
    for view in &catalog.views {
        for (name, query) in named {
            // One over a view that is not there yet is planned before the next.
            if let Ok(plan) = plan_query(&context.state(), dialect::parse(query)?, tables.clone()) {
                tables.insert(name.clone(), provider_as_source(context.execute_logical_plan(plan).await?.into_view()));
            }
        }
        let plan = plan_query(&context.state(), dialect::parse(&queries[&view.name])?, tables.clone())?;
        let frame = context.execute_logical_plan(plan).await?;
        tables.insert(view.name.clone(), provider_as_source(frame.clone().into_view()));
        bags.push(Bag::of(&frame.collect().await?));
    }
    Ok(bags)
}
