//! Formats of times. Here they are written with `%`; those of PostgreSQL, Snowflake and Spark are letters, which would be taken for the text itself.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, Value};

use super::super::pieces::refused;
use super::calls::{list, plain_arguments, text};

/// The parts of PostgreSQL's formats, the longest first.
const OF_POSTGRES: [(&str, &str); 24] = [
    ("FMMonth", "%B"),
    ("FMDay", "%A"),
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("YYYY", "%Y"),
    ("IYYY", "%G"),
    ("DDD", "%j"),
    ("Mon", "%b"),
    ("YY", "%y"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("Dy", "%a"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("IW", "%V"),
    ("AM", "%p"),
    ("PM", "%p"),
    ("ID", "%u"),
    ("FF3", "%3f"),
    ("FF6", "%6f"),
    ("T", "T"),
];

/// The parts of Spark's formats.
const OF_SPARK: [(&str, &str); 12] = [
    ("yyyy", "%Y"),
    ("SSS", "%3f"),
    ("MMM", "%b"),
    ("yy", "%y"),
    ("MM", "%m"),
    ("dd", "%d"),
    ("HH", "%H"),
    ("hh", "%I"),
    ("mm", "%M"),
    ("ss", "%S"),
    ("a", "%p"),
    ("'T'", "T"),
];

/// Writes the format of a call with `%`.
///
/// # Errors
/// A format of letters that has no counterpart.
pub(super) fn translate(name: &str, function: &mut Function) -> Result<()> {
    let tables: &[&[(&str, &str)]] = match name {
        "to_char" | "to_timestamp" | "to_date" => &[&OF_POSTGRES, &OF_SPARK],
        "date_format" => &[&OF_SPARK, &OF_POSTGRES],
        _ => return Ok(()),
    };
    let Some(arguments) = plain_arguments(function) else { return Ok(()) };
    let [_, format] = arguments.as_slice() else { return Ok(()) };
    let Some(letters) = text(format).filter(|format| !format.contains('%')) else { return Ok(()) };
    let Some(written) = tables.iter().find_map(|table| with_percent(letters, table)) else {
        let help = "write it with %, as in '%Y-%m-%d %H:%M:%S'";
        return Err(refused(format!("'{letters}' is not a format of times here"), help, format));
    };
    if let Some(second) = list(function).and_then(|list| list.args.get_mut(1)) {
        *second = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::SingleQuotedString(written))));
    }
    Ok(())
}

/// A format of letters, each known one with `%`; none where letters are left.
fn with_percent(letters: &str, table: &[(&str, &str)]) -> Option<String> {
    let mut written = String::new();
    let mut rest = letters;
    while let Some(first) = rest.chars().next() {
        if let Some((part, percent)) = table.iter().find(|(part, _)| rest.starts_with(part)) {
            written.push_str(percent);
            rest = &rest[part.len()..];
        } else if first == '"' {
            // What stands in quotes is the text itself.
            let (quoted, after) = rest[1..].split_once('"')?;
            written.push_str(quoted);
            rest = after;
        } else if first.is_alphabetic() {
            return None;
        } else {
            written.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_written_with_percent() {
        for (letters, written) in [
            ("YYYY-MM-DD HH24:MI:SS", Some("%Y-%m-%d %H:%M:%S")),
            ("YYYY-MM-DD\"T\"HH24:MI:SS.MS", Some("%Y-%m-%dT%H:%M:%S.%3f")),
            ("DD Mon YYYY", Some("%d %b %Y")),
            ("Q", None),
        ] {
            assert_eq!(with_percent(letters, &OF_POSTGRES).as_deref(), written, "{letters}");
        }
        assert_eq!(with_percent("yyyy-MM-dd HH:mm:ss", &OF_SPARK).as_deref(), Some("%Y-%m-%d %H:%M:%S"));
    }
}
