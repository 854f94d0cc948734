//! Replaces calls of functions by their bodies.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{
    Expr, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select, SelectItem, Spanned, VisitMut,
};

use super::function::{Function, Functions, cast, place, read_name};
use crate::error::Error;
use crate::names::nearest;
use crate::text::Text;
use crate::walk::{Rewrite, Step, walk};

/// Returns the names of the functions that an expression calls.
pub(super) fn calls(expression: &Expr) -> BTreeSet<String> {
    let mut found = Calls(BTreeSet::new());
    let _ = walk(&mut expression.clone(), &mut found);
    found.0
}

struct Calls(BTreeSet<String>);

impl Rewrite for Calls {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        if let Expr::Function(call) = expression {
            self.0.extend(called(call));
        }
        Step::Continue(())
    }
}

/// Returns the name of a call, if it can be one of ours.
fn called(call: &Call) -> Option<String> {
    match call.name.0.as_slice() {
        [part] => part.as_ident().map(read_name),
        _ => None,
    }
}

/// Checks that a body names nothing but its parameters.
pub(super) fn check_names(function: &Function) -> Result<(), Error> {
    let mut names = OwnNames { function, wrong: None };
    let _ = walk(&mut function.body.clone(), &mut names);
    names.wrong.map_or(Ok(()), Err)
}

struct OwnNames<'a> {
    function: &'a Function,
    wrong: Option<Error>,
}

impl OwnNames<'_> {
    fn refuse(&mut self, message: String, help: String, at: &impl Spanned) -> Step {
        let text = &self.function.text;
        self.wrong = Some(Error { message, help: Some(help), at: place(at, text).unwrap_or_else(|| text.head()) });
        Step::Break(())
    }
}

impl Rewrite for OwnNames<'_> {
    fn before_query(&mut self, query: &mut Query) -> Step {
        let help = "join in the view, and give the function values".to_owned();
        self.refuse(format!("the function {} cannot read relations", self.function.name), help, query)
    }

    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        let function = self.function;
        let name = match &*expression {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(parts) => {
                let message = format!("the function {} knows its parameters only, and not {expression}", function.name);
                let help = match parts.as_slice() {
                    [first, second] => format!("for a member of a struct write {first}['{}']", second.value),
                    _ => "give the function the value as an argument".to_owned(),
                };
                return self.refuse(message, help, expression);
            }
            _ => return Step::Continue(()),
        };
        let read = read_name(name);
        if function.parameters.iter().any(|parameter| parameter.name == read) {
            return Step::Continue(());
        }
        let known: Vec<&str> = function.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let help = match nearest(&read, known.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None if known.is_empty() => "it has none".to_owned(),
            None => format!("there are {}", known.join(", ")),
        };
        self.refuse(format!("the function {} has no parameter {name}", function.name), help, expression)
    }
}

/// What stops a query from being inlined.
enum Stop {
    Wrong(Error),
    /// It calls an invalid function, which has been reported already.
    CallsBroken,
}

impl Functions {
    /// Replaces calls in a query by bodies. Returns false if the query cannot be used. Errors go to `errors`.
    pub(crate) fn inline(&self, query: &mut Query, text: &Text, errors: &mut Vec<Error>) -> bool {
        self.run(query, text, errors)
    }

    /// Does the same in the body of a function.
    pub(super) fn inline_body(&self, function: &mut Function, errors: &mut Vec<Error>) -> bool {
        let text = function.text.clone();
        self.run(&mut function.body, &text, errors)
    }

    fn run(&self, node: &mut impl VisitMut, text: &Text, errors: &mut Vec<Error>) -> bool {
        let mut inliner = Inliner { functions: self, text, stop: None };
        let _ = walk(node, &mut inliner);
        match inliner.stop {
            None => true,
            Some(Stop::CallsBroken) => false,
            Some(Stop::Wrong(error)) => {
                errors.push(error);
                false
            }
        }
    }
}

struct Inliner<'a> {
    functions: &'a Functions,
    text: &'a Text,
    stop: Option<Stop>,
}

impl Inliner<'_> {
    fn stop(&mut self, why: Stop) -> Step {
        self.stop = Some(why);
        Step::Break(())
    }
}

impl Rewrite for Inliner<'_> {
    /// Names a column without an alias after the text that is written.
    fn before_select(&mut self, select: &mut Select) -> Step {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expression) = item
                && calls(expression).iter().any(|name| self.functions.ready.contains_key(name))
            {
                let alias = Ident::with_quote('"', expression.to_string());
                *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
            }
        }
        Step::Continue(())
    }

    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        let Expr::Function(call) = expression else { return Step::Continue(()) };
        let Some(name) = called(call) else { return Step::Continue(()) };
        if self.functions.broken.contains(&name) {
            return self.stop(Stop::CallsBroken);
        }
        let Some(function) = self.functions.ready.get(&name) else { return Step::Continue(()) };
        match body_for(function, call) {
            Ok(body) => {
                *expression = body;
                Step::Continue(())
            }
            Err(message) => {
                let help = Some(format!("it is called as {}", function.usage()));
                let at = place(&call.name, self.text).unwrap_or_else(|| self.text.head());
                self.stop(Stop::Wrong(Error { message, help, at }))
            }
        }
    }
}

/// Returns the body with the arguments of a call, or what is wrong with the call.
fn body_for(function: &Function, call: &Call) -> Result<Expr, String> {
    let name = &function.name;
    let only_arguments =
        call.filter.is_none() && call.over.is_none() && call.null_treatment.is_none() && call.within_group.is_empty();
    let FunctionArguments::List(list) = &call.args else {
        return Err(format!("the function {name} takes its arguments in parentheses"));
    };
    if !only_arguments || list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return Err(format!("{name} is a function of the values of one row: FILTER, OVER, DISTINCT and ORDER BY are not for it"));
    }
    if list.args.len() != function.parameters.len() {
        let takes = function.parameters.len();
        return Err(format!(
            "{name} takes {takes} argument{}, and {} {} given",
            if takes == 1 { "" } else { "s" },
            list.args.len(),
            if list.args.len() == 1 { "is" } else { "are" }
        ));
    }
    let mut arguments = Vec::with_capacity(list.args.len());
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => arguments.push(expression.clone()),
            other => return Err(format!("{name} cannot take {other}")),
        }
    }
    let mut body = function.body.clone();
    let _ = walk(&mut body, &mut Arguments { function, arguments });
    Ok(cast(Expr::Nested(Box::new(body)), &function.returns))
}

/// Replaces the parameters by the arguments, cast to their types.
struct Arguments<'a> {
    function: &'a Function,
    arguments: Vec<Expr>,
}

impl Rewrite for Arguments<'_> {
    // After the visit, so that an inserted argument is not searched for parameters again.
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        if let Expr::Identifier(name) = expression {
            let name = read_name(name);
            let place = self.function.parameters.iter().position(|parameter| parameter.name == name);
            if let Some(argument) = place.and_then(|place| self.arguments.get(place).zip(self.function.parameters.get(place))) {
                let (argument, parameter) = argument;
                *expression = cast(Expr::Nested(Box::new(argument.clone())), &parameter.sql_type);
            }
        }
        Step::Continue(())
    }
}
