//! Where the expressions that a message is about stand: the syntax tree, asked for the first that fits. Knows no types.

use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Query, Select, SetExpr, Spanned, Value,
};
use datafusion::sql::sqlparser::tokenizer::Span;

use crate::catalog::types::normalized;
use crate::walk::{Rewrite, Step, walk};

/// Columns by name, with their types as SQL writes them.
type Types = BTreeMap<String, String>;

/// The first expression, from the inside out, to which a rank above 0 is given, of those with the highest one.
fn best(query: &Query, rank: &mut dyn FnMut(&Expr) -> i32) -> Option<Span> {
    struct Best<'a> {
        rank: &'a mut dyn FnMut(&Expr) -> i32,
        found: Option<(i32, Span)>,
    }
    impl Rewrite for Best<'_> {
        fn after_expression(&mut self, expression: &mut Expr) -> Step {
            let rank = (self.rank)(expression);
            if rank > 0 && self.found.is_none_or(|(other, _)| rank > other) {
                self.found = Some((rank, expression.span()));
            }
            Step::Continue(())
        }
    }
    let mut best = Best { rank, found: None };
    let _ = walk(&mut query.clone(), &mut best);
    best.found.map(|(_, span)| span)
}

/// The operation with an operator whose sides can have two types, by SQL's names.
pub(super) fn operation(query: &Query, operator: &str, sides: (&str, &str), types: &Types) -> Option<Span> {
    best(query, &mut |expression| {
        let Expr::BinaryOp { left, op, right } = expression else { return 0 };
        let same = op.to_string().eq_ignore_ascii_case(operator);
        if same { 10 + fits(left, sides.0, types) + fits(right, sides.1, types) } else { 0 }
    })
}

/// The member that is asked of a list.
pub(super) fn member_of_list(query: &Query, types: &Types) -> Option<Span> {
    let mut member = None;
    best(query, &mut |expression| {
        if let Expr::CompoundIdentifier(parts) = expression {
            let is_list = |pair: &&[Ident]| types.get(&normalized(&pair[0])).is_some_and(|known| known.ends_with("[]"));
            member = member.or(parts.windows(2).find(is_list).map(|pair| pair[1].span));
        }
        0
    });
    member
}

/// Whether a side can have a type: 1 for a constant or a column of it, -1 for one of another, 0 where the text does not tell.
fn fits(side: &Expr, data_type: &str, types: &Types) -> i32 {
    let column = match side {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    if let Some(known) = column.and_then(|column| types.get(&normalized(column))) {
        return if known == data_type { 1 } else { -1 };
    }
    let Expr::Value(value) = side else { return 0 };
    let is_it = match &value.value {
        Value::Number(..) => ["BIGINT", "DOUBLE", "DECIMAL", "INT"].iter().any(|number| data_type.starts_with(number)),
        Value::SingleQuotedString(_) => data_type == "VARCHAR",
        Value::Boolean(_) => data_type == "BOOLEAN",
        _ => return 0,
    };
    if is_it { 1 } else { -1 }
}

/// The condition of a FILTER.
pub(super) fn filter(query: &Query) -> Option<Span> {
    let mut condition = None;
    best(query, &mut |expression| {
        if let Expr::Function(Function { filter: Some(filter), .. }) = expression {
            condition.get_or_insert(filter.span());
        }
        0
    });
    condition
}

/// The condition of HAVING in the first query that has one.
pub(super) fn having(query: &Query) -> Option<Span> {
    select_of(query)?.having.as_ref().map(Spanned::span)
}

/// A call that has another one in its arguments.
pub(super) fn nested_call(query: &Query, outer: &str, inner: &str) -> Option<Span> {
    let named = |call: &Function, name: &str| call.name.to_string().eq_ignore_ascii_case(name);
    best(query, &mut |expression| {
        let Expr::Function(call) = expression else { return 0 };
        let FunctionArguments::List(list) = &call.args else { return 0 };
        let holds = list.args.iter().any(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => holds_call(argument, inner),
            _ => false,
        });
        i32::from(named(call, outer) && holds)
    })
}

fn holds_call(expression: &Expr, name: &str) -> bool {
    struct Calls<'a>(&'a str, bool);
    impl Rewrite for Calls<'_> {
        fn after_expression(&mut self, expression: &mut Expr) -> Step {
            self.1 |= matches!(expression, Expr::Function(call) if call.name.to_string().eq_ignore_ascii_case(self.0));
            Step::Continue(())
        }
    }
    let mut calls = Calls(name, false);
    let _ = walk(&mut expression.clone(), &mut calls);
    calls.1
}

/// The aggregate in WHERE.
pub(super) fn aggregate_in_where(query: &Query) -> Option<Span> {
    const NAMES: [&str; 10] =
        ["sum", "count", "avg", "min", "max", "array_agg", "string_agg", "median", "first_value", "last_value"];
    in_where(query, |call| NAMES.iter().any(|name| call.name.to_string().eq_ignore_ascii_case(name)))
}

/// The window function in WHERE.
pub(super) fn window_in_where(query: &Query) -> Option<Span> {
    in_where(query, |call| call.over.is_some())
}

/// The first call in a WHERE of which something is true.
fn in_where(query: &Query, is_it: fn(&Function) -> bool) -> Option<Span> {
    struct Calls(fn(&Function) -> bool, Option<Span>);
    impl Rewrite for Calls {
        fn before_select(&mut self, select: &mut Select) -> Step {
            struct Inner<'a>(&'a mut Calls);
            impl Rewrite for Inner<'_> {
                fn after_expression(&mut self, expression: &mut Expr) -> Step {
                    if let Expr::Function(call) = expression
                        && (self.0.0)(call)
                    {
                        self.0.1 = self.0.1.or_else(|| Some(expression.span()));
                    }
                    Step::Continue(())
                }
            }
            if let Some(condition) = &mut select.selection {
                let _ = walk(condition, &mut Inner(self));
            }
            Step::Continue(())
        }
    }
    let mut calls = Calls(is_it, None);
    let _ = walk(&mut query.clone(), &mut calls);
    calls.1
}

/// The columns of a subquery that stands for a value and has several.
pub(super) fn several_columns(query: &Query) -> Option<Span> {
    let mut columns = None;
    best(query, &mut |expression| {
        if let Expr::Subquery(subquery) = expression
            && let Some(select) = select_of(subquery)
            && select.projection.len() > 1
        {
            let spans = select.projection.iter().map(Spanned::span);
            columns = columns.or(spans.reduce(|first, last| first.union(&last)));
        }
        0
    });
    columns
}

/// Whether a SELECT gives a column this name with AS.
pub(super) fn is_alias(query: &Query, name: &str) -> bool {
    use datafusion::sql::sqlparser::ast::SelectItem;
    struct Aliases<'a>(&'a str, bool);
    impl Rewrite for Aliases<'_> {
        fn before_select(&mut self, select: &mut Select) -> Step {
            self.1 |= select
                .projection
                .iter()
                .any(|item| matches!(item, SelectItem::ExprWithAlias { alias, .. } if alias.value.eq_ignore_ascii_case(self.0)));
            Step::Continue(())
        }
    }
    let mut aliases = Aliases(name, false);
    let _ = walk(&mut query.clone(), &mut aliases);
    aliases.1
}

fn select_of(query: &Query) -> Option<&Select> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::Query(query) => body = &query.body,
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return None,
        }
    }
}
