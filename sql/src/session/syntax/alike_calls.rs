//! `sum(x)` and `sum(CAST(x AS DOUBLE))` in one SELECT. DataFusion 55.2 leaves casts out of the names of its columns, so the two would be one
//! column: all but one get an argument of another name.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Select, SelectItem,
};

use super::name::normalized;
use super::pieces::coalesce;
use crate::walk::{Rewrite, Step, walk, walk_outside_subqueries};

/// Aggregates that people write over one column in several types. Others are refused as DataFusion refuses them.
const AGGREGATES: [&str; 12] =
    ["sum", "avg", "min", "max", "count", "median", "array_agg", "string_agg", "first_value", "last_value", "stddev", "var_samp"];

/// Calls by their text without casts, each with its texts.
type Calls = BTreeMap<String, BTreeSet<(bool, String)>>;

/// Tells apart the calls of a SELECT that differ in casts only.
pub(super) fn tell_apart(select: &mut Select) {
    let mut calls = Calls::new();
    for item in &select.projection {
        walk_outside_subqueries(&mut item.clone(), &mut |expression| collect(expression, &mut calls));
    }
    for condition in [&select.having, &select.qualify].into_iter().flatten() {
        walk_outside_subqueries(&mut condition.clone(), &mut |expression| collect(expression, &mut calls));
    }
    calls.retain(|_, texts| texts.len() > 1);
    if calls.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expression) = item {
            let alias = Ident::with_quote('"', expression.to_string());
            let mut apart = expression.clone();
            walk_outside_subqueries(&mut apart, &mut |expression| set_apart(expression, &calls));
            if apart != *expression {
                *item = SelectItem::ExprWithAlias { expr: apart, alias };
            }
        } else {
            walk_outside_subqueries(item, &mut |expression| set_apart(expression, &calls));
        }
    }
    for condition in [&mut select.having, &mut select.qualify].into_iter().flatten() {
        walk_outside_subqueries(condition, &mut |expression| set_apart(expression, &calls));
    }
}

/// A call as it is written, and without its casts.
fn texts(call: &Function) -> (String, String) {
    let written = call.to_string();
    let mut expression = Expr::Function(call.clone());
    let _ = walk(&mut expression, &mut WithoutCasts);
    (written, expression.to_string())
}

struct WithoutCasts;

impl Rewrite for WithoutCasts {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        if let Expr::Cast { expr, .. } = expression {
            *expression = expr.as_ref().clone();
        }
        Step::Continue(())
    }
}

/// Whether a call is one of an aggregate or a window function.
fn aggregates(call: &Function) -> bool {
    let name = call.name.0.last().and_then(|part| part.as_ident()).map(normalized);
    call.over.is_some() || name.is_some_and(|name| AGGREGATES.contains(&name.as_str()))
}

/// Adds a call to those that the SELECT makes.
fn collect(expression: &Expr, calls: &mut Calls) {
    if let Expr::Function(call) = expression
        && aggregates(call)
    {
        let (written, without) = texts(call);
        let has_casts = written != without;
        calls.entry(without).or_default().insert((has_casts, written));
    }
}

/// Gives a call an argument of another name, unless it is the one without casts, or the first.
fn set_apart(expression: &mut Expr, calls: &Calls) {
    let Expr::Function(call) = expression else { return };
    if !aggregates(call) {
        return;
    }
    let (written, without) = texts(call);
    let place = calls.get(&without).and_then(|texts| texts.iter().position(|(_, text)| *text == written));
    for _ in 0..place.unwrap_or_default() {
        wrap(call);
    }
}

/// Writes the first argument that is cast as `coalesce(argument)`, which is the argument.
fn wrap(call: &mut Function) {
    let FunctionArguments::List(list) = &mut call.args else { return };
    let is_cast = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => {
            argument.to_string().to_uppercase().contains("CAST(") || argument.to_string().contains("::")
        }
        _ => false,
    };
    if let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))) = list.args.iter_mut().find(|argument| is_cast(argument)) {
        *argument = coalesce(vec![argument.clone()]);
    }
}
