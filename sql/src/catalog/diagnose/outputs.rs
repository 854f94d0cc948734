//! Where a SELECT gives a column its name.

use datafusion::sql::sqlparser::ast::{Expr, Query, SelectItem, SetExpr};

use crate::catalog::types::normalized;
use crate::file::Location;
use crate::text::Text;

/// Where the last column of this name stands in the outermost SELECT, or the `*` that gives it.
pub(super) fn output(query: &Query, name: &str, text: &Text) -> Option<Location> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let wildcard = select.projection.iter().rev().find_map(|item| match item {
        SelectItem::Wildcard(options) => Some(options.wildcard_token.0.span),
        _ => None,
    });
    let mut spans = select.projection.iter().filter_map(|item| {
        let named = match item {
            SelectItem::ExprWithAlias { alias, .. } => alias,
            SelectItem::UnnamedExpr(Expr::Identifier(column)) => column,
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last()?,
            _ => return None,
        };
        (normalized(named) == name).then_some(named.span)
    });
    spans.next_back().or(wildcard).map(|span| text.span(span))
}
