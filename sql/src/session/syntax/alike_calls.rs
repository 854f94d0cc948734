//! `sum(x)` and `sum(CAST(x AS DOUBLE))` in one SELECT. DataFusion 55.2 leaves casts out of the names of its columns, so the two would be one
//! column: all but one get an argument of another name.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Query, Select,
    SelectItem,
};

use super::name::normalized;
use crate::walk::{Rewrite, Step, walk};

/// Aggregates that people write over one column in several types. Others are refused as DataFusion refuses them.
const AGGREGATES: [&str; 12] =
    ["sum", "avg", "min", "max", "count", "median", "array_agg", "string_agg", "first_value", "last_value", "stddev", "var_samp"];

/// Calls by their text without casts, each with its texts.
type Calls = BTreeMap<String, BTreeSet<(bool, String)>>;

/// Tells apart the calls of a SELECT that differ in casts only.
pub(super) fn tell_apart(select: &mut Select) {
    let mut found = Found { calls: Calls::new(), depth: 0 };
    for item in &select.projection {
        let _ = walk(&mut item.clone(), &mut found);
    }
    for condition in [&select.having, &select.qualify].into_iter().flatten() {
        let _ = walk(&mut condition.clone(), &mut found);
    }
    found.calls.retain(|_, texts| texts.len() > 1);
    if found.calls.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expression) = item {
            let alias = Ident::with_quote('"', expression.to_string());
            let mut apart = expression.clone();
            let _ = walk(&mut apart, &mut Apart { calls: &found.calls, depth: 0 });
            if apart != *expression {
                *item = SelectItem::ExprWithAlias { expr: apart, alias };
            }
        } else {
            let _ = walk(item, &mut Apart { calls: &found.calls, depth: 0 });
        }
    }
    for condition in [&mut select.having, &mut select.qualify].into_iter().flatten() {
        let _ = walk(condition, &mut Apart { calls: &found.calls, depth: 0 });
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

struct Found {
    calls: Calls,
    /// How many subqueries are around: what stands in them is in another SELECT.
    depth: usize,
}

impl Rewrite for Found {
    fn before_query(&mut self, _: &mut Query) -> Step {
        self.depth += 1;
        Step::Continue(())
    }

    fn after_query(&mut self, _: &mut Query) -> Step {
        self.depth -= 1;
        Step::Continue(())
    }

    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        if let Expr::Function(call) = expression
            && self.depth == 0
            && aggregates(call)
        {
            let (written, without) = texts(call);
            let has_casts = written != without;
            self.calls.entry(without).or_default().insert((has_casts, written));
        }
        Step::Continue(())
    }
}

struct Apart<'a> {
    calls: &'a Calls,
    depth: usize,
}

impl Rewrite for Apart<'_> {
    fn before_query(&mut self, _: &mut Query) -> Step {
        self.depth += 1;
        Step::Continue(())
    }

    fn after_query(&mut self, _: &mut Query) -> Step {
        self.depth -= 1;
        Step::Continue(())
    }

    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        let Expr::Function(call) = expression else { return Step::Continue(()) };
        if self.depth > 0 || !aggregates(call) {
            return Step::Continue(());
        }
        let (written, without) = texts(call);
        let place = self.calls.get(&without).and_then(|texts| texts.iter().position(|(_, text)| *text == written));
        // The one without casts, or the first, keeps its name.
        for _ in 0..place.unwrap_or_default() {
            wrap(call);
        }
        Step::Continue(())
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
        let args = vec![FunctionArg::Unnamed(FunctionArgExpr::Expr(argument.clone()))];
        *argument = Expr::Function(Function {
            name: ObjectName::from(Ident::new("coalesce")),
            uses_odbc_syntax: false,
            parameters: FunctionArguments::None,
            args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
            filter: None,
            null_treatment: None,
            over: None,
            within_group: Vec::new(),
        });
    }
}
