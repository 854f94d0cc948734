//! DataFusion's messages in the words of someone who writes SQL, with what to write instead. Knows no places.

use datafusion::common::DataFusionError;

use crate::other_engines;
use crate::type_names::{nearest_type, sql_types};

/// What is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// What is wrong; lower case.
    pub message: String,
    /// What to write instead, if something better is known.
    pub help: Option<String>,
}

/// Rewords an error of planning or running a query.
#[must_use]
pub fn of_error(error: &DataFusionError) -> Wording {
    of_message(&error.find_root().strip_backtrace())
}

/// Rewords a message of DataFusion's or Arrow's, without the kinds of error in front of it.
pub(crate) fn of_message(message: &str) -> Wording {
    let message = without_kinds(message.trim());
    of_values(message)
        .or_else(|| of_types(message))
        .or_else(|| of_calls(message))
        .or_else(|| of_grammar(message))
        .or_else(|| of_shapes(message))
        .unwrap_or_else(|| Wording { message: first_lower(sql_types(message).trim()), help: None })
}

fn wording(message: impl Into<String>, help: impl Into<String>) -> Option<Wording> {
    Some(Wording { message: message.into(), help: Some(help.into()) })
}

/// Rewords errors about values that an expression cannot take.
fn of_values(message: &str) -> Option<Wording> {
    if message.contains("Divide by zero") {
        return wording("a division by zero", "divide by nullif(x, 0): the answer is NULL where x is 0");
    }
    let cast = message.strip_prefix("Cannot cast string ").and_then(|rest| rest.split_once(" to value of "));
    let cast = cast.or_else(|| message.strip_prefix("Can't cast value ").and_then(|rest| rest.split_once(" to type ")));
    if let Some((value, data_type)) = cast {
        let data_type = sql_types(data_type.trim_end_matches(" type"));
        return wording(
            format!("the value {value} cannot be cast to {data_type}"),
            format!("write TRY_CAST(... AS {data_type}) for NULL where a value does not fit"),
        );
    }
    if let Some((value, why)) = message.strip_prefix("Error parsing timestamp from ").and_then(|rest| rest.split_once(": ")) {
        return wording(
            format!("{value} cannot be read as a timestamp: {why}"),
            "write it as '2026-01-31 12:00:00'; TRY_CAST(... AS TIMESTAMP) gives NULL for what does not fit",
        );
    }
    if message.starts_with("Unsupported interval argument") {
        return wording(
            "INTERVAL is followed by no length of time",
            "write INTERVAL '10 minutes'; for a column of that name write \"interval\"",
        );
    }
    if message.contains("for type interval") {
        return wording(
            first_lower(&message.replace("Invalid input syntax for type interval:", "an interval cannot be")),
            "write INTERVAL '10 minutes'; units are second, minute, hour, day, week, month and year",
        );
    }
    if message.contains("verflow happened on") {
        return wording(first_lower(message), "cast one side to a larger type first: CAST(x AS DECIMAL(38, 0))");
    }
    None
}

/// Rewords errors about types that do not fit.
fn of_types(message: &str) -> Option<Wording> {
    if let Some(written) = message.strip_prefix("Unsupported SQL type ") {
        let here = other_engines::data_type(written).map(|here| format!("write {here}"));
        return wording(format!("no type is named {written}"), here.unwrap_or_else(|| nearest_type(written)));
    }
    let pair = message
        .strip_prefix("Cannot coerce arithmetic expression ")
        .and_then(|rest| rest.strip_suffix(" to valid types"))
        .or_else(|| {
            message
                .strip_prefix("Cannot infer common argument type for ")
                .and_then(|rest| rest.split_once("operation ")?.1.into())
        });
    if let Some(pair) = pair {
        return wording(format!("the types of {} do not go together", sql_types(pair)), "cast one side: CAST(x AS type)");
    }
    if message.starts_with("Unexpected argument type to 'json_") && message.contains("got Struct(") {
        return wording("-> and ->> read JSON text, and this is a STRUCT", "write a dot: data.member");
    }
    if let Some(rest) = message.strip_prefix("Cannot access field at argument ")
        && let Some((_, data_type)) = rest.split_once(": type ")
        && let Some(data_type) = data_type.strip_suffix(" is not Struct, Map, or Null")
    {
        let data_type = sql_types(data_type);
        let help = match data_type.ends_with("[]") {
            true => "write a number first, as in items[1].member, or make a row of each: FROM t, UNNEST(t.items) AS i(item)",
            false => "only a STRUCT has members",
        };
        return wording(format!("this is of type {data_type}, which has no members"), help);
    }
    if let Some((from, _)) = message.strip_prefix("Cannot automatically convert ").and_then(|rest| rest.split_once(" to Boolean"))
    {
        return wording(
            format!("a condition is true or false, and this is of type {}", sql_types(from)),
            "compare it with something, or write IS NOT NULL after it",
        );
    }
    if let Some(rest) = message.strip_prefix("Incompatible inputs for Union: Previous inputs were of type ")
        && let Some((first, rest)) = rest.split_once(", but got incompatible type ")
        && let Some((other, column)) = rest.split_once(" on column ")
    {
        return wording(
            format!(
                "the column {} of UNION is {} on one side and {} on the other",
                column.trim_matches('\''),
                sql_types(first),
                sql_types(other)
            ),
            "cast one side: CAST(x AS type)",
        );
    }
    if let Some(rest) = message.strip_prefix("Cannot create filter with non-boolean predicate ")
        && let Some((predicate, data_type)) = rest.rsplit_once(" returning ")
    {
        return wording(
            format!(
                "a condition is true or false, and {} is of type {}",
                sql_types(predicate.trim_matches('\'')),
                sql_types(data_type)
            ),
            "compare it with something, or write IS NOT NULL after it",
        );
    }
    None
}

