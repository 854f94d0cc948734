//! `CREATE FUNCTION`: scalar functions written as SQL. A call becomes the body, its parameters the arguments cast to their types, the
//! whole cast to the type that it returns; so nothing after this module knows that there are functions.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `inline` | calls replaced by bodies |

pub(crate) mod inline;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::sql::sqlparser::ast::{
    ArgMode, CreateFunction, CreateFunctionBody, DataType as SqlType, Expr, FunctionCalledOnNull, FunctionReturnType, Query,
    SetExpr, Spanned, Statement as SqlStatement,
};
use datafusion::sql::sqlparser::ast::{CastKind, Ident, SelectItem};

use crate::catalog::diagnose::{Known, from_datafusion, refused};
use crate::catalog::sources::declared_name;
use crate::catalog::statements::Text;
use crate::catalog::types::{arrow_type, normalized};
use crate::error::{Error, Location};
use crate::planner::{Refusal, check_function};
use crate::session::Names;

/// A function, whose body may still call others.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) name_at: Location,
    parameters: Vec<Parameter>,
    returns: SqlType,
    body: Expr,
    text: Text,
}

#[derive(Debug, Clone)]
struct Parameter {
    name: String,
    sql_type: SqlType,
    field: Field,
}

impl Function {
    /// How it is called, for messages.
    fn usage(&self) -> String {
        let parameters: Vec<String> =
            self.parameters.iter().map(|parameter| format!("{} {}", parameter.name, parameter.sql_type)).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }
}

/// The functions of all files, ready to be put in the place of their calls.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    /// By name; bodies call no other of them.
    ready: BTreeMap<String, Function>,
    /// What is declared and wrong: who calls it is not to blame.
    broken: BTreeSet<String>,
}

const USAGE: &str = "write CREATE FUNCTION name(a INT, b INT) RETURNS INT RETURN a + b";

/// The function that a statement declares; all that is wrong with it goes to `errors`.
pub(crate) fn declared(
    statement: &CreateFunction,
    text: &Text,
    names: &Names<'_>,
    built_in: &BTreeSet<String>,
    errors: &mut Vec<Error>,
) -> Option<Function> {
    let before = errors.len();
    let mut refuse = |message: String, help: &str, at: Option<Location>| {
        errors.push(Error { message, help: Some(help.to_owned()), at: at.unwrap_or_else(|| text.head()) });
    };
    if statement.temporary || statement.language.is_some() || !statement.set_params.is_empty() || statement.security.is_some() {
        refuse("a function is one SQL expression, without further clauses".to_owned(), USAGE, None);
    }
    if matches!(&statement.called_on_null, Some(FunctionCalledOnNull::ReturnsNullOnNullInput | FunctionCalledOnNull::Strict)) {
        let help = "write it: RETURN CASE WHEN a IS NOT NULL THEN ... END";
        refuse("a function does not pass over NULL by itself".to_owned(), help, text.word("STRICT").or(text.word("NULL")));
    }
    let returns = match &statement.return_type {
        Some(FunctionReturnType::DataType(returns)) => Some(returns.clone()),
        Some(FunctionReturnType::SetOf(_)) => {
            refuse("a function gives one value".to_owned(), USAGE, text.word("SETOF"));
            None
        }
        None => {
            refuse("the function does not say what it returns".to_owned(), USAGE, None);
            None
        }
    };
    let body = match &statement.function_body {
        Some(CreateFunctionBody::Return(body)) => Some(body.clone()),
        Some(_) => {
            refuse("a function's body is a SQL expression".to_owned(), USAGE, text.word("AS"));
            None
        }
        None => {
            refuse("the function has no body".to_owned(), USAGE, None);
            None
        }
    };
    if let Some(Err(wrong)) = returns.as_ref().map(|returns| arrow_type(returns, names)) {
        refuse(format!("the result: {}", wrong.message), &wrong.help, text.word("RETURNS"));
    }
    let mut parameters: Vec<Parameter> = Vec::new();
    for argument in statement.args.iter().flatten() {
        let Some(name) = argument.name.as_ref().map(|name| parameter_name(&name.value)) else {
            refuse(format!("a parameter of type {} has no name", argument.data_type), USAGE, None);
            continue;
        };
        let at = text.word(&name);
        if !matches!(argument.mode, None | Some(ArgMode::In)) || argument.default_expr.is_some() {
            refuse(format!("the parameter {name} has a name and a type only"), USAGE, at);
        } else if parameters.iter().any(|other| other.name == name) {
            refuse(format!("two parameters are named {name}"), "give one of them another name", at);
        } else {
            match arrow_type(&argument.data_type, names) {
                Ok(data_type) => parameters.push(Parameter {
                    field: Field::new(&name, data_type, true),
                    name,
                    sql_type: argument.data_type.clone(),
                }),
                Err(wrong) => refuse(format!("parameter {name}: {}", wrong.message), &wrong.help, at),
            }
        }
    }
    let (name, name_at) = declared_name(&statement.name, text, errors)?;
    if built_in.contains(&name) {
        errors.push(Error {
            message: format!("there is a function {name} already"),
            help: Some(format!("give yours another name, such as my_{name}")),
            at: name_at.clone(),
        });
    }
    let (body, returns) = (body?, returns?);
    (errors.len() == before).then(|| Function { name, name_at, parameters, returns, body, text: text.clone() })
}

/// The parser gives a parameter's name as it is written, quotes and all.
fn parameter_name(written: &str) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => written.to_lowercase(),
    }
}

impl Functions {
    /// Puts the bodies of functions into those that call them, and checks each; what is wrong goes to `errors`.
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

    /// What is left waits for itself.
    fn refuse_circles(&mut self, waiting: BTreeMap<String, Function>, errors: &mut Vec<Error>) {
        let mut reported: BTreeSet<&String> = BTreeSet::new();
        for start in waiting.keys() {
            // The first that is called and waits too, until one comes again.
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

    /// Plans the body over its parameters as columns, so that what is wrong in it is found where it is written.
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
                from_datafusion(&error, &function.text, &Known { functions: names.clone(), ..Known::default() })
            }
            Err(Refusal::Refused { message, help, spot }) => refused(message, help, &spot, &function.text),
        };
        errors.push(error);
        false
    }
}

/// `SELECT CAST(body AS type) FROM` the parameters.
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

fn cast(expression: Expr, sql_type: &SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expression), data_type: sql_type.clone(), array: false, format: None }
}

/// The place of an expression, where it has one.
fn place(expression: &impl Spanned, text: &Text) -> Option<Location> {
    let span = expression.span();
    (span.start.line > 0).then(|| text.span(span))
}

/// A name that is called or used, as SQL reads it.
fn read_name(name: &Ident) -> String {
    normalized(name)
}
