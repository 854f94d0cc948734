//! Which aggregates merge: the state of all input so far and the state of what is new give the state of both, however the
//! input was cut.

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr};

/// Aggregates of DataFusion whose states merge exactly (floats but for rounding), with DISTINCT, FILTER and ORDER BY as they allow
/// them. Read in datafusion-functions-aggregate 55.2, `merge_batch` of each:
/// - `approx_distinct` merges registers, which depend on the set of values only;
/// - `array_agg` and `string_agg` append in order of arrival, or merge ordered lists;
/// - `median` and `percentile_cont` keep all values.
///
/// Not here: `approx_percentile_cont`, `approx_percentile_cont_with_weight`, `approx_median` (a t-digest depends on how its input was
/// cut), `nth_value` (counted from the end, it stops merging at the first full state), `grouping` (of grouping sets).
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

/// Aggregates whose answer without ORDER BY is in order of arrival.
const BY_ARRIVAL: [&str; 6] = ["any_value", "array_agg", "first_value", "last_value", "nth_value", "string_agg"];

/// Aggregates whose state holds every value.
const KEEPS_VALUES: [&str; 4] = ["array_agg", "median", "percentile_cont", "string_agg"];

/// The call under its aliases.
pub(crate) fn call(expression: &Expr) -> Option<&AggregateFunction> {
    match expression {
        Expr::AggregateFunction(call) => Some(call),
        Expr::Alias(alias) => call(&alias.expr),
        _ => None,
    }
}

/// Why an aggregate cannot be merged, whatever its input; none: it can.
pub(crate) fn obstacle(aggregate: &Aggregate) -> Option<String> {
    if aggregate.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_))) {
        return Some("grouping sets".to_owned());
    }
    aggregate.aggr_expr.iter().find_map(|expression| match call(expression) {
        Some(call) if MERGING.contains(&call.func.name()) => None,
        Some(call) if call.func.name().starts_with("approx_") => {
            Some(format!("{}, whose answer depends on how its input is cut", call.func.name()))
        }
        Some(call) => Some(format!("{}, whose partial answers cannot be put together", call.func.name())),
        None => Some(format!("the aggregate {expression}")),
    })
}

/// What an aggregate is called in a reason: its functions, or DISTINCT.
pub(crate) fn title(aggregate: &Aggregate) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in aggregate.aggr_expr.iter().filter_map(call).map(|call| call.func.name()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { "DISTINCT".to_owned() } else { names.join(", ") }
}

/// Functions without ORDER BY whose answer is in order of arrival.
pub(crate) fn by_arrival(aggregate: &Aggregate) -> Vec<&str> {
    calls_where(aggregate, |call| call.params.order_by.is_empty() && BY_ARRIVAL.contains(&call.func.name()))
}

/// Functions whose state grows with the rows of a group.
pub(crate) fn unbounded(aggregate: &Aggregate) -> Vec<&str> {
    calls_where(aggregate, |call| call.params.distinct || KEEPS_VALUES.contains(&call.func.name()))
}

/// Functions whose answer adds up floating-point numbers.
pub(crate) fn float_sums(aggregate: &Aggregate) -> Vec<&str> {
    let schema = aggregate.input.schema();
    calls_where(aggregate, |call| {
        matches!(call.func.name(), "sum" | "avg")
            && call.params.args.first().is_some_and(|argument| {
                use datafusion::logical_expr::ExprSchemable;
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
