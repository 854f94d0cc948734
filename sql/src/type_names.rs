//! The names of types in SQL, for messages.

use crate::names::nearest;

/// Returns what to write instead of an unknown type.
pub(crate) fn nearest_type(name: &str) -> String {
    nearest(name, TYPE_NAMES)
        .map_or_else(|| format!("types are {}", TYPE_NAMES.join(", ")), |near| format!("did you mean {near}?"))
}

pub(crate) const TYPE_NAMES: [&str; 19] = [
    "BOOLEAN",
    "TINYINT",
    "SMALLINT",
    "INT",
    "INTEGER",
    "BIGINT",
    "FLOAT",
    "REAL",
    "DOUBLE",
    "DECIMAL",
    "NUMERIC",
    "VARCHAR",
    "TEXT",
    "STRING",
    "BYTEA",
    "DATE",
    "TIME",
    "TIMESTAMP",
    "STRUCT",
];

/// Replaces Arrow's type names in a text by SQL's, and strips the type from literals: `Int64(1)` becomes 1.
pub(crate) fn sql_types(text: &str) -> String {
    let mut written = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let (before, word) = rest.split_at(start);
        written.push_str(before);
        let end = word.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        // Quoted text stays as it is.
        let in_a_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '\'');
        let name = if in_a_word { None } else { sql_type(word) };
        let close = if after.starts_with("(\"") { "\")" } else { ")" };
        let arguments = after.strip_prefix('(').and_then(|inner| {
            let end = inner.find(close)? + close.len();
            Some((&inner[..end - 1], &inner[end..]))
        });
        rest = after;
        match (name, arguments) {
            (Some("TIMESTAMP"), Some((unit, behind))) => {
                written.push_str(if unit.contains(',') { "TIMESTAMP WITH TIME ZONE" } else { "TIMESTAMP" });
                rest = behind;
            }
            (Some("DECIMAL"), _) | (Some(_), None) => written.push_str(name.unwrap_or(word)),
            (Some(_), Some((value, behind))) => {
                written.push_str(&value.replace('"', "'"));
                rest = behind;
            }
            (None, _) => written.push_str(word),
        }
    }
    written.push_str(rest);
    written.replace("count(1)", "count(*)")
}

fn sql_type(arrow: &str) -> Option<&'static str> {
    Some(match arrow {
        "Utf8" | "LargeUtf8" | "Utf8View" => "VARCHAR",
        "Boolean" => "BOOLEAN",
        "Int8" => "TINYINT",
        "Int16" => "SMALLINT",
        "Int32" => "INT",
        "Int64" => "BIGINT",
        "UInt8" => "TINYINT UNSIGNED",
        "UInt16" => "SMALLINT UNSIGNED",
        "UInt32" => "INT UNSIGNED",
        "UInt64" => "BIGINT UNSIGNED",
        "Float32" => "REAL",
        "Float64" => "DOUBLE",
        "Decimal" | "Decimal128" | "Decimal256" => "DECIMAL",
        "Date32" => "DATE",
        "Timestamp" => "TIMESTAMP",
        "Binary" | "LargeBinary" | "BinaryView" => "BYTEA",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_sql() {
        for (written, read) in [
            ("Int64 + Utf8View", "BIGINT + VARCHAR"),
            ("count(Int64(1)) > Int64(-3)", "count(*) > -3"),
            ("orders.country = Utf8(\"DE (a)\")", "orders.country = 'DE (a)'"),
            ("Timestamp(ns) > Decimal128(12, 2)", "TIMESTAMP > DECIMAL(12, 2)"),
            ("Timestamp(ns, \"+00:00\")", "TIMESTAMP WITH TIME ZONE"),
            ("my_Int64 and Int64s", "my_Int64 and Int64s"),
            ("größe = Boolean(true)", "größe = true"),
            ("", ""),
        ] {
            assert_eq!(sql_types(written), read);
        }
    }
}
