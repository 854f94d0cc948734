//! SQL over the committed views, on one consistent snapshot, with or without a running engine; and over the sources and plain views that SQL
//! files declare, bounded.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`snapshot`] | chooses the commit of each view: views that are committed together are read at one epoch |
//! | [`open_files`] | their Parquet files, opened before the query begins, so that files removed meanwhile can still be read |
//! | [`declared`] | sources and plain views, which no commit holds |
//! | `events` | the events of a source as a table |
//! | [`newest`] | the newest commit of each view, kept open between requests |
//! | [`run`] | runs planned queries, those of servers on threads of their own |
//! | [`memory`] | the memory that served queries share |
//! | [`changed`] | the rows in which two commits differ |
//! | [`compared`] | the rows in which two versions of a view differ, matched by key |
//! | [`reached`] | whether a view has committed an event |
//! | [`sql_types`] | the SQL names of types |
//! | [`system`] | the system tables: `alluvium.views` and others |
//!
//! Nothing here locks or writes. A query that names committed views only needs the data folder: no SQL file is read.

pub mod changed;
pub mod compared;
pub mod declared;
mod events;
pub mod memory;
pub mod newest;
pub mod open_files;
pub mod reached;
pub mod run;
pub mod snapshot;
pub mod sql_types;
pub mod system;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_sql::{deep, listed, nearest, optimized};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, ScalarValue, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use crate::error::Error;
use crate::layout::Layout;
use declared::{Declared, Plans};
use memory::QueryMemory;
use run::planned_deep;
use snapshot::Snapshots;

/// The name of the table of events that were set aside, where no view has it.
pub const DEAD_LETTERS: &str = "dead_letters";

/// A planned query. It keeps the files that it reads open.
pub struct Answer {
    frame: DataFrame,
    /// What a user should know of the rows: which events they do not count.
    notes: Vec<String>,
}

impl Answer {
    /// Wraps a planned query.
    #[must_use]
    pub fn of(frame: DataFrame) -> Answer {
        Answer { frame, notes: Vec::new() }
    }

    /// Returns what a user should know of the rows, one sentence each: which events were not read.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Runs the query and returns its rows as they are produced.
    ///
    /// # Errors
    /// The plan cannot run.
    pub async fn stream(self) -> Result<SendableRecordBatchStream, Error> {
        run::stream(self.frame, None).await
    }

    /// As [`Answer::stream`], with memory that served queries share.
    ///
    /// # Errors
    /// The plan cannot run.
    pub async fn stream_within(self, memory: &QueryMemory) -> Result<SendableRecordBatchStream, Error> {
        run::stream(self.frame, Some(memory)).await
    }

    /// Does the same on the threads that ask, where nothing else runs beside it.
    ///
    /// # Errors
    /// As [`Answer::stream`].
    pub async fn stream_here(self) -> Result<SendableRecordBatchStream, Error> {
        run::stream_here(self.frame).await
    }
}

/// Plans a SELECT (or EXPLAIN, SHOW TABLES, DESCRIBE) over the views, and with `declared` over what is declared and not committed.
///
/// # Errors
/// The statement is wrong or changes something, a view does not exist, or files or sources cannot be read.
pub async fn query(layout: &Layout, sql: &str, declared: Option<&Declared<'_>>) -> Result<Answer, Error> {
    let (query, plans) = planned_deep(plan(layout, sql, declared, None)).await?;
    // The optimizer checks types and computes constants. Run it here, so that its errors get a place in the text, too.
    let optimized = deep(|| optimized(&query.context.state(), &query.plan)).map_err(|error| in_the_text(error, sql))?;
    let notes = match &plans {
        Some(plans) => plans.fill(&optimized).await?,
        None => Vec::new(),
    };
    Ok(Answer { frame: DataFrame::new(query.context.state(), as_optimized(query.plan, optimized)), notes })
}

