//! Resolves `watermark()` in queries: of which source. Leaves the calls in the query, each with the name of its source, for the planner.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, Value,
};

use crate::catalog::read::Declarations;
use crate::catalog::types::normalized;
use crate::declarations::Source;
use crate::error::Error;
use crate::names::{listed, nearest, written};
use crate::planner::watermark_tables::WATERMARK;
use crate::text::Text;
use crate::walk::{Rewrite, Step, walk};

const DECLARE: &str = "add to the OPTIONS of the source: watermark 'placed_at - 5 seconds'";

/// Names the source of each call, and adds it to what the view reads. A view with an invalid call is taken out.
pub(super) fn resolve(declarations: &mut Declarations, reads: &mut BTreeMap<String, BTreeSet<String>>, errors: &mut Vec<Error>) {
    let sources = &declarations.sources;
    let views: BTreeSet<String> = declarations.views.keys().cloned().collect();
    let from: BTreeMap<String, BTreeSet<String>> = reads.clone();
    declarations.views.retain(|name, view| {
        let mut calls =
            Calls { view: name, text: &view.text, sources, views: &views, from: &from, named: BTreeSet::new(), wrong: None };
        let _ = walk(&mut view.query, &mut calls);
        let Calls { named, wrong, .. } = calls;
        let is_valid = wrong.is_none();
        errors.extend(wrong);
        reads.entry(name.clone()).or_default().extend(named);
        is_valid
    });
}

struct Calls<'a> {
    view: &'a str,
    text: &'a Text,
    sources: &'a BTreeMap<String, Source>,
    views: &'a BTreeSet<String>,
    /// What each view names in FROM.
    from: &'a BTreeMap<String, BTreeSet<String>>,
    named: BTreeSet<String>,
    wrong: Option<Error>,
}

impl Rewrite for Calls<'_> {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        let Expr::Function(call) = expression else { return Step::Continue(()) };
        let [part] = call.name.0.as_slice() else { return Step::Continue(()) };
        let Some(name) = part.as_ident().filter(|name| normalized(name) == WATERMARK) else { return Step::Continue(()) };
        let at = self.text.span(name.span);
        let source = match argument(call) {
            Ok(Some(source)) => self.declared(source),
            Ok(None) => self.only(),
            Err(help) => Err(("watermark takes the name of a source".to_owned(), help)),
        };
        match source {
            Ok(source) => {
                let argument = FunctionArgExpr::Expr(Expr::value(Value::SingleQuotedString(source.clone())));
                call.args = FunctionArguments::List(FunctionArgumentList {
                    duplicate_treatment: None,
                    args: vec![FunctionArg::Unnamed(argument)],
                    clauses: Vec::new(),
                });
                self.named.insert(source);
                Step::Continue(())
            }
            Err((message, help)) => {
                self.wrong = Some(Error { message, help: Some(help), at });
                Step::Break(())
            }
        }
    }
}

impl Calls<'_> {
    /// Returns a source that a call names.
    fn declared(&self, written_so: String) -> Result<String, (String, String)> {
        let lower = normalized(&Ident::new(written_so.clone()));
        let name = if self.sources.contains_key(&written_so) { written_so } else { lower };
        match self.sources.get(&name) {
            Some(source) if source.watermark.is_some() => Ok(name),
            Some(_) => Err((format!("the source {} has no watermark", written(&name)), DECLARE.to_owned())),
            None if self.views.contains(&name) => {
                Err((format!("{} is a view, and only a source has a watermark", written(&name)), "name its source".to_owned()))
            }
            None => {
                let near = nearest(&name, self.sources.keys().map(String::as_str));
                let help = near.map_or_else(
                    || format!("sources are {}", listed(self.sources.keys())),
                    |near| format!("did you mean '{near}'?"),
                );
                Err((format!("there is no source {}", written(&name)), help))
            }
        }
    }

    /// Returns the only source with a watermark that the view reads, itself or through other views.
    fn only(&self) -> Result<String, (String, String)> {
        let mut seen = BTreeSet::from([self.view]);
        let mut to_read = vec![self.view];
        while let Some(name) = to_read.pop() {
            let below = self.from.get(name).into_iter().flatten().map(String::as_str);
            to_read.extend(below.filter(|below| seen.insert(*below)));
        }
        let timed: Vec<&str> =
            seen.into_iter().filter(|name| self.sources.get(*name).is_some_and(|source| source.watermark.is_some())).collect();
        match timed.as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => Err(("watermark() waits for a watermark, and no source of the view has one".to_owned(), DECLARE.to_owned())),
            [first, ..] => Err((
                format!("watermark() could be that of {}", timed.join(" or of ")),
                format!("name the source: watermark('{first}')"),
            )),
        }
    }
}

/// Returns the name that a call gives.
///
/// # Errors
/// What to write, if it gives anything else.
fn argument(call: &Function) -> Result<Option<String>, String> {
    let help = || "write watermark('orders'), or watermark() where the view reads one source with a watermark".to_owned();
    if call.over.is_some() || call.filter.is_some() || !call.within_group.is_empty() {
        return Err(help());
    }
    let FunctionArguments::List(list) = &call.args else { return Err(help()) };
    match list.args.as_slice() {
        [] => Ok(None),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Identifier(name)))] => Ok(Some(normalized(name))),
        [FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value)))] => match &value.value {
            Value::SingleQuotedString(name) => Ok(Some(name.clone())),
            _ => Err(help()),
        },
        _ => Err(help()),
    }
}
