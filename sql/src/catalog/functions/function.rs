//! What a function is, and the pieces that its calls become.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::Field;
use datafusion::sql::sqlparser::ast::{CastKind, DataType as SqlType, Expr, Ident, Spanned};

use crate::catalog::types::normalized;
use crate::file::Location;
use crate::text::Text;

/// A function, whose body may still call others.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) name_at: Location,
    pub(super) parameters: Vec<Parameter>,
    pub(super) returns: SqlType,
    pub(super) body: Expr,
    pub(super) text: Text,
}

#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) sql_type: SqlType,
    pub(super) field: Field,
}

impl Function {
    /// How it is called, for messages.
    pub(super) fn usage(&self) -> String {
        let parameters: Vec<String> =
            self.parameters.iter().map(|parameter| format!("{} {}", parameter.name, parameter.sql_type)).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }
}

/// The functions of all files, ready to be put in the place of their calls.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    /// By name; bodies call no other of them.
    pub(super) ready: BTreeMap<String, Function>,
    /// What is declared and wrong: who calls it is not to blame.
    pub(super) broken: BTreeSet<String>,
}

pub(super) fn cast(expression: Expr, sql_type: &SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expression), data_type: sql_type.clone(), array: false, format: None }
}

/// The place of an expression, where it has one.
pub(super) fn place(expression: &impl Spanned, text: &Text) -> Option<Location> {
    let span = expression.span();
    (span.start.line > 0).then(|| text.span(span))
}

/// A name that is called or used, as SQL reads it.
pub(super) fn read_name(name: &Ident) -> String {
    normalized(name)
}
