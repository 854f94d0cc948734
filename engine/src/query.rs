//! SQL over the committed views, on one consistent snapshot, with or without a running engine; and over the sources and plain views that SQL
//! files declare, bounded.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`snapshot`] | chooses the commit of each view: views that are committed together are read at one epoch |
//! | [`open_files`] | their Parquet files, opened before the query begins, so that files removed meanwhile can still be read |
//! | [`declared`] | sources and plain views, which no commit holds |
//! | `events` | the events of a source as a table |
//!
//! Nothing here locks or writes. A query that names committed views only needs the data folder: no SQL file is read.

pub mod declared;
mod events;
pub mod open_files;
pub mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use alluvium_sql::{listed, nearest};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, TableReference};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;

use crate::error::Error;
use crate::layout::Layout;
use declared::{Declared, Plans};
use open_files::OpenFiles;
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
        Ok(self.frame.execute_stream().await?)
    }
}

/// Plans a SELECT (or EXPLAIN, SHOW TABLES, DESCRIBE) over the views, and with `declared` over what is declared and not committed.
///
/// # Errors
/// The statement is wrong or changes something, a view does not exist, or files or sources cannot be read.
pub async fn query(layout: &Layout, sql: &str, declared: Option<&Declared<'_>>) -> Result<Answer, Error> {
    let context = session()?;
    let wrong = |error: DataFusionError| in_the_text(error, sql);
    let statement = alluvium_sql::dialect::parse(sql).map_err(wrong)?;
    let reads = reads(&statement);
    if reads == Reads::Changes {
        return Err(only_reads());
    }
    let named = alluvium_sql::relations_named(&statement).map_err(wrong)?;
    let there = snapshot::views(layout)?;
    let mut wanted = BTreeSet::new();
    let mut others = BTreeSet::new();
    let mut letters = reads == Reads::Catalog && !there.contains(DEAD_LETTERS);
    for reference in &named {
        let name = reference.table();
        if reference.schema() == Some("information_schema") {
            wanted.extend(there.iter().cloned());
        } else if there.contains(name) {
            wanted.insert(name.to_owned());
        } else if name == DEAD_LETTERS && reference.schema().is_none() {
            letters = true;
        } else if reference.schema().is_none() && !context.state().table_functions().contains_key(name) {
            others.insert(name.to_owned());
        }
    }
    let plans = planned(&others, &there, layout, declared)?;
    wanted.extend(plans.iter().flat_map(Plans::views_read));
    if reads == Reads::Catalog {
        wanted.extend(there.iter().cloned());
    }
    register(&context, layout, &wanted).await?;
    if letters {
        context.register_table(DEAD_LETTERS, crate::dead_letters::table(layout).await?)?;
    }
    let unkept = match &plans {
        Some(plans) => plans.tables(&context).await?,
        None => BTreeMap::new(),
    };
    for (name, table) in &unkept {
        context.register_table(TableReference::bare(name.as_str()), Arc::clone(table))?;
    }
    let plan = if reads == Reads::Tables && named.iter().all(|reference| reference.schema().is_none()) {
        let mut tables = BTreeMap::new();
        for view in wanted.into_iter().chain(unkept.into_keys()).chain(letters.then(|| DEAD_LETTERS.to_owned())) {
            let provider = context.table_provider(view.as_str()).await?;
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
    // The optimizer checks types and computes constants. Run it here, so that its errors get a place in the text, too.
    let optimized = context.state().optimize(&plan).map_err(wrong)?;
    let notes = match &plans {
        Some(plans) => plans.fill(&optimized).await?,
        None => Vec::new(),
    };
    Ok(Answer { frame: DataFrame::new(context.state(), plan), notes })
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

fn session() -> Result<SessionContext, Error> {
    let mut config = SessionConfig::new().with_information_schema(true);
    config.options_mut().sql_parser.collect_spans = true;
    config.options_mut().execution.time_zone = Some("+00:00".to_owned());
    Ok(SessionContext::new_with_state(alluvium_sql::session::reading_session(config)?))
}

async fn register(context: &SessionContext, layout: &Layout, views: &BTreeSet<String>) -> Result<(), Error> {
    let (snapshots, files) = Snapshots::take(layout, views).await?;
    let files = Arc::new(files);
    context.register_object_store(&open_files::url(), Arc::clone(&files) as Arc<dyn datafusion::object_store::ObjectStore>);
    for manifest in snapshots.manifests() {
        let table = table(context, &files, &manifest.view).await?;
        context.register_table(TableReference::bare(manifest.view.clone()), table)?;
    }
    Ok(())
}

/// Makes a table of exactly the open files of a view.
async fn table(context: &SessionContext, files: &OpenFiles, view: &str) -> Result<Arc<dyn TableProvider>, Error> {
    let urls = files.urls_of(view).iter().map(ListingTableUrl::parse).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = urls.first() else {
        // Even a view without rows has a part.
        return Err(Error::corrupt(
            format!("the manifest of view {view} names no file"),
            format!("`alluvium rebuild {view}` rebuilds it"),
        ));
    };
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
    let schema = options.infer_schema(&context.state(), first).await?;
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