/// Plans a query over the committed views that may have parameters, `$1` and so on. With `at_once`, it reads that snapshot.
///
/// # Errors
/// As [`query`].
pub async fn prepare(layout: &Layout, sql: &str, at_once: Option<&ViewsAtOnce>) -> Result<PreparedQuery, Error> {
    Ok(planned_deep(plan(layout, sql, None, at_once)).await?.0)
}

/// A snapshot of all views that had a commit when it was taken.
pub struct ViewsAtOnce {
    context: SessionContext,
    views: BTreeSet<String>,
}

impl ViewsAtOnce {
    /// Opens the newest commit of each view.
    ///
    /// # Errors
    /// The disk fails.
    pub async fn take(layout: &Layout) -> Result<ViewsAtOnce, Error> {
        let (context, views) = (session(true)?, snapshot::views(layout)?);
        register(&context, layout, &views).await?;
        Ok(ViewsAtOnce { context, views })
    }
}

/// A planned query whose parameters have no values yet.
pub struct PreparedQuery {
    context: SessionContext,
    plan: LogicalPlan,
    sql: String,
}

impl PreparedQuery {
    /// The types of the parameters, from `$1` on; `None` where the query does not decide it.
    #[must_use]
    pub fn parameters(&self) -> Vec<Option<DataType>> {
        let types = self.plan.get_parameter_types().unwrap_or_default();
        let number = |name: &String| name.trim_start_matches('$').parse::<usize>().unwrap_or(0);
        let count = types.keys().map(number).max().unwrap_or(0);
        (1..=count).map(|index| types.get(&format!("${index}")).cloned().flatten()).collect()
    }

    /// The columns of its rows.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(self.plan.schema().inner())
    }

    /// Gives the parameters values.
    ///
    /// # Errors
    /// A value does not fit, or one is missing.
    pub fn bind(self, values: Vec<ScalarValue>) -> Result<Answer, Error> {
        let wrong = |error: DataFusionError| in_the_text(error, &self.sql);
        deep(|| {
            let plan = if values.is_empty() { self.plan } else { self.plan.with_param_values(values).map_err(wrong)? };
            let optimized = optimized(&self.context.state(), &plan).map_err(wrong)?;
            Ok(Answer::of(DataFrame::new(self.context.state(), as_optimized(plan, optimized))))
        })
    }
}

/// Returns the plan to run. DataFusion optimizes it once more, which takes it long for subqueries within subqueries; the optimized plan has none. A plan
/// that is to be shown stays as it is.
fn as_optimized(plan: LogicalPlan, optimized: LogicalPlan) -> LogicalPlan {
    if matches!(plan, LogicalPlan::Explain(_) | LogicalPlan::Analyze(_)) { plan } else { optimized }
}

async fn plan(
    layout: &Layout,
    sql: &str,
    declared: Option<&Declared<'_>>,
    at_once: Option<&ViewsAtOnce>,
) -> Result<(PreparedQuery, Option<Plans>), Error> {
    let wrong = |error: DataFusionError| in_the_text(error, sql);
    let mut statement = alluvium_sql::dialect::parse(sql).map_err(wrong)?;
    let reads = reads(&statement);
    if reads == Reads::Changes {
        return Err(only_reads());
    }
    let system = system::take_names(&mut statement)?;
    let named = alluvium_sql::relations_named(&statement).map_err(wrong)?;
    let (context, there) = match at_once {
        Some(at_once) => (at_once.context.clone(), at_once.views.clone()),
        None => (session(true)?, snapshot::views(layout)?),
    };
    let mut relations = Named::of(&named, reads, &there, &context, &system);
    let plans = planned(&relations.others, &there, layout, declared)?;
    relations.views.extend(plans.iter().flat_map(Plans::views_read));
    if at_once.is_none() {
        register(&context, layout, &relations.views).await?;
    }
    let mut unkept = match &plans {
        Some(plans) => plans.tables(&context).await?,
        None => BTreeMap::new(),
    };
    if relations.letters {
        unkept.insert(DEAD_LETTERS.to_owned(), crate::dead_letters::table(layout).await?);
    }
    for name in &system {
        unkept.insert(system::planned_name(name), system::table(layout, name).await?);
    }
    for (name, table) in &unkept {
        // A snapshot keeps those of the query before.
        context.deregister_table(TableReference::bare(name.as_str()))?;
        context.register_table(TableReference::bare(name.as_str()), Arc::clone(table))?;
    }
    let plan = if reads == Reads::Tables && named.iter().all(|reference| reference.schema().is_none()) {
        let mut tables = BTreeMap::new();
        for view in relations.views.into_iter().chain(unkept.into_keys()) {
            let provider = context.table_provider(TableReference::bare(view.as_str())).await?;
            tables.insert(view, provider_as_source(provider));
        }
        alluvium_sql::plan_query(&context.state(), statement, tables).map_err(wrong)?
    } else {
        context.state().statement_to_plan(statement).await.map_err(wrong)?
    };
    let read_only = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    if read_only.verify_plan(&plan).is_err() {
        return Err(only_reads());
    }
    check_parameters(&plan)?;
    Ok((PreparedQuery { context, plan, sql: sql.to_owned() }, plans))
}

