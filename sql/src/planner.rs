//! Turns one view's query into its incremental plan.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`relation`] | what a query can read |
//! | [`refusal`] | why a query has no plan |
//! | [`refusals`] | refuses what is not a function of the events |
//! | [`intervals`] | stores INTERVALs as lengths |
//! | [`recursions`] | refuses recursions that do not only add rows |
//! | [`optimize`] | the optimized plan of a query, and the relations that it reads |
//! | [`ordering`] | breaks ties in orders, and drops orders without effect |
//! | [`peers`] | refuses window functions that would pick one of several tied rows |
//! | [`source_table`] | the rows that a source stands for, where these are not its events |
//! | [`watermark_tables`] | `watermark()` as a subquery |
//! | [`scalars`] | rewrites scalar subqueries as joins |
//! | [`grouping_sets`] | splits GROUPING SETS, ROLLUP and CUBE into plain aggregates |
//! | [`regions`] | cuts the optimized plan into nodes, each with the cheapest operator that is right |
//! | [`aggregates`] | which aggregates merge |
//! | [`failing`] | which expressions can fail on a row |
//! | [`split`] | by which keys an operator's answer splits |
//! | [`subqueries`] | finds operators that hold subqueries |
//! | [`equality`] | types whose equal values can be found by their encoding |
//! | [`keys`] | which columns identify a row |
//! | [`watermarks`] | emits windows once they have ended, and evicts them once they are old |
//! | [`expiry`] | which rows of the state can be evicted |
//! | [`fingerprint`] | when a view has to be rebuilt |
//!
//! Trusts that names are resolved: the caller passes every relation that the query reads.

pub(crate) mod aggregates;
mod equality;
mod expiry;
mod failing;
mod fingerprint;
mod grouping_sets;
mod intervals;
mod keys;
mod operators;
mod optimize;
mod ordering;
mod peers;
mod recursions;
mod refusal;
mod refusals;
mod regions;
mod relation;
mod scalars;
mod source_table;
mod split;
mod subqueries;
pub(crate) mod watermark_tables;
mod watermarks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::{LogicalPlan, TableSource};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Query, Statement as SqlStatement};

pub(crate) use self::operators::Operators;
use self::optimize::{fingerprint_over, optimized, relations_read};
pub(crate) use self::refusal::{Refusal, Spot};
pub(crate) use self::relation::Relation;
use crate::declarations::{Emit, ViewOptions};
use crate::plan::{Class, ColumnsRead, Node, Op, RelationKind, ViewPlan};
use crate::session::{SchemaOnly, plan_query, session_state, session_state_without};

/// Plans a query over relations, by name. If the view waits for a watermark, they include the sources that have one.
pub(crate) fn plan_view(
    query: &Query,
    relations: &BTreeMap<String, Relation>,
    options: &ViewOptions,
    operators: Operators,
) -> Result<ViewPlan, Refusal> {
    let mut plan = plan_query_of_view(query, relations, operators)?;
    read_what_is_asked_for_null(&mut plan, query, relations)?;
    if options.emit == Emit::Final || options.retain.is_some() {
        plan = watermarks::bounded(plan, relations, options)?;
    }
    // A view with the same query had other operators before there were these filters.
    if holds(&plan.root, &|op| matches!(op, Op::Watermark { by_query: true, .. })) {
        plan.fingerprint.push_str("-temporal");
    }
    // It was recomputed, and had other state.
    if holds(&plan.root, &|op| matches!(op, Op::Recursion { .. })) {
        plan.fingerprint.push_str("-recursion");
    }
    if holds(&plan.root, &|op| matches!(op, Op::Outer { .. })) {
        plan.fingerprint.push_str(operators::OUTER);
    }
    if holds(&plan.root, &|op| matches!(op, Op::Running { .. })) {
        plan.fingerprint.push_str(operators::RUNNING);
    }
    Ok(plan)
}

fn holds(node: &Node, is_wanted: &dyn Fn(&Op) -> bool) -> bool {
    is_wanted(&node.op) || node.inputs.iter().any(|input| holds(input, is_wanted))
}

