//! Aggregates of other engines as one with ORDER BY, FILTER or another argument.

use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, OrderByExpr, OrderByOptions, Value,
};

use super::super::pieces::also_where;
use super::calls::{argument, list, plain_arguments, rename};

/// Writes such an aggregate as it is called here; whether it is one.
pub(super) fn translate(name: &str, function: &mut Function) -> bool {
    match name {
        "arg_max" | "argmax" => first_by(function, false, true),
        "arg_min" | "argmin" => first_by(function, true, true),
        // These give the value of the row, also where it is NULL.
        "max_by" => first_by(function, false, false),
        "min_by" => first_by(function, true, false),
        "count_if" | "countif" => count_if(function),
        "sum_if" | "sumif" => of_those("sum", function),
        "avg_if" | "avgif" => of_those("avg", function),
        "group_concat" | "listagg" | "string_agg" => joined(function),
        "array_agg" | "arrayagg" if !function.within_group.is_empty() => {
            rename(function, "array_agg");
            ordered_within(function);
        }
        "quantile_cont" | "percentile" => quantile(function),
        _ => return false,
    }
    true
}

fn first_by(function: &mut Function, ascending: bool, without_null: bool) {
    if function.over.is_some() {
        return;
    }
    let Some([value, by]) = plain_arguments(function).and_then(|plain| <[Expr; 2]>::try_from(plain).ok()) else { return };
    let Some(list) = list(function) else { return };
    if !list.clauses.is_empty() || list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        return;
    }
    list.args = vec![argument(value.clone())];
    list.clauses = vec![FunctionArgumentClause::OrderBy(vec![ordered(by.clone(), ascending)])];
    rename(function, "first_value");
    for there in [Some(by), without_null.then_some(value)].into_iter().flatten() {
        also_where(function, Expr::IsNotNull(Box::new(Expr::Nested(Box::new(there)))));
    }
}

fn ordered(expr: Expr, ascending: bool) -> OrderByExpr {
    OrderByExpr { expr, options: OrderByOptions { asc: Some(ascending), nulls_first: Some(false) }, with_fill: None }
}

fn count_if(function: &mut Function) {
    let Some([condition]) = plain_arguments(function).and_then(|plain| <[Expr; 1]>::try_from(plain).ok()) else { return };
    let Some(list) = list(function) else { return };
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    rename(function, "count");
    also_where(function, condition);
}

/// An aggregate of the rows for which the second argument is true.
fn of_those(here: &str, function: &mut Function) {
    let Some([value, condition]) = plain_arguments(function).and_then(|plain| <[Expr; 2]>::try_from(plain).ok()) else { return };
    let Some(list) = list(function) else { return };
    list.args = vec![argument(value)];
    rename(function, here);
    also_where(function, condition);
}

/// Texts joined: the separator as an argument, the order in the parentheses.
fn joined(function: &mut Function) {
    let is_mysql = function.name.to_string().eq_ignore_ascii_case("group_concat");
    let is_snowflake = function.name.to_string().eq_ignore_ascii_case("listagg");
    rename(function, "string_agg");
    ordered_within(function);
    let Some(list) = list(function) else { return };
    let mut separator = None;
    list.clauses.retain(|clause| match clause {
        FunctionArgumentClause::Separator(written) => {
            separator = Some(Expr::Value(written.clone()));
            false
        }
        _ => true,
    });
    if list.args.len() == 1 {
        let default = separator.is_none() && (is_mysql || is_snowflake);
        let written = if is_snowflake { "" } else { "," };
        let separator = separator.or_else(|| default.then(|| Expr::value(Value::SingleQuotedString(written.to_owned()))));
        list.args.extend(separator.map(argument));
    }
}

/// Moves the order of WITHIN GROUP into the parentheses.
fn ordered_within(function: &mut Function) {
    let order = std::mem::take(&mut function.within_group);
    if let Some(list) = list(function).filter(|_| !order.is_empty()) {
        list.clauses.push(FunctionArgumentClause::OrderBy(order));
    }
}

/// `quantile_cont(x, 0.9)` as an ordered set aggregate.
fn quantile(function: &mut Function) {
    let Some([value, share]) = plain_arguments(function).and_then(|plain| <[Expr; 2]>::try_from(plain).ok()) else { return };
    let Some(list) = list(function) else { return };
    list.args = vec![argument(share)];
    function.within_group = vec![ordered(value, true)];
    rename(function, "percentile_cont");
}
