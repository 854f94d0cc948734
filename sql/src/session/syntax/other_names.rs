//! Functions of PostgreSQL, DuckDB, Snowflake, BigQuery and Spark that are here under another name. What has no counterpart, or several, is
//! answered by [`other_engines`](crate::other_engines).
//!
//! | module | there | here |
//! | --- | --- | --- |
//! | here | `list(x)`, `logical_and`, `first`, `strftime`, ... | `array_agg(x)`, `bool_and`, `first_value`, `to_char`: the same arguments |
//! | [`templates`] | `iff(c, a, b)`, `year(t)`, `safe_divide(x, y)`, ... | an expression over the arguments |
//! | [`aggregates`] | `arg_max(x, by)`, `count_if(c)`, `listagg(x) WITHIN GROUP (ORDER BY y)`, ... | an aggregate with ORDER BY or FILTER |
//! | [`dates`] | `date_diff('day', a, b)`, `dateadd(day, 1, t)`, `time_bucket(i, t)`, ... | arithmetic of times |
//! | [`json_paths`] | `json_extract(body, '$.a.b')`, `json_value`, ... | `body -> 'a' -> 'b'` |
//! | [`formats`] | `to_char(t, 'YYYY-MM-DD')`, `date_format(t, 'yyyy-MM-dd')` | the same with `'%Y-%m-%d'` |

mod aggregates;
mod calls;
mod dates;
mod formats;
mod json_paths;
mod templates;

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Function, Ident, Select, SelectItem};

use self::calls::{plain_name, rename};

/// Names that stand for another one, with the same arguments.
const ALIASES: [(&str, &str); 35] = [
    ("list", "array_agg"),
    ("list_agg", "array_agg"),
    ("arrayagg", "array_agg"),
    ("listagg", "string_agg"),
    ("every", "bool_and"),
    ("logical_and", "bool_and"),
    ("booland_agg", "bool_and"),
    ("logical_or", "bool_or"),
    ("boolor_agg", "bool_or"),
    ("arbitrary", "any_value"),
    ("first", "first_value"),
    ("last", "last_value"),
    ("approx_count_distinct", "approx_distinct"),
    ("approx_quantile", "approx_percentile_cont"),
    ("approx_percentile", "approx_percentile_cont"),
    ("percentile_approx", "approx_percentile_cont"),
    ("variance", "var_samp"),
    ("std", "stddev_samp"),
    ("len", "length"),
    ("ucase", "upper"),
    ("lcase", "lower"),
    ("ceiling", "ceil"),
    ("sign", "signum"),
    ("truncate", "trunc"),
    ("startswith", "starts_with"),
    ("endswith", "ends_with"),
    ("array_construct", "make_array"),
    ("list_value", "make_array"),
    ("explode", "unnest"),
    ("json_extract_path_text", "json_as_text"),
    ("jsonb_extract_path_text", "json_as_text"),
    ("json_extract_path", "json_get_json"),
    ("jsonb_extract_path", "json_get_json"),
    ("json_array_length", "json_length"),
    ("jsonb_array_length", "json_length"),
];

/// Gives columns that are such a call the name of the call as it is written.
pub(super) fn name(select: &mut Select) {
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expression) = item
            && matches!(expression, Expr::Function(call) if changes_its_form(call))
        {
            let alias = Ident::with_quote('"', expression.to_string());
            *item = SelectItem::ExprWithAlias { expr: expression.clone(), alias };
        }
    }
}

fn changes_its_form(call: &Function) -> bool {
    let Some(name) = plain_name(&call.name) else { return false };
    templates::knows(&name) || dates::knows(&name) || json_paths::knows(&name)
}

/// Writes a function of another engine as it is called here.
///
/// # Errors
/// A format of times that would be taken for a text.
pub(super) fn translate(expression: &mut Expr) -> Result<()> {
    let Expr::Function(function) = expression else { return Ok(()) };
    let Some(name) = plain_name(&function.name) else { return Ok(()) };
    formats::translate(&name, function)?;
    if aggregates::translate(&name, function) {
        return Ok(());
    }
    let mut written = templates::written(&name, function)?;
    if written.is_none() {
        written = dates::written(&name, function)?;
    }
    if written.is_none() {
        written = json_paths::written(&name, function)?;
    }
    if let Some(written) = written {
        *expression = written;
    } else if let Some((_, here)) = ALIASES.iter().find(|(there, _)| *there == name) {
        rename(function, here);
    }
    Ok(())
}
