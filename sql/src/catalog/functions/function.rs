//! A function, and the pieces that replace its calls.

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
    /// Its statement, without the semicolon.
    pub(crate) fn statement(&self) -> &str {
        self.text.sql()
    }

    /// Returns how to call it, for messages.
    pub(super) fn usage(&self) -> String {
        let parameters: Vec<String> =
            self.parameters.iter().map(|parameter| format!("{} {}", parameter.name, parameter.sql_type)).collect();
        format!("{}({})", self.name, parameters.join(", "))
    }
}

/// The functions of all files, ready to replace their calls.
#[derive(Debug, Default)]
pub(crate) struct Functions {
    /// By name. Their bodies call none of each other.
    pub(super) ready: BTreeMap<String, Function>,
    /// Functions with an invalid declaration. Whoever calls one is not to blame.
    pub(super) broken: BTreeSet<String>,
}

pub(super) fn cast(expression: Expr, sql_type: &SqlType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expression), data_type: sql_type.clone(), array: false, format: None }
}

/// Returns the place of an expression, if it has one.
pub(super) fn place(expression: &impl Spanned, text: &Text) -> Option<Location> {
    let span = expression.span();
    (span.start.line > 0).then(|| text.span(span))
}

/// Returns a name that is called or used, as SQL reads it.
pub(super) fn read_name(name: &Ident) -> String {
    normalized(name)
}
