//! Paths into JSON as texts: `json_extract(body, '$.user.tags[0]')`.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Function, Value};

use super::calls::{argument, list, rename, scalar_arguments, text};
use super::templates::filled;

/// The functions. The first two give JSON, the others text.
const FUNCTIONS: [&str; 7] = [
    "json_extract",
    "json_query",
    "get_json_object",
    "json_extract_string",
    "json_extract_scalar",
    "json_extract_text",
    "json_value",
];

/// Whether a function of this name is among them.
pub(super) fn knows(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// The call with the path as arguments; none where the path is not written out, or holds more than names and numbers.
///
/// # Errors
/// Those of the parser: a bug.
pub(super) fn written(name: &str, function: &Function) -> Result<Option<Expr>> {
    let Some(as_text) = called(name, function, true) else { return Ok(None) };
    match (name, called(name, function, false)) {
        // Of a list or an object these give NULL.
        ("json_value" | "json_extract_scalar", Some(as_json)) => {
            let template = "CASE WHEN substr(ltrim($2), 1, 1) NOT IN ('{', '[') THEN $1 END";
            filled(template, vec![as_text, as_json]).map(Some)
        }
        ("json_extract" | "json_query", Some(as_json)) => Ok(Some(as_json)),
        _ => Ok(Some(as_text)),
    }
}

fn called(name: &str, function: &Function, as_text: bool) -> Option<Expr> {
    knows(name).then_some(())?;
    let arguments = scalar_arguments(function)?;
    let [body, path] = arguments.as_slice() else { return None };
    let steps = steps(text(path)?)?;
    let mut function = function.clone();
    rename(&mut function, if as_text { "json_as_text" } else { "json_get_json" });
    list(&mut function)?.args = std::iter::once(body.clone()).chain(steps).map(argument).collect();
    Some(Expr::Function(function))
}

/// The steps of `$.a.b[0]['c d']`, or of a single name.
fn steps(path: &str) -> Option<Vec<Expr>> {
    let named = |name: &str| Expr::value(Value::SingleQuotedString(name.to_owned()));
    let Some(mut rest) = path.strip_prefix('$') else {
        let plain = !path.is_empty() && path.chars().all(|c| c.is_alphanumeric() || c == '_');
        return plain.then(|| vec![named(path)]);
    };
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(name) = rest.strip_prefix('.') {
            let (name, after) = match name.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => {
                    let (name, after) = name.split_at(name.find(['.', '[']).unwrap_or(name.len()));
                    let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
                    plain.then_some((name, after))?
                }
            };
            steps.push(named(name));
            rest = after;
        } else {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            let quoted = index.strip_prefix(['\'', '"']).and_then(|index| index.strip_suffix(['\'', '"']));
            steps.push(match quoted {
                Some(name) => named(name),
                None => Expr::value(Value::Number(index.parse::<u32>().ok()?.to_string(), false)),
            });
            rest = after;
        }
    }
    (!steps.is_empty()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_steps() {
        let shown = |path: &str| steps(path).map(|steps| steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
        for (path, written) in [
            ("$.a.b", Some("'a' 'b'")),
            ("$.a[0]['c d']", Some("'a' 0 'c d'")),
            ("a", Some("'a'")),
            ("$", None),
            ("$..a", None),
            ("$.\"a.b\".c", Some("'a.b' 'c'")),
            ("$.a ? (@ > 1)", None),
            ("$.a[*]", None),
            ("/a/b", None),
        ] {
            assert_eq!(shown(path).as_deref(), written, "{path}");
        }
    }
}
