//! Relations that SQL files declare and no commit holds: sources, whose events are read up to a bound, and plain views.
//!
//! Each is planned as if a view were kept of it, so that its rows are those that a view would see: a source of changes stands for its current
//! rows, and plain views may read each other and call declared functions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_sql::{RelationKind, ViewPlan};
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlanBuilder, cast, col};
use datafusion::prelude::SessionContext;

use super::events::EventsTable;
use crate::error::Error;
use crate::project::Project;
use crate::sample::{self, Wanted};

/// The beginning of the names of views that are planned and never kept.
const PLANNED: &str = "query-reads-";

/// Where to find what is declared, and how much of it to read.
pub struct Declared<'p> {
    /// Loads the project. Called only if a query names a relation that is not committed.
    pub load: &'p dyn Fn() -> Result<Project, Error>,
    /// The most events to read of a source.
    pub limit_events: u64,
}

/// Relations that a query names beside those that are committed, planned.
pub(super) struct Plans {
    project: Project,
    limit_events: u64,
    /// By name, the plan over sources and committed views.
    plans: BTreeMap<String, Arc<ViewPlan>>,
}

impl Plans {
    /// Plans the relations called `names`, which are declared. The others are returned.
    ///
    /// # Errors
    /// The project does not load.
    pub(super) fn new(declared: &Declared<'_>, names: &BTreeSet<String>) -> Result<(Plans, BTreeSet<String>), Error> {
        let project = (declared.load)()?;
        let is_plain_view = |name: &str| {
            let statement = project.catalog.functions.get(name).map(|statement| statement.to_ascii_uppercase());
            statement.is_some_and(|statement| statement.split_whitespace().take(5).any(|word| word == "VIEW"))
        };
        let (known, others): (BTreeSet<String>, BTreeSet<String>) =
            names.iter().cloned().partition(|name| project.catalog.sources.contains_key(name) || is_plain_view(name));
        let mut statements = String::new();
        for (index, name) in known.iter().enumerate() {
            let quoted = name.replace('"', "\"\"");
            statements.push_str(&format!("CREATE MATERIALIZED VIEW \"{PLANNED}{index}\" AS SELECT * FROM \"{quoted}\";\n"));
        }
        let project = project.with_statements("the query", statements)?;
        let plan = |index: usize| {
            let view = project.catalog.views.iter().find(|view| view.name == format!("{PLANNED}{index}"));
            view.map(|view| Arc::clone(&view.plan)).ok_or_else(|| Error::bug("a relation of the query is not planned"))
        };
        let plans = known.into_iter().enumerate().map(|(index, name)| Ok((name, plan(index)?))).collect::<Result<_, Error>>()?;
        Ok((Plans { project, limit_events: declared.limit_events, plans }, others))
    }

    /// The views that SQL files declare, whether they are committed or not.
    pub(super) fn views(&self) -> impl Iterator<Item = &str> {
        let declared = self.project.catalog.views.iter().map(|view| view.name.as_str());
        declared.filter(|name| !name.starts_with(PLANNED))
    }

    /// The sources.
    pub(super) fn sources(&self) -> impl Iterator<Item = &str> {
        self.project.catalog.sources.keys().map(String::as_str)
    }

    /// The views whose commits are read.
    pub(super) fn views_read(&self) -> BTreeSet<String> {
        self.read(RelationKind::View)
    }

    fn read(&self, kind: RelationKind) -> BTreeSet<String> {
        let reads = self.plans.values().flat_map(|plan| &plan.reads);
        reads.filter(|(read, _)| *read == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Reads the sources, and returns each relation as a table, with notes on what was not read. The committed views are tables of the
    /// session already.
    ///
    /// # Errors
    /// Those of the sources.
    pub(super) async fn tables(
        &self,
        context: &SessionContext,
    ) -> Result<(BTreeMap<String, Arc<dyn TableProvider>>, Vec<String>), Error> {
        let mut below: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        let mut notes = Vec::new();
        for name in self.read(RelationKind::Source) {
            let config = self.project.sources.get(&name).cloned();
            let config = config.ok_or_else(|| Error::bug(format!("source {name} is read and not declared")))?;
            let wanted = Wanted::First(self.limit_events);
            let schema = config.declared.clone();
            let sample = sample::read(&sample::open(config, wanted)?, wanted).await?;
            if sample.cut {
                let of = sample.held.map_or_else(String::new, |held| format!(" of {held}"));
                notes.push(format!("{name}: only the first {}{of} events are read; --limit-events N reads more", sample.events));
            }
            let (table, bad) = EventsTable::new(schema, sample.batches);
            if bad > 0 {
                notes.push(format!(
                    "{name}: {bad} of {} events do not decode or have values that do not fit their columns. They are left out where such a \
                     column is read; `alluvium sample {name}` shows events and why they do not decode",
                    sample.events
                ));
            }
            below.insert(name, Arc::new(table));
        }
        for name in self.views_read() {
            let committed = context.table_provider(name.as_str()).await?;
            below.insert(name.clone(), self.as_planned(&name, committed)?);
        }
        let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        for (name, plan) in &self.plans {
            // A source whose rows are its events: the query itself decides which of its columns are read.
            let as_it_is =
                self.project.catalog.sources.get(name).filter(|source| source.changes.is_none() && source.once.is_none());
            let table = match as_it_is.and_then(|_| below.get(name)) {
                Some(events) => Arc::clone(events),
                None => {
                    let over = plan.batch_plan_over(|name| {
                        below
                            .get(name)
                            .cloned()
                            .ok_or_else(|| DataFusionError::Internal(format!("{name} is read and not planned to be")))
                    })?;
                    Arc::new(ViewTable::new(over, None))
                }
            };
            tables.insert(name.clone(), table);
        }
        Ok((tables, notes))
    }

    /// A committed view with the types that it was planned with. The session reads Parquet with others.
    fn as_planned(&self, name: &str, committed: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>, Error> {
        let view = self.project.catalog.views.iter().find(|view| view.name == name);
        let schema = &view.ok_or_else(|| Error::bug(format!("view {name} is read and not declared")))?.plan.schema;
        let column = |field: &Arc<arrow::datatypes::Field>| {
            let column = col(datafusion::common::Column::new_unqualified(field.name()));
            cast(column, field.data_type().clone()).alias(field.name())
        };
        let scan = LogicalPlanBuilder::scan(name, provider_as_source(committed), None)?;
        let plan = scan.project(schema.fields().iter().map(column).collect::<Vec<_>>())?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}
