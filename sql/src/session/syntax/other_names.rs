//! Functions of PostgreSQL, DuckDB, Snowflake, BigQuery and Spark that have another name here.
//!
//! | there | here |
//! | --- | --- |
//! | `arg_max(x, by)`, `max_by`, `arg_min`, `min_by` | `first_value(x ORDER BY by DESC)` over the rows that have both |
//! | `count_if(c)`, `countif` | `count(*) FILTER (WHERE c)` |
//! | `list(x)`, `list_agg` | `array_agg(x)` |
//! | `listagg(x, d)`, `group_concat` | `string_agg(x, d)` |
//! | `logical_and`, `every`, `logical_or`, `arbitrary`, `first`, `last` | `bool_and`, `bool_or`, `any_value`, `first_value`, `last_value` |
//! | `strftime(t, f)`, `string_split`, `json_extract_path_text`, ... | `to_char`, `string_to_array`, `json_get_str`, ... |
//! | `epoch(t)` | `date_part('epoch', t)` |

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArgumentList, FunctionArguments, Ident, ObjectName, OrderByExpr, OrderByOptions, Value,
};

/// Other names of functions that take the same arguments.
const ALIASES: [(&str, &str); 23] = [
    ("list", "array_agg"),
    ("list_agg", "array_agg"),
    ("listagg", "string_agg"),
    ("group_concat", "string_agg"),
    ("every", "bool_and"),
    ("logical_and", "bool_and"),
    ("logical_or", "bool_or"),
    ("arbitrary", "any_value"),
    ("first", "first_value"),
    ("last", "last_value"),
    ("strftime", "to_char"),
    ("string_split", "string_to_array"),
    ("str_split", "string_to_array"),
    ("len", "length"),
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("ceiling", "ceil"),
    ("startswith", "starts_with"),
    ("json_extract_path_text", "json_get_str"),
    ("jsonb_extract_path_text", "json_get_str"),
    ("json_extract_path", "json_get_json"),
    ("jsonb_extract_path", "json_get_json"),
    ("approx_quantile", "approx_percentile_cont"),
];

/// Rewrites a call of another engine's function as it is written here.
pub(super) fn translate(expression: &mut Expr) {
    let Expr::Function(function) = expression else { return };
    let Some(name) = plain_name(&function.name) else { return };
    match name.as_str() {
        "arg_max" | "argmax" | "max_by" => first_by(function, false),
        "arg_min" | "argmin" | "min_by" => first_by(function, true),
        "count_if" | "countif" => count_if(function),
        "epoch" => of_epoch(function),
        name => {
            if let Some((_, here)) = ALIASES.iter().find(|(there, _)| *there == name) {
                function.name = ObjectName::from(Ident::with_span(span(&function.name), *here));
            }
        }
    }
}

fn plain_name(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    part.as_ident().filter(|name| name.quote_style.is_none()).map(|name| name.value.to_lowercase())
}

fn span(name: &ObjectName) -> datafusion::sql::sqlparser::tokenizer::Span {
    datafusion::sql::sqlparser::ast::Spanned::span(name)
}

/// Returns the arguments of a call that has exactly `N` plain ones.
fn plain_arguments<const N: usize>(function: &mut Function) -> Option<(&mut FunctionArgumentList, [Expr; N])> {
    let FunctionArguments::List(list) = &mut function.args else { return None };
    let plain = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument.clone()),
        _ => None,
    });
    let plain: [Expr; N] = plain.collect::<Option<Vec<_>>>()?.try_into().ok()?;
    Some((list, plain))
}

fn first_by(function: &mut Function, ascending: bool) {
    let Some((list, [value, by])) = plain_arguments(function) else { return };
    if !list.clauses.is_empty() || list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
        return;
    }
    let options = OrderByOptions { asc: Some(ascending), nulls_first: Some(false) };
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(value.clone()))];
    list.clauses = vec![FunctionArgumentClause::OrderBy(vec![OrderByExpr { expr: by.clone(), options, with_fill: None }])];
    function.name = ObjectName::from(Ident::with_span(span(&function.name), "first_value"));
    for there in [Expr::IsNotNull(Box::new(value)), Expr::IsNotNull(Box::new(by))] {
        also_where(function, there);
    }
}

fn count_if(function: &mut Function) {
    let Some((list, [condition])) = plain_arguments(function) else { return };
    list.args = vec![FunctionArg::Unnamed(FunctionArgExpr::Wildcard)];
    function.name = ObjectName::from(Ident::with_span(span(&function.name), "count"));
    also_where(function, condition);
}

fn of_epoch(function: &mut Function) {
    let Some((list, [time])) = plain_arguments(function) else { return };
    let part = Expr::value(Value::SingleQuotedString("epoch".to_owned()));
    list.args = [part, time].map(|argument| FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))).to_vec();
    function.name = ObjectName::from(Ident::with_span(span(&function.name), "date_part"));
}

fn also_where(function: &mut Function, condition: Expr) {
    let condition = match function.filter.take() {
        Some(filter) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(filter)),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(condition))),
        },
        None => condition,
    };
    function.filter = Some(Box::new(condition));
}
