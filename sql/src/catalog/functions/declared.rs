//! The function that a statement declares.

use std::collections::BTreeSet;

use arrow::datatypes::Field;
use datafusion::sql::sqlparser::ast::{ArgMode, CreateFunction, CreateFunctionBody, FunctionCalledOnNull, FunctionReturnType};

use super::function::{Function, Parameter};
use crate::catalog::sources::declared_name;
use crate::catalog::types::arrow_type;
use crate::error::Error;
use crate::file::Location;
use crate::session::Names;
use crate::text::Text;

const USAGE: &str = "write CREATE FUNCTION name(a INT, b INT) RETURNS INT RETURN a + b";

/// Returns the function that a statement declares. Errors go to `errors`.
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

/// Decodes the name of a parameter, which the parser returns as it is written, with its quotes.
fn parameter_name(written: &str) -> String {
    match written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => written.to_lowercase(),
    }
}
