//! `sum(x)` and `sum(CAST(x AS DOUBLE))` in one SELECT. DataFusion 55.2 leaves casts out of the names of its columns, so the two would be one
//! column: all but one get an argument of another name.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName, Select, SelectItem,
};

use crate::walk::{Rewrite, Step, walk};

/// Calls by their text without casts, each with its texts.
type Calls = BTreeMap<String, BTreeSet<(bool, String)>>;

/// Tells apart the calls of a SELECT that differ in casts only.
pub(super) fn tell_apart(select: &mut Select) {
    let mut found = Found(Calls::new());
    for item in &select.projection {
        let _ = walk(&mut item.clone(), &mut found);
    }
    for condition in [&select.having, &select.qualify].into_iter().flatten() {
        let _ = walk(&mut condition.clone(), &mut found);
    }
    found.0.retain(|_, texts| texts.len() > 1);
    if found.0.is_empty() {
        return;
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expression) = item {
            let alias = Ident::with_quote('"', expression.to_string());
            let mut apart = expression.clone();
            let _ = walk(&mut apart, &mut Apart(&found.0));
            if apart != *expression {
                *item = SelectItem::ExprWithAlias { expr: apart, alias };
            }
        } else {
            let _ = walk(item, &mut Apart(&found.0));
        }
    }
    for condition in [&mut select.having, &mut select.qualify].into_iter().flatten() {
        let _ = walk(condition, &mut Apart(&found.0));
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

struct Found(Calls);

impl Rewrite for Found {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        if let Expr::Function(call) = expression {
            let (written, without) = texts(call);
            let has_casts = written != without;
            self.0.entry(without).or_default().insert((has_casts, written));
        }
        Step::Continue(())
    }
}

struct Apart<'a>(&'a Calls);

impl Rewrite for Apart<'_> {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        let Expr::Function(call) = expression else { return Step::Continue(()) };
        let (written, without) = texts(call);
        let place = self.0.get(&without).and_then(|texts| texts.iter().position(|(_, text)| *text == written));
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
