//! From one view's query to its incremental plan.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`refusals`] | what is not a function of the events |
//! | [`ordering`] | orders that decide: ties broken, orders without meaning dropped |
//! | [`peers`] | window functions that would pick one of several rows that tie |
//! | [`scalars`] | subqueries of one value as joins |
//! | [`grouping_sets`] | GROUPING SETS, ROLLUP and CUBE taken apart |
//! | [`regions`] | the optimized plan cut into nodes, each with the cheapest operator that is right |
//! | [`aggregates`] | which aggregates merge |
//! | [`split`] | by which keys an operator's answer splits |
//! | [`keys`] | which columns identify a row |
//! | [`watermarks`] | windows that are shown when they are over, and go when they are old |
//! | [`expiry`] | which rows can be evicted once they have gone |
//! | [`fingerprint`] | when a view has to be rebuilt |
//!
//! Trusts that names were resolved: every relation that the query reads is given.

pub(crate) mod aggregates;
mod expiry;
mod fingerprint;
mod grouping_sets;
mod keys;
mod ordering;
mod peers;
mod refusals;
mod regions;
mod scalars;
mod split;
mod watermarks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};

use crate::catalog::{Emit, Source, ViewOptions, Watermark};
use crate::plan::{Class, Node, Op, RelationKind, ViewPlan, is_schema_only};
use crate::session::{SchemaOnly, plan_query, session_state, session_state_without};

/// What can be read: a source, or a view that is planned already.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) kind: RelationKind,
    pub(crate) schema: SchemaRef,
    pub(crate) retracts: bool,
    pub(crate) key: Option<Vec<usize>>,
    /// Whether its rows come in the order of the events of one source.
    pub(crate) by_arrival: bool,
    /// Of a source: its watermark.
    pub(crate) watermark: Option<Watermark>,
    /// The sources with a watermark from which its rows come.
    pub(crate) timed: BTreeSet<String>,
    /// Changes when the relation's rows may be others.
    pub(crate) fingerprint: String,
}

impl Relation {
    pub(crate) fn of_source(source: &Source) -> Relation {
        Relation {
            kind: RelationKind::Source,
            schema: Arc::clone(&source.schema),
            retracts: false,
            key: None,
            by_arrival: true,
            watermark: source.watermark,
            timed: source.watermark.iter().map(|_| source.name.clone()).collect(),
            fingerprint: fingerprint::of_source(source),
        }
    }

    /// Of a view that reads `relations`.
    pub(crate) fn of_view(plan: &ViewPlan, timed: BTreeSet<String>, relations: &BTreeMap<String, Relation>) -> Relation {
        Relation {
            kind: RelationKind::View,
            schema: Arc::clone(&plan.schema),
            retracts: plan.root.retracts,
            key: plan.root.key.clone(),
            by_arrival: by_arrival(&plan.root, relations),
            watermark: None,
            timed,
            fingerprint: plan.fingerprint.clone(),
        }
    }
}

/// Whether a view gives rows in the order of the events of one source: those of a relation that does, some of them and otherwise written.
fn by_arrival(node: &Node, relations: &BTreeMap<String, Relation>) -> bool {
    match (&node.op, node.inputs.as_slice()) {
        (Op::Scan { relation, .. }, _) => relations.get(relation).is_some_and(|relation| relation.by_arrival),
        (Op::Linear { .. }, [input]) => by_arrival(input, relations),
        _ => false,
    }
}

/// Why a query has no plan.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// DataFusion says so.
    DataFusion(Box<DataFusionError>),
    /// It is not a function of the events, or cannot be kept.
    Refused { message: String, help: String, spot: Spot },
}

