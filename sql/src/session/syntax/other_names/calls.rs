//! The parts of a call that the other modules read and change.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Spanned, Value,
};

/// The name of a function, in lower case; none where it is in quotes or has several parts.
pub(super) fn plain_name(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    part.as_ident().filter(|name| name.quote_style.is_none()).map(|name| name.value.to_lowercase())
}

/// Calls another function in its place, with the same arguments.
pub(super) fn rename(function: &mut Function, here: &str) {
    function.name = ObjectName::from(Ident::with_span(function.name.span(), here));
}

pub(super) fn argument(expression: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expression))
}

/// The arguments of a call that has only plain ones.
pub(super) fn plain_arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let plain = list.args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument.clone()),
        _ => None,
    });
    plain.collect()
}

/// The arguments of a call of a scalar function: without DISTINCT, ORDER BY, FILTER and OVER.
pub(super) fn scalar_arguments(function: &Function) -> Option<Vec<Expr>> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let scalar = list.clauses.is_empty()
        && list.duplicate_treatment.is_none()
        && function.filter.is_none()
        && function.over.is_none()
        && function.within_group.is_empty();
    scalar.then(|| plain_arguments(function))?
}

/// The list of arguments, to be changed.
pub(super) fn list(function: &mut Function) -> Option<&mut FunctionArgumentList> {
    match &mut function.args {
        FunctionArguments::List(list) => Some(list),
        _ => None,
    }
}

/// The text of a constant.
pub(super) fn text(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// A word or a text, as a unit of time is written in one engine or another.
pub(super) fn word(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(name) if name.quote_style.is_none() => Some(name.value.to_lowercase()),
        other => text(other).map(str::to_lowercase),
    }
}
