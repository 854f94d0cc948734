//! Formats of times. Here they are written with `%`. Those of PostgreSQL, Snowflake and Spark are letters, which would be taken for the text
//! itself; some of DuckDB's stand for something else.

use datafusion::common::Result;
use datafusion::sql::sqlparser::ast::{Expr, Function, FunctionArg, FunctionArgExpr, Value};

use super::super::pieces::refused;
use super::calls::{list, plain_arguments, rename, text};

/// Parts of a format and what they are here, the longest first.
type Parts = [(&'static str, &'static str)];

/// PostgreSQL's numbers, whose letters may be of either case.
const POSTGRES_NUMBERS: [(&str, &str); 17] = [
    ("HH24", "%H"),
    ("HH12", "%I"),
    ("YYYY", "%Y"),
    ("IYYY", "%G"),
    ("DDD", "%j"),
    ("FF3", "%3f"),
    ("FF6", "%6f"),
    ("YY", "%y"),
    ("MM", "%m"),
    ("DD", "%d"),
    ("HH", "%I"),
    ("MI", "%M"),
    ("SS", "%S"),
    ("MS", "%3f"),
    ("US", "%6f"),
    ("IW", "%V"),
    ("ID", "%u"),
];

/// PostgreSQL's words, whose case is that of the answer.
const POSTGRES_WORDS: [(&str, &str); 8] =
    [("FMMonth", "%B"), ("FMDay", "%A"), ("Mon", "%b"), ("Dy", "%a"), ("AM", "%p"), ("PM", "%p"), ("am", "%P"), ("pm", "%P")];

/// Spark's.
const SPARK: [(&str, &str); 14] = [
    ("SSSSSSSSS", "%9f"),
    ("SSSSSS", "%6f"),
    ("yyyy", "%Y"),
    ("SSS", "%3f"),
    ("MMM", "%b"),
    ("'T'", "T"),
    ("yy", "%y"),
    ("MM", "%m"),
    ("dd", "%d"),
    ("HH", "%H"),
    ("hh", "%I"),
    ("mm", "%M"),
    ("ss", "%S"),
    ("a", "%p"),
];

/// DuckDB's that stand for something else here, and the others that stand for the same.
const DUCKDB: [(&str, &str); 6] =
    [("%f", "%6f"), ("%g", "%3f"), ("%n", "%9f"), ("%x", "%Y-%m-%d"), ("%c", "%Y-%m-%d %H:%M:%S"), ("%%", "%%")];
const ALIKE: &str = "aAbBdHIjmMpSyYuwVUWGT-z";

/// Writes the format of a call as it is read here.
///
/// # Errors
/// A format that has no counterpart.
pub(super) fn translate(name: &str, function: &mut Function) -> Result<()> {
    let of_duckdb = match name {
        "strftime" => Some("to_char"),
        "strptime" => Some("to_timestamp"),
        "to_char" | "to_timestamp" | "to_date" | "date_format" => None,
        _ => return Ok(()),
    };
    let Some(arguments) = plain_arguments(function) else { return Ok(()) };
    let [_, format] = arguments.as_slice() else { return Ok(()) };
    let written = match (text(format), of_duckdb) {
        (Some(letters), Some(_)) => from_duckdb(letters, name == "strptime"),
        (None, Some(_)) => None,
        (Some(letters), None) if !letters.contains('%') => {
            let spark = letters.contains("MM") && (letters.contains("yyyy") || letters.contains("dd"));
            if name == "date_format" || spark {
                with_percent(letters, &[(&SPARK, true)])
            } else {
                with_percent(letters, &[(&POSTGRES_NUMBERS, false), (&POSTGRES_WORDS, true)])
            }
        }
        (_, None) => return Ok(()),
    };
    let Some(written) = written else {
        let help = "write it with % as a text: to_char(at, '%Y-%m-%d %H:%M:%S')";
        return Err(refused(format!("{format} is not a format of times here"), help, format));
    };
    if let Some(second) = list(function).and_then(|list| list.args.get_mut(1)) {
        *second = FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::value(Value::SingleQuotedString(written))));
    }
    if let Some(here) = of_duckdb {
        rename(function, here);
    }
    Ok(())
}

/// A format of letters, each known part with `%`; none where letters are left. Of each table is said whether case counts in it.
fn with_percent(letters: &str, tables: &[(&Parts, bool)]) -> Option<String> {
    let begins = |rest: &str, part: &str, exact: bool| {
        rest.get(..part.len()).is_some_and(|start| if exact { start == part } else { start.eq_ignore_ascii_case(part) })
    };
    let mut written = String::new();
    let mut rest = letters;
    while let Some(first) = rest.chars().next() {
        let known = tables.iter().find_map(|(parts, exact)| parts.iter().find(|(part, _)| begins(rest, part, *exact)));
        if let Some((part, percent)) = known {
            written.push_str(percent);
            rest = &rest[part.len()..];
            // `SSSS` is another part than `SS` twice.
            let goes_on =
                rest.chars().next().zip(part.chars().last()).is_some_and(|(next, last)| next.eq_ignore_ascii_case(&last));
            if goes_on && first.is_alphabetic() {
                return None;
            }
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

/// A format of DuckDB's; none where a part stands for nothing here.
fn from_duckdb(format: &str, parses: bool) -> Option<String> {
    let mut written = String::new();
    let mut rest = format;
    while let Some(first) = rest.chars().next() {
        if parses && let Some(after) = rest.strip_prefix(".%f") {
            written.push_str("%.f");
            rest = after;
        } else if let Some((part, here)) = DUCKDB.iter().find(|(part, _)| rest.starts_with(part)) {
            written.push_str(here);
            rest = &rest[part.len()..];
        } else if first == '%' {
            let part = rest[1..].chars().next().filter(|part| ALIKE.contains(*part))?;
            written.extend(['%', part]);
            rest = &rest[1 + part.len_utf8()..];
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
        let postgres = |letters: &str| with_percent(letters, &[(&POSTGRES_NUMBERS, false), (&POSTGRES_WORDS, true)]);
        for (letters, written) in [
            ("YYYY-MM-DD HH24:MI:SS", Some("%Y-%m-%d %H:%M:%S")),
            ("yyyy-mm-dd", Some("%Y-%m-%d")),
            ("dd.mm.yyyy", Some("%d.%m.%Y")),
            ("mm/dd/yyyy hh24:mi", Some("%m/%d/%Y %H:%M")),
            ("YYYY-MM-DD\"T\"HH24:MI:SS.MS", Some("%Y-%m-%dT%H:%M:%S.%3f")),
            ("DD Mon YYYY", Some("%d %b %Y")),
            ("YYYYMMDDHH24MISS", Some("%Y%m%d%H%M%S")),
            ("Q", None),
            ("SSSS", None),
            ("IDDD", None),
            ("YYYY-MM-DDTHH24", None),
        ] {
            assert_eq!(postgres(letters).as_deref(), written, "{letters}");
        }
        let spark = |letters: &str| with_percent(letters, &[(&SPARK, true)]);
        assert_eq!(spark("yyyy-MM-dd HH:mm:ss.SSSSSS").as_deref(), Some("%Y-%m-%d %H:%M:%S.%6f"));
        assert_eq!(spark("yyyy-MM-dd'T'HH:mm:ss").as_deref(), Some("%Y-%m-%dT%H:%M:%S"));
        assert_eq!(from_duckdb("%Y %f %g", false).as_deref(), Some("%Y %6f %3f"));
        assert_eq!(from_duckdb("%S.%f", true).as_deref(), Some("%S%.f"));
        assert_eq!(from_duckdb("%Q", false), None);
    }
}
