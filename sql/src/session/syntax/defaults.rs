//! `lag(x, 1, y)` with a default that each row has: where the row that is asked for is not there, the default. DataFusion 55.2 takes only
//! constants for it.

use datafusion::sql::sqlparser::ast::{
    CaseWhen, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments, Ident, NullTreatment,
    Select, SelectItem, Value, helpers::attached_token::AttachedToken,
};

/// Gives such calls in a SELECT the names that they have as they are written.
pub(super) fn name(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(Expr::Function(call)) = item
            && default_of(call).is_some()
        {
            let alias = Ident::with_quote('"', call.to_string());
            *item = SelectItem::ExprWithAlias { expr: Expr::Function(call.clone()), alias };
        }
    }
}

/// Writes such a call as a CASE over one without the default.
pub(super) fn write_out(expression: &mut Expr) {
    let Expr::Function(call) = expression else { return };
    let Some(default) = default_of(call) else { return };
    let mut without = call.clone();
    let FunctionArguments::List(list) = &mut without.args else { return };
    list.args.truncate(2);
    let mut there = without.clone();
    if !ignores_nulls(call)
        && let FunctionArguments::List(list) = &mut there.args
        && let Some(first) = list.args.first_mut()
    {
        *first = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::Boolean(true))));
    }
    let is_missing = Expr::IsNull(Box::new(Expr::Function(there)));
    *expression = Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition: is_missing, result: default }],
        else_result: Some(Box::new(Expr::Function(without))),
    };
}

/// The default of LAG or LEAD, where it is no constant.
fn default_of(call: &Function) -> Option<Expr> {
    let named = ["lag", "lead"].iter().any(|name| call.name.to_string().eq_ignore_ascii_case(name));
    let FunctionArguments::List(list) = &call.args else { return None };
    let [_, _, FunctionArg::Unnamed(FunctionArgExpr::Expr(default))] = list.args.as_slice() else { return None };
    let constant = match default {
        Expr::Value(_) => true,
        Expr::UnaryOp { expr, .. } => matches!(expr.as_ref(), Expr::Value(_)),
        _ => false,
    };
    (named && call.over.is_some() && !constant).then(|| default.clone())
}

fn ignores_nulls(call: &Function) -> bool {
    let in_arguments = match &call.args {
        FunctionArguments::List(list) => {
            list.clauses.contains(&FunctionArgumentClause::IgnoreOrRespectNulls(NullTreatment::IgnoreNulls))
        }
        _ => false,
    };
    in_arguments || call.null_treatment == Some(NullTreatment::IgnoreNulls)
}