/// The most parameters that a query may have: as many as a client can bind.
const PARAMETERS: usize = 65_535;

/// Refuses a parameter whose number is beyond what a client can bind: the parameters are listed up to the largest one.
fn check_parameters(plan: &LogicalPlan) -> Result<(), Error> {
    let names = plan.get_parameter_types()?.into_keys();
    let number = |name: &String| name.trim_start_matches('$').parse::<usize>();
    let mut wrong = names.filter(|name| !matches!(number(name), Ok(1..=PARAMETERS)));
    match wrong.next() {
        None => Ok(()),
        Some(name) => Err(Error::config(format!("there is no parameter {name}"), format!("parameters are $1 to ${PARAMETERS}"))),
    }
}

/// The relations that a statement names, by what they are.
struct Named {
    /// Committed views.
    views: BTreeSet<String>,
    /// What is declared and not committed, or unknown.
    others: BTreeSet<String>,
    /// Whether it names the events that were set aside.
    letters: bool,
}

impl Named {
    fn of(
        named: &[TableReference],
        reads: Reads,
        there: &BTreeSet<String>,
        context: &SessionContext,
        system: &BTreeSet<String>,
    ) -> Named {
        let mut relations = Named {
            views: if reads == Reads::Catalog { there.clone() } else { BTreeSet::new() },
            others: BTreeSet::new(),
            letters: reads == Reads::Catalog && !there.contains(DEAD_LETTERS),
        };
        let is_system = |name: &str| system.iter().any(|table| system::planned_name(table) == name);
        for reference in named {
            let name = reference.table();
            if reference.schema() == Some("information_schema") {
                relations.views.extend(there.iter().cloned());
            } else if there.contains(name) {
                relations.views.insert(name.to_owned());
            } else if name == DEAD_LETTERS && reference.schema().is_none() {
                relations.letters = true;
            } else if reference.schema().is_none() && !is_system(name) && !context.state().table_functions().contains_key(name) {
                relations.others.insert(name.to_owned());
            }
        }
        relations
    }
}

/// Plans relations that are not committed. Returns nothing if there are none.
fn planned(
    names: &BTreeSet<String>,
    committed: &BTreeSet<String>,
    layout: &Layout,
    declared: Option<&Declared<'_>>,
) -> Result<Option<Plans>, Error> {
    let Some(name) = names.first() else { return Ok(None) };
    let Some(declared) = declared else { return Err(missing(name, committed, layout)) };
    let (plans, unknown) = match Plans::new(declared, names) {
        Ok(planned) => planned,
        Err(Error::Other { message, .. }) if message.starts_with("no .sql file") => return Err(missing(name, committed, layout)),
        Err(error) => return Err(error),
    };
    let Some(name) = unknown.iter().chain(plans.views_read().difference(committed)).next().cloned() else {
        return Ok(Some(plans));
    };
    if plans.views().any(|view| view == name) {
        return Err(Error::config(format!("view {name} has no commit yet"), "`alluvium run` makes its first"));
    }
    let known: BTreeSet<String> = committed.iter().map(String::as_str).chain(plans.sources()).map(str::to_owned).collect();
    Err(missing(&name, &known, layout))
}