/// Calls of functions with arguments that they do not take.
fn of_calls(message: &str) -> Option<Wording> {
    let (_, call) = message.split_once("No function matches the given name and argument types '")?;
    let (call, rest) = call.split_once('\'')?;
    let call = sql_types(call);
    let told = format!("there is no {call}");
    if let Some((name @ ("date_part" | "date_trunc" | "date_bin"), arguments)) = call.split_once('(')
        && ["TIMESTAMP", "DATE", "TIME"].iter().any(|time| arguments.starts_with(time))
    {
        let first = if name == "date_bin" { "INTERVAL '15 minutes'" } else { "'hour'" };
        return wording(told, format!("the time comes last: {name}({first}, at)"));
    }
    let mut known: Vec<String> = Vec::new();
    for line in rest.lines().filter_map(|line| line.strip_prefix('\t')).filter(|line| !line.starts_with("Candidate")) {
        let line = classes_of_types(&sql_types(line));
        // A function that checks its arguments by itself does not say which they are.
        if !line.contains("UserDefined") && !known.contains(&line) {
            known.push(line);
        }
    }
    known.truncate(6);
    let help = match known.is_empty() {
        true => "cast the arguments, CAST(x AS type), or give it as many as it takes".to_owned(),
        false => format!("there are {}; cast what does not fit: CAST(x AS type)", known.join(", ")),
    };
    wording(told, help)
}

/// The words of signatures for several types.
fn classes_of_types(signature: &str) -> String {
    let Some((name, arguments)) = signature.split_once('(') else { return signature.to_owned() };
    let arguments = arguments.trim_end_matches(')').split(", ").map(|argument| match argument {
        "String" => "VARCHAR",
        "Integer" => "BIGINT",
        "Float" => "DOUBLE",
        "Numeric" => "DECIMAL",
        "Date" => "DATE",
        "Time" => "TIME",
        "Interval" | "Duration" => "INTERVAL",
        other => other,
    });
    format!("{name}({})", arguments.collect::<Vec<_>>().join(", "))
}

/// Rewords errors about something in a place where it is not allowed.
fn of_grammar(message: &str) -> Option<Wording> {
    if message.contains("not allowed in the WHERE clause") && message.starts_with("Aggregate") {
        return wording("WHERE is asked of each row, before rows are aggregated", "write HAVING after GROUP BY");
    }
    if message.starts_with("Window functions are not allowed") || message.contains("window functions are not allowed") {
        return wording(first_lower(message), "compute it in a subquery, and filter around it");
    }
    if message.starts_with("Substring without for/from is not valid") {
        return wording("substr needs to know where to begin", "write substr(text, from) or substr(text, from, length)");
    }
    if ["INSERT ", "UPDATE ", "DELETE ", "MERGE "].iter().any(|verb| message.starts_with(&format!("Query {verb}"))) {
        return wording(
            "a view is a query: it cannot write",
            "write CREATE MATERIALIZED VIEW name AS SELECT ...; to change rows, publish an event to the stream",
        );
    }
    if let Some(operator) = message.strip_suffix(" queries have different number of columns") {
        return wording(
            format!("the sides of {operator} select different numbers of columns"),
            "select as many columns on each side; NULL AS name fills one in",
        );
    }
    if let Some((column, _)) = message.split_once("' must appear in GROUP BY clause") {
        let column = sql_types(column.trim_start_matches('\''));
        return wording(
            format!("{column} is neither in GROUP BY nor in an aggregate"),
            format!("add it to GROUP BY, or say which value of the group is meant: max({column}), any_value({column})"),
        );
    }
    if let Some((condition, _)) =
        message.strip_prefix("HAVING clause references: ").and_then(|rest| rest.split_once(" must appear in the GROUP BY"))
    {
        return wording(
            format!(
                "HAVING is asked of each group, and {} reads what is neither in GROUP BY nor in an aggregate",
                sql_types(condition)
            ),
            "write WHERE for a condition of each row, or aggregate in it",
        );
    }
    if message.starts_with("Too many columns! The subquery") {
        return wording("a subquery that stands for a value has one column, and this one has more", "select one column");
    }
    if message.starts_with("Aggregate function calls cannot be nested") {
        return wording(
            "an aggregate cannot stand in the arguments of another one",
            "aggregate in a subquery in FROM, and aggregate its rows around it",
        );
    }
    None
}

