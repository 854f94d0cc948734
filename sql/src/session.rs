//! Sets up DataFusion: one configuration and one set of functions for planning, running, querying and verifying, so that the same
//! SQL means the same everywhere. Runs nothing.

mod aggregates;
mod declared_zones;
mod distinct;
mod excluding;
mod filters;
pub(crate) mod functions;
mod json_operators;
mod lost_sorts;
mod nested_laterals;
mod operators;
mod optimization;
mod passing;
mod recursion;
mod shifts;
mod standard;
mod syntax;
mod unordered;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableFunctionArgs;
use datafusion::common::{DFSchema, DataFusionError, Result, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::datasource::provider_as_source;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateDefaults};
use datafusion::logical_expr::planner::{ExprPlanner, RelationPlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{AggregateUDF, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use datafusion::sql::planner::{ContextProvider, ParserOptions, SqlToRel};

use self::distinct::DistinctKeepsTypes;
pub(crate) use self::excluding::plain_name;
use self::filters::FiltersStayAboveOneRow;
pub(crate) use self::functions::intervals::interval_length;
use self::json_operators::JsonOperators;
use self::lost_sorts::LostSortsComeBack;
use self::nested_laterals::NestedLateralsFirst;
use self::operators::Operators;
pub use self::optimization::optimized;
pub use self::passing::{PassesOn, Passing};
use self::recursion::BoundRecursions;
pub use self::recursion::{RecursionBound, left_out_of_steps};
pub(crate) use self::recursion::{is_of_step, is_work_table};
pub(crate) use self::standard::SUMMED_DIGITS;
use self::unordered::PromiseNoOrder;
use crate::nesting::deep;
use crate::time_windows::TimeWindows;

/// Returns the configuration under which every plan of Alluvium is made and run.
#[must_use]
pub fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new().with_target_partitions(1).with_collect_statistics(false);
    let options = config.options_mut();
    options.sql_parser.collect_spans = true;
    // Views and batches are Utf8 throughout; a view type here would make each plan cast.
    options.sql_parser.map_string_types_to_utf8view = false;
    options.execution.time_zone = Some("+00:00".to_owned());
    // There is one partition. If the inputs of a UNION are split for sorts, they are not merged again below a window over a
    // constant.
    options.optimizer.repartition_sorts = false;
    // Filters found while a plan runs would outlive `reset_plan_states`.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    config
}

/// Returns a fresh session: [`session_config`], DataFusion's functions, the JSON functions with their operators, and the time
/// windows in FROM.
///
/// The optimizer numbers the names that it makes up from the start of the session. A plan that must come out the same each time
/// needs a session of its own.
///
/// # Errors
/// When a function cannot be registered: a bug.
pub fn session_state() -> Result<SessionState> {
    session_state_without(&[])
}

/// Returns [`session_state`] without some optimizer rules, by name.
pub(crate) fn session_state_without(rules: &[&str]) -> Result<SessionState> {
    with_functions(with_rules(session_config(), rules).build())
}

/// Returns a session that reads committed views under another configuration, with everything that views may use.
///
/// # Errors
/// When a function cannot be registered: a bug.
pub fn reading_session(config: SessionConfig) -> Result<SessionState> {
    with_functions(with_rules(config, &[]).build())
}

/// Rules that push struct members down to the scan. If a window reads two members of one struct, they give it the struct twice, and
/// the query fails.
const LEFT_OUT: [&str; 2] = ["extract_leaf_expressions", "push_down_leaf_projections"];

/// Returns a session builder with DataFusion's rules, without those in `left_out`. Ours replace the wrong ones.
fn with_rules(config: SessionConfig, left_out: &[&str]) -> SessionStateBuilder {
    let ours: [Arc<dyn OptimizerRule + Send + Sync>; 2] =
        [Arc::new(FiltersStayAboveOneRow::default()), Arc::new(DistinctKeepsTypes::default())];
    let wrong = |name: &str| LEFT_OUT.contains(&name) || left_out.contains(&name);
    let rules = Optimizer::new().rules.into_iter().filter(|rule| !wrong(rule.name()));
    let rules = rules.map(|rule| ours.iter().find(|ours| ours.name() == rule.name()).map_or(rule, Arc::clone));
    let mut rules: Vec<_> = rules.collect();
    let joined = rules.iter().position(|rule| rule.name() == "decorrelate_predicate_subquery").unwrap_or(0);
    rules.insert(joined, Arc::new(NestedLateralsFirst::default()));
    let mut physical = PhysicalOptimizer::new().rules;
    // The rule swaps columns when it answers a nested aggregate from statistics, and the query fails.
    physical.retain(|rule| rule.name() != "aggregate_statistics");
    physical.insert(0, Arc::new(PromiseNoOrder));
    let check = physical.iter().position(|rule| rule.name() == "SanityCheckPlan").unwrap_or(physical.len());
    physical.insert(check, Arc::new(LostSortsComeBack));
    physical.push(Arc::new(BoundRecursions));
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(JsonOperators), Arc::new(Operators)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_optimizer_rules(rules)
        .with_physical_optimizer_rules(physical)
        .with_expr_planners(planners)
}

fn with_functions(mut state: SessionState) -> Result<SessionState> {
    datafusion_functions_json::register_all(&mut state)?;
    declared_zones::register(&mut state)?;
    state.register_relation_planner(Arc::new(TimeWindows))?;
    for function in aggregates::functions() {
        state.register_udaf(Arc::new(function))?;
    }
    for function in shifts::functions() {
        state.register_udwf(function)?;
    }
    state.register_udf(functions::date_part::date_part())?;
    for (name, growth) in functions::limited::LIMITED {
        let function = state.udf(name)?;
        state.register_udf(Arc::new(functions::limited::limited(&function, growth)))?;
    }
    Ok(state)
}

/// Plans a query over tables by their plain names. DataFusion's own path from a statement to a plan does not find tables that are
/// named in time windows.
///
/// # Errors
/// What is wrong with the query.
pub fn plan_query(
    state: &SessionState,
    statement: Statement,
    tables: BTreeMap<String, Arc<dyn TableSource>>,
) -> Result<LogicalPlan> {
    deep(|| {
        let statement = syntax::read(statement, &tables)?;
        let names = Names { state, tables };
        standard::standard(SqlToRel::new_with_options(&names, names.parser_options()).statement_to_plan(statement)?)
    })
}

/// A table of which only the schema is known. To run a plan over it, first replace the source of its scans.
pub struct SchemaOnly {
    schema: SchemaRef,
}

impl SchemaOnly {
    /// Creates a table with this schema.
    #[must_use]
    pub fn new(schema: SchemaRef) -> SchemaOnly {
        SchemaOnly { schema }
    }
}

impl fmt::Debug for SchemaOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SchemaOnly")
    }
}