/// Where in a statement something stands.
#[derive(Debug, Clone)]
pub(crate) enum Spot {
    Call(String),
    Word(&'static str),
    /// A text in single quotes.
    Literal(String),
    Whole,
}

impl From<DataFusionError> for Refusal {
    fn from(error: DataFusionError) -> Refusal {
        Refusal::DataFusion(Box::new(error))
    }
}

/// Plans a query over relations, by name. Where the view waits for a watermark, the sources that have one are among them.
pub(crate) fn plan_view(
    query: &Query,
    relations: &BTreeMap<String, Relation>,
    options: &ViewOptions,
) -> Result<ViewPlan, Refusal> {
    let plan = plan_query_of_view(query, relations)?;
    if options.emit == Emit::Changes && options.retain.is_none() {
        return Ok(plan);
    }
    watermarks::bounded(plan, relations, options)
}

fn plan_query_of_view(query: &Query, relations: &BTreeMap<String, Relation>) -> Result<ViewPlan, Refusal> {
    let written = logical_plan(query, relations)?;
    refusals::check(&written)?;
    peers::check(&written, relations)?;
    let written = ordering::settle(written, relations)?;
    refuse_twin_columns(&written)?;

    // Splitting count(DISTINCT x) in two aggregates, and grouping sets in one for each, is cheaper where all of them merge, and
    // dearer where their input retracts.
    let mut best: Option<ViewPlan> = None;
    for rules_left_out in [&[] as &[&str], &["single_distinct_aggregation_to_group_by"]] {
        let whole = optimized(&session_state_without(rules_left_out)?, &written)?;
        for batch in [grouping_sets::taken_apart(whole.clone())?, whole] {
            let plan = plan_with(batch, relations)?;
            if cost(&plan.root).0 < Class::KeyedRecompute {
                return Ok(plan);
            }
            if best.as_ref().is_none_or(|best| cost(&plan.root) < cost(&best.root)) {
                best = Some(plan);
            }
        }
    }
    best.ok_or_else(|| DataFusionError::Internal("no way to plan a view was tried".to_owned()).into())
}

/// Checks a query over the parameters of a function, as the relation `$parameters`: that it is an expression of each row.
pub(crate) fn check_function(query: &Query, parameters: &SchemaRef) -> Result<(), Refusal> {
    let relation = Relation {
        kind: RelationKind::Source,
        schema: Arc::clone(parameters),
        retracts: false,
        key: None,
        by_arrival: true,
        watermark: None,
        timed: BTreeSet::new(),
        fingerprint: String::new(),
    };
    let written = logical_plan(query, &BTreeMap::from([("$parameters".to_owned(), relation)]))?;
    refusals::check(&written)?;
    if !matches!(&written, LogicalPlan::Projection(projection) if projection.input.inputs().is_empty()) {
        return Err(Refusal::Refused {
            message: "a function computes one value from those of one row".to_owned(),
            help: "aggregate, unnest or use window functions in the view, and give the function the values".to_owned(),
            spot: Spot::Word("RETURN"),
        });
    }
    optimized(&session_state()?, &written)?;
    Ok(())
}

fn logical_plan(query: &Query, relations: &BTreeMap<String, Relation>) -> Result<LogicalPlan, DataFusionError> {
    let tables = relations
        .iter()
        .map(|(name, relation)| (name.clone(), Arc::new(SchemaOnly::new(Arc::clone(&relation.schema))) as Arc<dyn TableSource>));
    let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(query.clone()))));
    plan_query(&session_state()?, statement, tables.collect())
}

/// The optimizer makes sorts of its own (of DISTINCT ON), which mean as little as those of a user.
fn optimized(state: &SessionState, written: &LogicalPlan) -> Result<LogicalPlan, DataFusionError> {
    ordering::drop_sorts(state.optimize(written)?)
}

fn plan_with(batch: LogicalPlan, relations: &BTreeMap<String, Relation>) -> Result<ViewPlan, Refusal> {
    let reads = relations_read(&batch, relations)?;
    let root = regions::cut(scalars::joined(batch.clone())?, relations)?;
    Ok(ViewPlan {
        schema: Arc::clone(&root.schema),
        fingerprint: fingerprint::of_view(&batch, &reads, relations),
        batch,
        root,
        reads,
    })
}

/// The relations that a plan scans, those in subqueries too, by name.
fn relations_read(
    plan: &LogicalPlan,
    relations: &BTreeMap<String, Relation>,
) -> Result<Vec<(RelationKind, String)>, DataFusionError> {
    let mut read = BTreeSet::new();
    plan.apply_with_subqueries(|plan| {
        if let LogicalPlan::TableScan(scan) = plan
            && is_schema_only(&scan.source)
        {
            read.insert(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(read.into_iter().filter_map(|name| relations.get(&name).map(|relation| (relation.kind, name))).collect())
}

/// The class of the most expensive operator of a tree, and how many operators have it.
fn cost(node: &Node) -> (Class, usize) {
    let own = if node.is_constant() { Class::Linear } else { node.class() };
    node.inputs.iter().map(cost).fold((own, 1), |(class, count), (other, more)| match class.cmp(&other) {
        std::cmp::Ordering::Less => (other, more),
        std::cmp::Ordering::Equal => (class, count + more),
        std::cmp::Ordering::Greater => (class, count),
    })
}

fn refuse_twin_columns(plan: &LogicalPlan) -> Result<(), Refusal> {
    let fields = plan.schema().fields();
    for (index, field) in fields.iter().enumerate() {
        if fields[..index].iter().any(|other| other.name().eq_ignore_ascii_case(field.name())) {
            return Err(Refusal::Refused {
                message: format!("two columns of the view are named {}", field.name()),
                help: "give one of them another name with AS".to_owned(),
                spot: Spot::Word("SELECT"),
            });
        }
    }
    Ok(())
}
