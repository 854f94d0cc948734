//! Relations that SQL files declare and no commit holds: sources, whose events are read up to a bound, and plain views.
//!
//! Each is planned as if a view were kept of it: a source of changes stands for its current rows, and plain views may read each other and call
//! declared functions. Events are left out as a view leaves them out, by the columns that the query reads of their source. A row on which an
//! expression fails ends the query, where a view would leave it out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_connectors::source::SourceConfig;
use alluvium_sql::{RelationKind, ViewPlan};
use datafusion::catalog::TableProvider;
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, cast, col};
use datafusion::prelude::SessionContext;

use super::events::{Contents, EventsTable};
use crate::error::Error;
use crate::project::Project;
use crate::sample::{self, Wanted};

/// The beginning of the names of views that are planned and never kept.
const PLANNED: &str = "query-reads-";

/// Where to find what is declared, and how much of it to read.
pub struct Declared<'p> {
    /// Loads the project. Called only if a query names a relation that is not committed.
    pub load: &'p (dyn Fn() -> Result<Project, Error> + Sync),
    /// The most events to read of a source.
    pub limit_events: u64,
}

/// Relations that a query names beside those that are committed, planned.
pub(super) struct Plans {
    project: Project,
    limit_events: u64,
    /// By name, the plan over sources and committed views.
    plans: BTreeMap<String, Arc<ViewPlan>>,
    /// By source, its events, once they are read.
    events: BTreeMap<String, Arc<Contents>>,
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
            let name = alluvium_sql::quoted(name);
            statements.push_str(&format!("CREATE MATERIALIZED VIEW \"{PLANNED}{index}\" AS SELECT * FROM {name};\n"));
        }
        let project = project.with_statements("the query", statements)?;
        let plan = |index: usize| {
            let view = project.catalog.views.iter().find(|view| view.name == format!("{PLANNED}{index}"));
            view.map(|view| Arc::clone(&view.plan)).ok_or_else(|| Error::bug("a relation of the query is not planned"))
        };
        let plans = known.into_iter().enumerate().map(|(index, name)| Ok((name, plan(index)?))).collect::<Result<_, Error>>()?;
        let mut planned = Plans { project, limit_events: declared.limit_events, plans, events: BTreeMap::new() };
        planned.events = planned.read(RelationKind::Source).into_iter().map(|source| (source, Arc::default())).collect();
        Ok((planned, others))
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

    /// Returns each relation as a table. Those over sources are empty until [`Plans::fill`]. The committed views are tables of the session
    /// already.
    ///
    /// # Errors
    /// Only a bug.
    pub(super) async fn tables(&self, context: &SessionContext) -> Result<BTreeMap<String, Arc<dyn TableProvider>>, Error> {
        let mut below: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        for (name, contents) in &self.events {
            below.insert(name.clone(), Arc::new(EventsTable::declared(self.source(name)?.declared.clone(), contents)));
        }
        for name in self.views_read() {
            let committed = context.table_provider(name.as_str()).await?;
            below.insert(name.clone(), self.as_planned(&name, committed)?);
        }
        let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
        for (name, plan) in &self.plans {
            let table: Arc<dyn TableProvider> = match self.events.get(name).filter(|_| self.is_its_events(name)) {
                Some(events) => Arc::new(EventsTable::nullable(&self.source(name)?.declared, events)),
                None => {
                    let over = plan.batch_plan_over(|name| {
                        let unplanned = || DataFusionError::Internal(format!("{name} is read and not planned to be"));
                        below.get(name).cloned().ok_or_else(unplanned)
                    })?;
                    Arc::new(ViewTable::new(over, None))
                }
            };
            tables.insert(name.clone(), table);
        }
        Ok(tables)
    }

    /// Whether the rows of a source are its events. The query itself then decides which of its columns are read.
    fn is_its_events(&self, name: &str) -> bool {
        self.project.catalog.sources.get(name).is_some_and(|source| source.changes.is_none() && source.once.is_none())
    }

    fn source(&self, name: &str) -> Result<&SourceConfig, Error> {
        self.project.sources.get(name).ok_or_else(|| Error::bug(format!("source {name} is read and not declared")))
    }

    /// Reads the events of the sources for the optimized plan of a query. Returns notes on what was not read.
    ///
    /// # Errors
    /// Those of the sources.
    pub(super) async fn fill(&self, plan: &LogicalPlan) -> Result<Vec<String>, Error> {
        let mut notes = Vec::new();
        if matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::DescribeTable(_)) {
            return Ok(notes);
        }
        for (name, contents) in &self.events {
            let config = self.source(name)?.clone();
            let columns: Vec<usize> = self.columns_read(name, config.declared.fields().len(), plan)?.into_iter().collect();
            let wanted = Wanted::First(self.limit_events);
            let source = sample::open_columns(config, columns.clone(), wanted)?;
            let sample = sample::read(&source, wanted, self.project.settings.source_timeout).await?;
            if sample.cut {
                let of = sample.held.map_or_else(String::new, |held| format!(" of {held}"));
                let enough = sample.events >= self.limit_events;
                let more = if enough { "--limit-events N reads more" } else { "more do not fit into memory" };
                notes.push(format!("{name}: only the first {}{of} events are read; {more}", sample.events));
            }
            let bad = contents.fill(columns, sample.batches)?;
            if bad > 0 {
                notes.push(format!(
                    "{name}: {bad} of {} events are left out: they do not decode, or a value does not fit a column that the query reads; \
                     `alluvium sample {name}` shows why",
                    sample.events
                ));
            }
        }
        Ok(notes)
    }

    /// Returns the columns of a source that the query reads, itself or through plain views, over all its scans.
    fn columns_read(&self, source: &str, all: usize, plan: &LogicalPlan) -> Result<BTreeSet<usize>, Error> {
        let through = self.plans.iter().filter(|(name, _)| !self.is_its_events(name));
        let mut columns: BTreeSet<usize> = through.flat_map(|(_, plan)| plan.columns_read.of(source)).collect();
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && scan.table_name.table() == source
            {
                match &scan.projection {
                    Some(projection) => columns.extend(projection),
                    None => columns.extend(0..all),
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(columns)
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
