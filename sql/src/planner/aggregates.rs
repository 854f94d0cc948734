//! Which aggregates merge: the state of all input so far and the state of what is new give the state of both, however the
//! input was cut.

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable};

use crate::plan::Reason;
use crate::planner::equality::is_exact;

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
pub(crate) fn obstacle(aggregate: &Aggregate) -> Option<Reason> {
    if aggregate.group_expr.iter().any(|expression| matches!(expression, Expr::GroupingSet(_))) {
        return Some(Reason::GroupingSets);
    }
    let schema = aggregate.input.schema();
    aggregate.aggr_expr.iter().find_map(|expression| match call(expression) {
        // A struct that holds a NULL is neither less nor greater than another: which of them is found depends on what came first.
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

/// Whether rows can be taken out of an aggregate again, exactly: counts, sums and averages of whole numbers and decimals, and no
/// function at all. Groups by floats are left out: 0.0 and -0.0 are one group, and which of them shows depends on what came first.
pub(crate) fn takes_out(aggregate: &Aggregate) -> bool {
    let schema = aggregate.input.schema();
    let of_type = |expression: &Expr| expression.get_type(schema.as_ref()).unwrap_or(DataType::Null);
    aggregate.group_expr.iter().all(|group| !matches!(group, Expr::GroupingSet(_)) && is_exact(&of_type(group)))
        && aggregate.aggr_expr.iter().all(|expression| match call(expression) {
            Some(call) if !call.params.distinct && call.params.order_by.is_empty() => match call.func.name() {
                "count" => true,
                "sum" | "avg" => call.params.args.first().is_some_and(|argument| match of_type(argument) {
                    DataType::Int64 | DataType::UInt64 | DataType::Decimal128(_, _) => true,
                    // A whole number in a float: its sum is kept as a whole number.
                    DataType::Float64 => whole_number(argument).is_some_and(|inner| of_type(inner).is_integer()),
                    _ => false,
                }),
                _ => false,
            },
            _ => false,
        })
}

/// What a float is cast from.
fn whole_number(expression: &Expr) -> Option<&Expr> {
    match expression {
        Expr::Cast(cast) => Some(&cast.expr),
        Expr::Alias(alias) => whole_number(&alias.expr),
        _ => None,
    }
}

/// The functions of an aggregate, each once; none for DISTINCT.
pub(crate) fn functions(aggregate: &Aggregate) -> Vec<String> {
    calls_where(aggregate, |_| true).into_iter().map(str::to_owned).collect()
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