fn plan_query_of_view(query: &Query, relations: &BTreeMap<String, Relation>, operators: Operators) -> Result<ViewPlan, Refusal> {
    let written = logical_plan(query, relations)?;
    refusals::check(&written)?;
    peers::check(&written, relations)?;
    let written = ordering::settle(written, relations)?;
    refuse_twin_columns(&written)?;
    let written = intervals::as_lengths(written)?;

    // Splitting count(DISTINCT x) into two aggregates, and grouping sets into one aggregate each, is cheaper if all of them merge,
    // and more expensive if their input retracts.
    let mut best: Option<ViewPlan> = None;
    for rules_left_out in [&[] as &[&str], &["single_distinct_aggregation_to_group_by"]] {
        let whole = optimized(&session_state_without(rules_left_out)?, &written)?;
        refusals::check_columns(&whole)?;
        for batch in [grouping_sets::taken_apart(whole.clone())?, whole] {
            let plan = plan_with(batch, relations, operators)?;
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

/// Adds the NOT NULL columns that a query tests for NULL, directly or not, to the columns read. The optimizer knows the answer and
/// does not scan them, but an event without such a value contributes no row to the view.
fn read_what_is_asked_for_null(
    plan: &mut ViewPlan,
    query: &Query,
    relations: &BTreeMap<String, Relation>,
) -> Result<(), Refusal> {
    let is_unread = |(kind, name): &(RelationKind, String)| {
        let fields = relations.get(name).filter(|_| *kind == RelationKind::Source).map(|relation| relation.schema.fields());
        let unread = |(column, field): (usize, &FieldRef)| !field.is_nullable() && !plan.columns_read.contains(name, column);
        fields.is_some_and(|fields| fields.iter().enumerate().any(unread))
    };
    if !plan.reads.iter().any(is_unread) {
        return Ok(());
    }
    let nullable: BTreeMap<String, Relation> =
        relations.iter().map(|(name, relation)| (name.clone(), relation.clone().with_nullable_columns())).collect();
    let written = ordering::settle(logical_plan(query, &nullable)?, &nullable)?;
    plan.columns_read.add_plan(&optimized(&session_state()?, &written)?)?;
    plan.fingerprint = fingerprint_over(&plan.batch, &plan.reads, &plan.columns_read, relations);
    Ok(())
}

/// Checks that the query of a function computes one expression of each row. It reads the parameters as the relation `$parameters`.
pub(crate) fn check_function(query: &Query, parameters: &SchemaRef) -> Result<(), Refusal> {
    let relation = Relation {
        kind: RelationKind::Source,
        schema: Arc::clone(parameters),
        changes: None,
        once: None,
        batches: false,
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
    let state = session_state()?;
    let tables = relations.iter().map(|(name, relation)| {
        let events: Arc<dyn TableSource> = Arc::new(SchemaOnly::new(Arc::clone(&relation.schema)));
        Ok((name.clone(), source_table::over(&state, name, relation, events)?))
    });
    let mut tables = tables.collect::<Result<BTreeMap<_, _>>>()?;
    let mut query = query.clone();
    for source in watermark_tables::as_subqueries(&mut query)? {
        let relation = relations.get(&source).ok_or_else(|| {
            DataFusionError::Plan(format!("watermark('{source}') stands in the query of a view, and not in a function"))
        })?;
        tables.insert(watermark_tables::table_name(&source), watermark_tables::table(&source, relation)?);
    }
    let statement = Statement::Statement(Box::new(SqlStatement::Query(Box::new(query))));
    plan_query(&state, statement, tables)
}

fn plan_with(batch: LogicalPlan, relations: &BTreeMap<String, Relation>, operators: Operators) -> Result<ViewPlan, Refusal> {
    let reads = relations_read(&batch, relations)?;
    let root = regions::cut(batch.clone(), relations, operators)?;
    let columns_read = ColumnsRead::of_node(&root);
    Ok(ViewPlan {
        schema: Arc::clone(&root.schema),
        fingerprint: fingerprint_over(&batch, &reads, &columns_read, relations),
        columns_read,
        batch,
        root,
        reads,
    })
}

/// Returns the class of the most expensive operator of a tree, and how many operators have it.
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
                spot: Spot::Output(field.name().clone()),
            });
        }
    }
    Ok(())
}