/// Gives an error its place in the query's text. An error of the disk or of the program has none.
fn in_the_text(error: DataFusionError, sql: &str) -> Error {
    use DataFusionError as D;
    match error.find_root() {
        D::SQL(..) | D::Plan(_) | D::SchemaError(..) | D::NotImplemented(_) | D::Execution(_) | D::ArrowError(..) => {
            Error::Sql(alluvium_sql::Errors(vec![alluvium_sql::query_error(&error, sql)]))
        }
        _ => error.into(),
    }
}

/// Makes a session that reads views. With `statistics`, a query reads the footers of all files that it names before it is planned.
fn session(statistics: bool) -> Result<SessionContext, Error> {
    let mut config = SessionConfig::new().with_information_schema(true).with_collect_statistics(statistics);
    config.options_mut().sql_parser.collect_spans = true;
    config.options_mut().execution.time_zone = Some("+00:00".to_owned());
    Ok(SessionContext::new_with_state(alluvium_sql::session::reading_session(config)?))
}

async fn register(context: &SessionContext, layout: &Layout, views: &BTreeSet<String>) -> Result<(), Error> {
    let (snapshots, files) = Snapshots::take(layout, views).await?;
    let files = Arc::new(files);
    context.register_object_store(&open_files::url(), Arc::clone(&files) as Arc<dyn datafusion::object_store::ObjectStore>);
    for manifest in snapshots.manifests() {
        let table = table(context, &manifest.view, files.urls_of(&manifest.view), None).await?;
        context.register_table(TableReference::bare(manifest.view.clone()), table)?;
    }
    Ok(())
}

/// Makes a table of exactly these open files of a view. Without a schema, it is that of the first file.
async fn table(
    context: &SessionContext,
    view: &str,
    urls: Vec<String>,
    schema: Option<&SchemaRef>,
) -> Result<Arc<dyn TableProvider>, Error> {
    let urls = urls.iter().map(ListingTableUrl::parse).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = urls.first() else {
        // Even a view without rows has a part.
        return Err(Error::corrupt(
            format!("the manifest of view {view} names no file"),
            format!("`alluvium rebuild {view}` rebuilds it"),
        ));
    };
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
    let schema = match schema {
        Some(schema) => Arc::clone(schema),
        None => options.infer_schema(&context.state(), first).await?,
    };
    let config = ListingTableConfig::new_with_multi_paths(urls).with_listing_options(options).with_schema(schema);
    Ok(Arc::new(ListingTable::try_new(config)?))
}

/// What a statement reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// The tables that it names.
    Tables,
    /// The list of all tables.
    Catalog,
    /// Nothing: it would change something.
    Changes,
}

fn reads(statement: &Statement) -> Reads {
    match statement {
        Statement::Explain(explain) => reads(&explain.statement),
        Statement::Statement(statement) => match statement.as_ref() {
            SqlStatement::Query(_) | SqlStatement::ExplainTable { .. } | SqlStatement::ShowColumns { .. } => Reads::Tables,
            SqlStatement::ShowTables { .. } => Reads::Catalog,
            _ => Reads::Changes,
        },
        _ => Reads::Changes,
    }
}

fn only_reads() -> Error {
    Error::config(
        "a query can only read",
        "write a SELECT; views change when their events do, and a new one is a CREATE MATERIALIZED VIEW in a .sql file",
    )
}

fn missing(name: &str, there: &BTreeSet<String>, layout: &Layout) -> Error {
    let help = match nearest(name, there.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near}?"),
        None if there.is_empty() => {
            "nothing has been committed there yet: start `alluvium run`, or name another folder with -C or --data".to_owned()
        }
        None => format!("there are: {}", listed(there)),
    };
    Error::config(format!("there is no committed view {name} in {}", layout.root().display()), help)
}
