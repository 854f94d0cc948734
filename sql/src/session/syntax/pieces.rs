//! Pieces of syntax trees that the other modules put together, and refusals with their place.

use datafusion::common::{DataFusionError, Diagnostic, Span};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentList, FunctionArguments, Ident, ObjectName,
    Query, Spanned, Statement as SqlStatement,
};

use crate::dialect;

/// What cannot be read, at its place, and what to write.
pub(super) fn refused(message: impl Into<String>, help: impl Into<String>, at: &impl Spanned) -> DataFusionError {
    let message = message.into();
    let span = Span::try_from_sqlparser_span(at.span());
    let diagnostic = Diagnostic::new_error(message.clone(), span).with_help(help, None);
    DataFusionError::Plan(message).with_diagnostic(diagnostic)
}

/// A query from its text.
///
/// # Errors
/// Those of the parser.
pub(super) fn query(sql: &str) -> Result<Box<Query>, DataFusionError> {
    if let Statement::Statement(statement) = dialect::parse(sql)?
        && let SqlStatement::Query(query) = *statement
    {
        return Ok(query);
    }
    Err(DataFusionError::Internal(format!("no query: {sql}")))
}

/// `coalesce` of these values.
pub(super) fn coalesce(values: Vec<Expr>) -> Expr {
    let args = values.into_iter().map(|value| FunctionArg::Unnamed(FunctionArgExpr::Expr(value))).collect();
    Expr::Function(Function {
        name: ObjectName::from(Ident::new("coalesce")),
        uses_odbc_syntax: false,
        parameters: FunctionArguments::None,
        args: FunctionArguments::List(FunctionArgumentList { duplicate_treatment: None, args, clauses: Vec::new() }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    })
}

/// An operation, each side in parentheses.
pub(super) fn operation(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(Expr::Nested(Box::new(left))), op, right: Box::new(Expr::Nested(Box::new(right))) }
}

/// Several conditions that all hold; true for none.
pub(super) fn all(conditions: impl IntoIterator<Item = Expr>) -> Expr {
    conditions
        .into_iter()
        .reduce(|left, right| operation(left, BinaryOperator::And, right))
        .unwrap_or_else(|| Expr::value(datafusion::sql::sqlparser::ast::Value::Boolean(true)))
}

/// Adds a condition to the FILTER of an aggregate.
pub(super) fn also_where(function: &mut Function, condition: Expr) {
    let condition = match function.filter.take() {
        Some(filter) => Expr::BinaryOp {
            left: Box::new(Expr::Nested(filter)),
            op: BinaryOperator::And,
            right: Box::new(Expr::Nested(Box::new(condition))),
        },
        None => condition,
    };
    function.filter = Some(Box::new(condition));
}
