//! `CREATE FUNCTION`: scalar functions written as SQL. A call is replaced by the body: each parameter becomes the argument cast to
//! its type, and the whole is cast to the return type. So no other module knows that there are functions.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `declared` | the function that a statement declares |
//! | `function` | what a function is |
//! | `inline` | replaces calls by bodies |

mod declared;
mod function;
mod inline;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::sql::sqlparser::ast::{Ident, Query, SelectItem, SetExpr, Statement as SqlStatement};

pub(crate) use self::declared::declared;
use self::function::cast;
pub(crate) use self::function::{Function, Functions};
use crate::catalog::diagnose::{Known, from_datafusion, refused};
use crate::error::Error;
use crate::planner::{Refusal, check_function};

impl Functions {
    /// Inlines the bodies of functions into those that call them, and checks each function. Errors go to `errors`.
    pub(crate) fn new(
        declared: BTreeMap<String, Function>,
        broken: BTreeSet<String>,
        names: &BTreeSet<String>,
        errors: &mut Vec<Error>,
    ) -> Functions {
        let mut functions = Functions { ready: BTreeMap::new(), broken };
        let mut waiting = declared;
        loop {
            let ready: Vec<String> = waiting
                .values()
                .filter(|function| !inline::calls(&function.body).iter().any(|called| waiting.contains_key(called)))
                .map(|function| function.name.clone())
                .collect();
            if ready.is_empty() {
                break;
            }
            for mut function in ready.iter().filter_map(|name| waiting.remove(name)) {
                let before = errors.len();
                let inlined = functions.inline_body(&mut function, errors);
                if inlined && functions.check(&function, names, errors) && errors.len() == before {
                    functions.ready.insert(function.name.clone(), function);
                } else {
                    functions.broken.insert(function.name);
                }
            }
        }
        functions.refuse_circles(waiting, errors);
        functions
    }

    /// Reports the functions that still wait: they wait for each other.
    fn refuse_circles(&mut self, waiting: BTreeMap<String, Function>, errors: &mut Vec<Error>) {
        let mut reported: BTreeSet<&String> = BTreeSet::new();
        for start in waiting.keys() {
            // Follow the first called function that waits too, until one comes again.
            let mut way = vec![start];
            while let Some(next) = way.last().and_then(|last| waiting.get(*last)).and_then(|function| {
                let called = inline::calls(&function.body);
                waiting.keys().find(|name| called.contains(*name))
            }) {
                if let Some(again) = way.iter().position(|name| *name == next) {
                    way.drain(..again);
                    break;
                }
                way.push(next);
            }
            if way.iter().any(|name| reported.contains(name)) {
                continue;
            }
            reported.extend(&way);
            let Some(first) = way.first().and_then(|name| waiting.get(*name)) else { continue };
            let shown: Vec<&str> = way.iter().map(|name| name.as_str()).collect();
            errors.push(Error {
                message: format!("functions call each other in a circle: {} -> {}", shown.join(" -> "), first.name),
                help: Some("write one of them without the other".to_owned()),
                at: first.name_at.clone(),
            });
        }
        self.broken.extend(waiting.into_keys());
    }

    /// Plans the body over its parameters as columns, so that an error in it is found where it is written.
    fn check(&self, function: &Function, names: &BTreeSet<String>, errors: &mut Vec<Error>) -> bool {
        if let Err(error) = inline::check_names(function) {
            errors.push(error);
            return false;
        }
        let fields: Vec<Field> = function.parameters.iter().map(|parameter| parameter.field.clone()).collect();
        let Some(query) = query_of(function) else { return false };
        let error = match check_function(&query, &Arc::new(Schema::new(fields))) {
            Ok(()) => return true,
            Err(Refusal::DataFusion(error)) => {
                from_datafusion(&error, Some(&query), &function.text, &Known { functions: names.clone(), ..Known::default() })
            }
            Err(Refusal::Refused { message, help, spot }) => refused(message, help, &spot, &query, &function.text),
        };
        errors.push(error);
        false
    }
}

/// Returns `SELECT CAST(body AS type) FROM` the parameters.
fn query_of(function: &Function) -> Option<Query> {
    let from = if function.parameters.is_empty() { "" } else { " FROM \"$parameters\"" };
    let statement = crate::dialect::parse(&format!("SELECT 1{from}")).ok()?;
    let datafusion::sql::parser::Statement::Statement(statement) = statement else { return None };
    let SqlStatement::Query(mut query) = *statement else { return None };
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.projection = vec![SelectItem::ExprWithAlias {
        expr: cast(function.body.clone(), &function.returns),
        alias: Ident::with_quote('"', &function.name),
    }];
    Some(*query)
}
