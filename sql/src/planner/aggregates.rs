//! Which aggregates merge: the state of old input and the state of new input can be combined into the state of both, however the
//! input was cut.

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable};

use crate::plan::Reason;
use crate::planner::equality::is_exact;
use crate::session::SUMMED_DIGITS;

/// Aggregates of DataFusion whose states merge exactly (floats up to rounding), with DISTINCT, FILTER and ORDER BY as far as they
/// allow them. Source: `merge_batch` of each in datafusion-functions-aggregate 55.2:
/// - `approx_distinct` merges registers, which depend only on the set of values;
/// - `array_agg` and `string_agg` append in order of arrival, or merge ordered lists;
/// - `median` and `percentile_cont` keep all values.
///
/// Not listed: `approx_percentile_cont`, `approx_percentile_cont_with_weight` and `approx_median` (a t-digest depends on how its
/// input was cut), `nth_value` (counting from the end, it stops merging at the first full state), `grouping` (needs grouping sets).
const MERGING: [&str; 36] = [
    "any_value",
    "approx_distinct",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bit_xor",
    "bool_and",
    "bool_or",
    "corr",
    "count",
    "covar_pop",
    "covar_samp",
    "first_value",
    "last_value",
    "max",
    "median",
    "min",
    "percentile_cont",
    "regr_avgx",
    "regr_avgy",
    "regr_count",
    "regr_intercept",
    "regr_r2",
    "regr_slope",
    "regr_sxx",
    "regr_sxy",
    "regr_syy",
    "stddev",
    "stddev_pop",
    "string_agg",
    "sum",
    "var",
    "var_pop",
    "var_samp",
    "stddev_samp",
];

/// Aggregates that depend on the order of arrival if they have no ORDER BY.
const BY_ARRIVAL: [&str; 6] = ["any_value", "array_agg", "first_value", "last_value", "nth_value", "string_agg"];

/// Aggregates whose state holds every value.
const KEEPS_VALUES: [&str; 4] = ["array_agg", "median", "percentile_cont", "string_agg"];

/// Returns the aggregate call under its aliases.
pub(crate) fn call(expression: &Expr) -> Option<&AggregateFunction> {
    match expression {
        Expr::AggregateFunction(call) => Some(call),
        Expr::Alias(alias) => call(&alias.expr),
        _ => None,
    }
}

/// Returns why an aggregate cannot be merged, whatever its input. `None` if it can.
pub(crate) fn obstacle(aggregate: &Aggregate) -> Option<Reason> {
    if aggregate.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_))) {
        return Some(Reason::GroupingSets);
    }
    let schema = aggregate.input.schema();
    aggregate.aggr_expr.iter().find_map(|expression| match call(expression) {
        // A struct that holds a NULL is neither less nor greater than another, so the result depends on which came first.
        Some(call)
            if matches!(call.func.name(), "min" | "max")
                && call
                    .params
                    .args
                    .iter()
                    .any(|argument| argument.get_type(schema.as_ref()).is_ok_and(|data_type| data_type.is_nested())) =>
        {
            Some(Reason::NestedExtreme(call.func.name().to_owned()))
        }
        Some(call) if MERGING.contains(&call.func.name()) => None,
        Some(call) if call.func.name().starts_with("approx_") => Some(Reason::DependsOnCuts(call.func.name().to_owned())),
        Some(call) => Some(Reason::DoesNotMerge(call.func.name().to_owned())),
        None => Some(Reason::OtherAggregate(expression.to_string())),
    })
}

/// Checks whether rows can be taken out of an aggregate again exactly: it has only counts, sums and averages of whole numbers and
/// decimals, or no function at all. Groups by floats are excluded: 0.0 and -0.0 are one group, and which of them shows depends on
/// what came first.
pub(crate) fn takes_out(aggregate: &Aggregate) -> bool {
    let schema = aggregate.input.schema();
    let of_type = |expression: &Expr| expression.get_type(schema.as_ref()).unwrap_or(DataType::Null);
    aggregate.group_expr.iter().all(|group| !matches!(group, Expr::GroupingSet(_)) && is_exact(&of_type(group)))
        && aggregate.aggr_expr.iter().all(|expression| match call(expression) {
            Some(call) if !call.params.distinct && call.params.order_by.is_empty() => match call.func.name() {
                "count" => true,
                "sum" | "avg" => call.params.args.first().is_some_and(|argument| match of_type(argument) {
                    DataType::Int64 | DataType::UInt64 | DataType::Decimal128(..) | DataType::Decimal256(SUMMED_DIGITS, _) => {
                        true
                    }
                    // A whole number cast to a float: its sum is kept as a whole number.
                    DataType::Float64 => whole_number(argument).is_some_and(|inner| of_type(inner).is_integer()),
                    _ => false,
                }),
                _ => false,
            },
            _ => false,
        })
}

/// Returns what an expression is cast from.
fn whole_number(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Cast(cast) => Some(&cast.expr),
        Expr::Alias(alias) => whole_number(&alias.expr),
        _ => None,
    }
}

/// Returns the names of an aggregate's functions, each once. Empty for DISTINCT.
pub(crate) fn functions(aggregate: &Aggregate) -> Vec<String> {
    calls_where(aggregate, |_| true).into_iter().map(str::to_owned).collect()
}

/// Returns the functions without ORDER BY whose answer depends on the order of arrival.
pub(crate) fn by_arrival(aggregate: &Aggregate) -> Vec<&str> {
    calls_where(aggregate, |call| call.params.order_by.is_empty() && BY_ARRIVAL.contains(&call.func.name()))
}

/// Returns the functions whose state grows with the rows of a group.
pub(crate) fn unbounded(aggregate: &Aggregate) -> Vec<&str> {
    calls_where(aggregate, |call| call.params.distinct || KEEPS_VALUES.contains(&call.func.name()))
}

/// Returns the functions that add up floating-point numbers.
pub(crate) fn float_sums(aggregate: &Aggregate) -> Vec<&str> {
    let schema = aggregate.input.schema();
    calls_where(aggregate, |call| {
        matches!(call.func.name(), "sum" | "avg")
            && call.params.args.first().is_some_and(|argument| {
                matches!(argument.get_type(schema.as_ref()), Ok(DataType::Float16 | DataType::Float32 | DataType::Float64))
            })
    })
}

fn calls_where(aggregate: &Aggregate, wanted: impl Fn(&AggregateFunction) -> bool) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for call in aggregate.aggr_expr.iter().filter_map(call).filter(|call| wanted(call)) {
        if !names.contains(&call.func.name()) {
            names.push(call.func.name());
        }
    }
    names
}
