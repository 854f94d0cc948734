//! The names of types in SQL, for messages.

use crate::names::{nearest, written};

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
    let mut found = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        let (before, from_word) = rest.split_at(start);
        found.push_str(before);
        // What stands in quotes is to be written as it is.
        let in_a_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '\'');
        let read = if in_a_word { None } else { of_type(from_word).or_else(|| literal(from_word)) };
        match read {
            Some((name, behind)) => {
                found.push_str(&name);
                rest = behind;
            }
            None => {
                let (word, after) = split_word(from_word);
                found.push_str(word);
                rest = after;
            }
        }
    }
    found.push_str(rest);
    found.replace("count(1)", "count(*)")
}

fn split_word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len()))
}

/// The type that a text begins with, and what stands behind it.
fn of_type(text: &str) -> Option<(String, &str)> {
    let (word, after) = split_word(text);
    let inside = after.strip_prefix('(');
    match (word, inside) {
        ("List" | "LargeList" | "ListView", Some(inside)) => {
            let (item, after) = of_type(inside.strip_prefix("non-null ").unwrap_or(inside))?;
            let after = &after[after.find(')')?..];
            Some((format!("{item}[]"), &after[1..]))
        }
        ("FixedSizeList", Some(inside)) => {
            let (_, item) = inside.split_once(" x ")?;
            let (item, after) = of_type(item.strip_prefix("non-null ").unwrap_or(item))?;
            let after = &after[after.find(')')?..];
            Some((format!("{item}[]"), &after[1..]))
        }
        ("Struct", Some(inside)) => {
            let (members, after) = members(inside)?;
            Some((format!("STRUCT<{}>", members.join(", ")), after))
        }
        ("Timestamp", Some(inside)) => {
            let (unit, after) = inside.split_once(')')?;
            let is_unit = ["s", "ms", "us", "µs", "ns"].contains(&unit.split(',').next()?);
            let zone = unit.contains(',');
            is_unit.then(|| ((if zone { "TIMESTAMP WITH TIME ZONE" } else { "TIMESTAMP" }).to_owned(), after))
        }
        ("Decimal128" | "Decimal256", Some(inside)) => {
            let (digits, after) = inside.split_once(')')?;
            // What a text or a float becomes beside a DECIMAL: nobody wrote these digits.
            let name = if digits == "38, 10" { "DECIMAL".to_owned() } else { format!("DECIMAL({digits})") };
            let is_type = digits.split(", ").count() == 2 && digits.chars().all(|c| c.is_ascii_digit() || ", -".contains(c));
            is_type.then_some((name, after))
        }
        ("Time32" | "Time64" | "Interval" | "Duration", Some(inside)) => {
            let (unit, after) = inside.split_once(')')?;
            let name = if word.starts_with("Time") { "TIME" } else { "INTERVAL" };
            unit.chars().all(|c| c.is_alphabetic()).then(|| (name.to_owned(), after))
        }
        (word, None) => sql_type(word).map(|name| (name.to_owned(), after)),
        _ => None,
    }
}

/// The members of a struct, up to its closing parenthesis.
fn members(mut text: &str) -> Option<(Vec<String>, &str)> {
    let mut members = Vec::new();
    while let Some(named) = text.strip_prefix('"') {
        let (name, after) = named.split_once("\": ")?;
        let (data_type, after) = of_type(after.strip_prefix("non-null ").unwrap_or(after))?;
        members.push(format!("{} {data_type}", written(name)));
        text = after.strip_prefix(", ").unwrap_or(after);
    }
    Some((members, text.strip_prefix(')')?))
}

/// The value of a literal that a text begins with, and what stands behind it.
fn literal(text: &str) -> Option<(String, &str)> {
    let (word, after) = split_word(text);
    let name = sql_type(word)?;
    let inside = after.strip_prefix('(')?;
    let close = if inside.starts_with('"') { "\")" } else { ")" };
    let end = inside.find(close)? + close.len();
    let value = inside[..end - 1].replace('"', "'");
    let value = if name == "DECIMAL" { format!("DECIMAL({value})") } else { value };
    Some((value, &inside[end..]))
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
        "Date32" | "Date64" => "DATE",
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
            ("sum(List(Struct(\"sku\": non-null Utf8, \"Qty\": Int32)))", "sum(STRUCT<sku VARCHAR, \"Qty\" INT>[])"),
            ("List(non-null List(Int64), field: 'element')", "BIGINT[][]"),
            ("Time64(ns) < Interval(MonthDayNano)", "TIME < INTERVAL"),
            ("Struct(\"a\": Timestamp(us, \"UTC\"))", "STRUCT<a TIMESTAMP WITH TIME ZONE>"),
            ("Utf8 to Decimal128(38, 10)", "VARCHAR to DECIMAL"),
            ("", ""),
        ] {
            assert_eq!(sql_types(written), read);
        }
    }
}
