//! Refuses queries that are not a function of the events. Runs before the optimizer, which turns `now()` into a literal.

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Volatility};

use crate::names::nearest;
use crate::planner::{Refusal, Spot, intervals, recursions};
use crate::session::is_of_step;

/// Checks a plan as it was written, including its subqueries.
pub(crate) fn check(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut refusal = None;
    if is_of_step(plan) {
        refusal = refused(
            "a recursive query reads itself in a subquery of an expression",
            "join its own rows in FROM",
            Spot::Word("RECURSIVE"),
        );
        return refusal.map_or(Ok(()), Err);
    }
    plan.apply_with_subqueries(|plan| {
        refusal = match plan {
            LogicalPlan::RecursiveQuery(recursion) => recursions::refusal(recursion)?,
            _ => match node(plan) {
                Some(refusal) => Some(refusal),
                None => intervals::refusal(plan)?,
            },
        };
        if refusal.is_none() {
            plan.apply_expressions(|expression| {
                expression.apply(|expression| {
                    refusal = function(expression);
                    Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
                })
            })?;
        }
        Ok(if refusal.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    refusal.map_or(Ok(()), Err)
}

/// Checks an optimized plan: each column that an operator reads is one of its inputs. DataFusion 55.2 leaves others where a subquery reads
/// a relation of a query around the one that it stands in.
pub(crate) fn check_columns(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut lost: Option<Column> = None;
    plan.apply_with_subqueries(|plan| {
        if matches!(plan, LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::Join(_) | LogicalPlan::Aggregate(_))
        {
            let known = merge_schema(&plan.inputs());
            plan.apply_expressions(|expression| {
                expression.apply(|expression| {
                    if let Expr::Column(column) = expression
                        && !known.has_column(column)
                    {
                        lost = Some(column.clone());
                    }
                    Ok(if lost.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
                })
            })?;
        }
        Ok(if lost.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    lost.map_or(Ok(()), |column| {
        Err(Refusal::Refused {
            message: format!("a subquery reads {column} across the query that it stands in"),
            help: format!("join the relation of {column} into the query between, and compare its key there"),
            spot: Spot::Column(column.to_string()),
        })
    })
}

fn refused(message: impl Into<String>, help: &str, spot: Spot) -> Option<Refusal> {
    Some(Refusal::Refused { message: message.into(), help: help.to_owned(), spot })
}

fn node(plan: &LogicalPlan) -> Option<Refusal> {
    match plan {
        LogicalPlan::Limit(limit) if !is_ordered(&limit.input) => refused(
            "LIMIT without ORDER BY does not say which rows",
            "add ORDER BY directly before LIMIT",
            Spot::Word(if limit.fetch.is_some() { "LIMIT" } else { "OFFSET" }),
        ),
        LogicalPlan::Filter(filter) if has_window_function(&filter.predicate) => refused(
            "WHERE is asked of each row, before window functions are computed",
            "compute it in a subquery, and filter around it: SELECT ... FROM (SELECT ..., row_number() OVER (...) AS n FROM ...) WHERE n = 1",
            Spot::Word("WHERE"),
        ),
        LogicalPlan::Distinct(Distinct::On(on)) if on.sort_expr.is_none() => refused(
            "DISTINCT ON without ORDER BY does not say which row of each group",
            "add ORDER BY with the columns of DISTINCT ON first, then those that decide",
            Spot::Word("DISTINCT"),
        ),
        LogicalPlan::Ddl(_) => {
            refused("a view is a query: it cannot write", "leave out INTO: the view holds the rows", Spot::Word("INTO"))
        }
        LogicalPlan::Dml(_) | LogicalPlan::Copy(_) | LogicalPlan::Statement(_) => {
            refused("a view is a query: it cannot write", "write CREATE MATERIALIZED VIEW name AS SELECT ...", Spot::Whole)
        }
        LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_) => {
            refused("a view is a query", "to see its plan, run `alluvium explain VIEW`", Spot::Whole)
        }
        _ => None,
    }
}

/// The units that `date_trunc` takes.
const UNITS: [&str; 10] = ["microsecond", "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year"];

/// Returns a literal that is not a unit of time.
fn unknown_unit(argument: Option<&Expr>) -> Option<&str> {
    match argument? {
        Expr::Literal(value, _) => value.try_as_str().flatten().filter(|unit| !UNITS.contains(&unit.to_lowercase().as_str())),
        _ => None,
    }
}

fn has_window_function(predicate: &Expr) -> bool {
    predicate.exists(|expression| Ok(matches!(expression, Expr::WindowFunction(_)))).unwrap_or(false)
}

/// Checks whether the query asked for an order of these rows.
fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(projection) => is_ordered(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_ordered(&alias.input),
        LogicalPlan::Limit(limit) => is_ordered(&limit.input),
        LogicalPlan::Distinct(Distinct::On(on)) => on.sort_expr.is_some(),
        _ => false,
    }
}

fn function(expression: &Expr) -> Option<Refusal> {
    let (name, volatility) = match expression {
        // Every row would fail.
        Expr::ScalarFunction(call) if call.func.name() == "date_trunc" && unknown_unit(call.args.first()).is_some() => {
            let unit = unknown_unit(call.args.first())?;
            let help = nearest(unit, UNITS)
                .map_or_else(|| format!("units are {}", UNITS.join(", ")), |near| format!("did you mean {near}?"));
            return refused(format!("'{unit}' is no unit of time"), &help, Spot::Literal(unit.to_owned()));
        }
        Expr::ScalarFunction(call) => (call.func.name(), call.func.signature().volatility),
        Expr::AggregateFunction(call) => (call.func.name(), call.func.signature().volatility),
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => (function.name(), function.signature().volatility),
            WindowFunctionDefinition::WindowUDF(function) => (function.name(), function.signature().volatility),
        },
        Expr::Placeholder(placeholder) => {
            return refused(
                format!("a view has no parameters, and {} is one", placeholder.id),
                "write the value itself",
                Spot::Whole,
            );
        }
        _ => return None,
    };
    if volatility == Volatility::Immutable {
        return None;
    }
    let help = match name {
        "now" | "current_timestamp" | "current_date" | "current_time" | "today" => {
            "use a time of the events: a column of the body, or _timestamp, which is when the message was stored; for recent rows, write \
             WHERE placed_at > watermark() - INTERVAL '1 day'"
        }
        "random" | "uuid" => "use what tells the events apart: an id of the body, or _sequence",
        _ => "use only what the events hold",
    };
    refused(format!("{name}() is not a function of the events: it would differ at each run"), help, Spot::Call(name.to_owned()))
}
