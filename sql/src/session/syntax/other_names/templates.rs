//! Functions that are an expression over their arguments, as a table of texts: `$1` is the first argument.

use std::collections::HashMap;
use std::sync::LazyLock;

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Function, SelectItem, SetExpr, Value};

use super::super::pieces;
use super::calls::{scalar_arguments, text};
use crate::walk::{Rewrite, Step, walk};

/// By name and number of arguments.
const TEMPLATES: [(&str, usize, &str); 38] = [
    ("if", 3, "CASE WHEN $1 THEN $2 ELSE $3 END"),
    ("iff", 3, "CASE WHEN $1 THEN $2 ELSE $3 END"),
    ("isnull", 1, "$1 IS NULL"),
    ("isnull", 2, "coalesce($1, $2)"),
    ("isnotnull", 1, "$1 IS NOT NULL"),
    ("zeroifnull", 1, "coalesce($1, 0)"),
    ("nullifzero", 1, "nullif($1, 0)"),
    ("equal_null", 2, "$1 IS NOT DISTINCT FROM $2"),
    ("div0", 2, "CASE WHEN $2 = 0 THEN 0 ELSE CAST($1 AS DOUBLE) / $2 END"),
    ("safe_divide", 2, "CAST($1 AS DOUBLE) / nullif($2, 0)"),
    ("mod", 2, "$1 % $2"),
    ("charindex", 2, "strpos($2, $1)"),
    ("locate", 2, "strpos($2, $1)"),
    ("split", 1, "CASE WHEN $1 = '' THEN make_array('') ELSE string_to_array($1, ',') END"),
    ("split", 2, SPLIT),
    ("string_split", 2, SPLIT),
    ("str_split", 2, SPLIT),
    ("size", 1, LENGTH),
    ("array_size", 1, LENGTH),
    ("to_varchar", 1, "CAST($1 AS VARCHAR)"),
    ("to_string", 1, "CAST($1 AS VARCHAR)"),
    ("date", 1, "CAST($1 AS DATE)"),
    ("year", 1, "date_part('year', $1)"),
    ("quarter", 1, "date_part('quarter', $1)"),
    ("month", 1, "date_part('month', $1)"),
    ("week", 1, "date_part('week', $1)"),
    ("weekofyear", 1, "date_part('week', $1)"),
    ("day", 1, "date_part('day', $1)"),
    ("dayofmonth", 1, "date_part('day', $1)"),
    ("dayofyear", 1, "date_part('doy', $1)"),
    ("hour", 1, "date_part('hour', $1)"),
    ("minute", 1, "date_part('minute', $1)"),
    ("second", 1, "CAST(floor(date_part('second', $1)) AS INT)"),
    ("epoch", 1, "date_part('epoch', $1)"),
    ("unix_timestamp", 1, "CAST(floor(date_part('epoch', $1)) AS BIGINT)"),
    ("last_day", 1, "CAST(date_trunc('month', $1) + INTERVAL '1 month' - INTERVAL '1 day' AS DATE)"),
    ("parse_timestamp", 2, "to_timestamp($2, $1)"),
    ("strcmp", 2, "CASE WHEN $1 = $2 THEN 0 WHEN $1 < $2 THEN -1 WHEN $1 > $2 THEN 1 END"),
];

/// An empty text has one part there.
const SPLIT: &str = "CASE WHEN $1 = '' THEN make_array('') ELSE string_to_array($1, $2) END";
/// Of the outer list; 0 of an empty one.
const LENGTH: &str = "coalesce(array_length($1), CASE WHEN $1 IS NOT NULL THEN 0 END)";
/// The longest argument, as a text, that an expression may hold more than once.
const LONGEST: usize = 10_000;

/// Whether a function of this name is among them.
pub(super) fn knows(name: &str) -> bool {
    TEMPLATES.iter().any(|(known, _, _)| *known == name)
}

/// The expression that a call stands for.
///
/// # Errors
/// Those of the parser: a template that is no expression, a bug.
pub(super) fn written(name: &str, function: &Function) -> Result<Option<Expr>> {
    let Some(arguments) = scalar_arguments(function) else { return Ok(None) };
    let known = TEMPLATES.iter().find(|(known, count, _)| *known == name && *count == arguments.len());
    if name.contains("split") && arguments.get(1).is_some_and(|separator| !is_separator(name, separator)) {
        return Ok(None);
    }
    known.map(|(_, _, template)| filled(template, arguments)).transpose()
}

/// Whether a separator is a text that all engines read alike: Spark reads patterns, and others split at each letter where it is empty.
fn is_separator(name: &str, separator: &Expr) -> bool {
    text(separator).is_some_and(|separator| {
        let plain = separator.chars().count() == 1 || !separator.contains(|c| r"\[](){}.*+?^$|".contains(c));
        !separator.is_empty() && (plain || name != "split")
    })
}

/// A template with its arguments.
///
/// # Errors
/// Those of the parser: a template that is no expression, a bug.
pub(super) fn filled(template: &str, arguments: Vec<Expr>) -> Result<Expr> {
    if let Some(long) = arguments.iter().find(|argument| argument.to_string().len() > LONGEST) {
        let help = "name a part of it in a subquery in FROM";
        return Err(pieces::refused("this expression is too long for the function that reads it", help, long));
    }
    let mut expression = parsed(template)?;
    let _ = walk(&mut expression, &mut Arguments(arguments));
    Ok(Expr::Nested(Box::new(expression)))
}

/// The expression of a template, which is parsed once.
fn parsed(template: &str) -> Result<Expr> {
    static PARSED: LazyLock<HashMap<&str, Expr>> = LazyLock::new(|| {
        let texts = TEMPLATES.iter().map(|(_, _, template)| *template);
        texts.filter_map(|template| Some((template, expression(template).ok()?))).collect()
    });
    match PARSED.get(template) {
        Some(expression) => Ok(expression.clone()),
        None => expression(template),
    }
}

fn expression(text: &str) -> Result<Expr> {
    let query = pieces::query(&format!("SELECT {text}"))?;
    if let SetExpr::Select(select) = *query.body
        && let Some(SelectItem::UnnamedExpr(expression)) = select.projection.into_iter().next()
    {
        return Ok(expression);
    }
    datafusion::common::internal_err!("no expression: {text}")
}

struct Arguments(Vec<Expr>);

impl Rewrite for Arguments {
    fn after_expression(&mut self, expression: &mut Expr) -> Step {
        if let Expr::Value(value) = expression
            && let Value::Placeholder(name) = &value.value
            && let Some(index) = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok())
            && let Some(argument) = index.checked_sub(1).and_then(|index| self.0.get(index))
        {
            *expression = match argument {
                plain @ (Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_) | Expr::Function(_)) => plain.clone(),
                other => Expr::Nested(Box::new(other.clone())),
            };
        }
        Step::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_an_expression() {
        for (name, _, template) in TEMPLATES {
            assert!(expression(template).is_ok(), "{name}: {template}");
        }
    }
}