/// Queries of a form that DataFusion reads and has no plan for. Its words for them are a syntax tree.
fn of_shapes(message: &str) -> Option<Wording> {
    const OTHERWISE: &str = "write it otherwise; what is not there yet stands in the README";
    let unresolved =
        message.starts_with("No field named ") && (message.contains("__correlated_sq") || message.contains("__scalar_sq"));
    if unresolved
        || message.contains("does not support logical expression OuterReferenceColumn")
        || message.contains("outer_ref(")
    {
        return wording(
            "a subquery reads a column of a query around it in a way that has no plan yet",
            "join the relation of the subquery, and aggregate or rank its rows by what they are joined on",
        );
    }
    if message.contains("does not support logical expression") {
        return wording(
            "EXISTS, IN (SELECT ...) and subqueries of one value have no plan where this one stands",
            "compute it as a column of a subquery in FROM, and use the column",
        );
    }
    let is_debug = ["Ident {", "Span(", "Field {", "Column {", "TokenWithSpan"].iter().any(|part| message.contains(part));
    if !is_debug {
        return None;
    }
    let said = message.split(['{', '[', '(']).next().unwrap_or_default().trim().trim_end_matches(':');
    let said = said.replace("ast node", "part").replace("in sqltorel", "");
    wording(format!("this form of a query has no plan: {}", first_lower(&said)), OTHERWISE)
}

/// Strips the kinds of error that DataFusion and Arrow put in front of their messages.
pub(crate) fn without_kinds(mut message: &str) -> &str {
    const KINDS: [&str; 12] = [
        "Error during planning: ",
        "This feature is not implemented: ",
        "Schema error: ",
        "SQL error: ",
        "Execution error: ",
        "Arrow error: ",
        "Parser error: ",
        "Cast error: ",
        "Compute error: ",
        "Invalid argument error: ",
        "Arithmetic overflow: ",
        "Optimizer rule 'simplify_expressions' failed\ncaused by\n",
    ];
    while let Some(rest) = KINDS.iter().find_map(|kind| message.strip_prefix(kind)) {
        message = rest;
    }
    message
}

/// Makes the first letter of a text lower case, unless the first word is in capitals.
pub(crate) fn first_lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(text[first.len_utf8()..].chars()).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_write() {
        for (message, said, help) in [
            ("Arrow error: Divide by zero error", "a division by zero", "nullif"),
            (
                "Arrow error: Cast error: Cannot cast string 'abc' to value of Int32 type",
                "the value 'abc' cannot be cast to INT",
                "TRY_CAST(... AS INT)",
            ),
            ("Cast error: Can't cast value 300 to type Int8", "the value 300 cannot be cast to TINYINT", "TRY_CAST"),
            ("Error during planning: Unsupported SQL type VARCHR", "no type is named VARCHR", "did you mean VARCHAR?"),
            (
                "Error during planning: Cannot coerce arithmetic expression Int64 + Utf8 to valid types",
                "the types of BIGINT + VARCHAR do not go together",
                "CAST",
            ),
            (
                "Cannot infer common argument type for comparison operation Timestamp(ns) > Int64",
                "the types of TIMESTAMP > BIGINT do not go together",
                "CAST",
            ),
            (
                "Internal error: Function 'sum' failed to match any signature. No function matches the given name and argument types \
                 'sum(Utf8)'. You might need to add explicit type casts.\n\tCandidate functions:\n\tsum(Decimal)\n\tsum(Int64)",
                "there is no sum(VARCHAR)",
                "there are sum(DECIMAL), sum(BIGINT)",
            ),
            ("Error during planning: Something Else", "something Else", ""),
        ] {
            let worded = of_message(message);
            assert_eq!(worded.message, said);
            assert!(worded.help.clone().unwrap_or_default().contains(help), "{message}: {worded:?}");
        }
    }
}