impl TableSource for SchemaOnly {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// Resolves names in a query: relations by their plain name, functions from a session.
pub(crate) struct Names<'a> {
    pub(crate) state: &'a SessionState,
    pub(crate) tables: BTreeMap<String, Arc<dyn TableSource>>,
}

impl Names<'_> {
    pub(crate) fn parser_options(&self) -> ParserOptions {
        let options = &self.state.config_options().sql_parser;
        ParserOptions {
            parse_float_as_decimal: options.parse_float_as_decimal,
            enable_ident_normalization: options.enable_ident_normalization,
            support_varchar_with_length: options.support_varchar_with_length,
            map_string_types_to_utf8view: options.map_string_types_to_utf8view,
            collect_spans: options.collect_spans,
            default_null_ordering: options.default_null_ordering.as_str().into(),
            ..ParserOptions::default()
        }
    }
}

impl ContextProvider for Names<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match &name {
            TableReference::Bare { table } => self.tables.get(table.as_ref()),
            _ => None,
        }
        .map(Arc::clone)
        .ok_or_else(|| DataFusionError::Plan(format!("table '{name}' not found")))
    }

    fn get_table_function_source(&self, name: &str, args: Vec<Expr>) -> Result<Arc<dyn TableSource>> {
        let function = self
            .state
            .table_functions()
            .get(name)
            .ok_or_else(|| DataFusionError::Plan(format!("table function '{name}' not found")))?;
        let context = SimplifyContext::builder().with_config_options(Arc::clone(self.state.config_options())).build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let args = args
            .into_iter()
            .map(|arg| simplifier.coerce(arg, &schema).and_then(|arg| simplifier.simplify(arg)))
            .collect::<Result<Vec<_>>>()?;
        let provider = function.create_table_provider_with_args(TableFunctionArgs::new(&args, self.state))?;
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(recursion::work_table(name, schema))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
