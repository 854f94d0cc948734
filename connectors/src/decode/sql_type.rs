//! The names of types as people write them in SQL, for messages.

use std::fmt;

use arrow::datatypes::{DataType, TimeUnit};

/// Shows a type as SQL.
pub(crate) struct SqlType<'t>(pub(crate) &'t DataType);

impl fmt::Display for SqlType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            DataType::Null => "NULL",
            DataType::Boolean => "BOOLEAN",
            DataType::Int8 => "TINYINT",
            DataType::Int16 => "SMALLINT",
            DataType::Int32 => "INT",
            DataType::Int64 => "BIGINT",
            DataType::UInt8 => "TINYINT UNSIGNED",
            DataType::UInt16 => "SMALLINT UNSIGNED",
            DataType::UInt32 => "INT UNSIGNED",
            DataType::UInt64 => "BIGINT UNSIGNED",
            DataType::Float16 | DataType::Float32 => "REAL",
            DataType::Float64 => "DOUBLE",
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR",
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BYTEA",
            DataType::Date32 | DataType::Date64 => "DATE",
            DataType::Interval(_) | DataType::Duration(_) => "INTERVAL",
            DataType::Decimal32(precision, scale)
            | DataType::Decimal64(precision, scale)
            | DataType::Decimal128(precision, scale)
            | DataType::Decimal256(precision, scale) => return write!(f, "DECIMAL({precision}, {scale})"),
            DataType::Time32(unit) | DataType::Time64(unit) => return f.write_str(with_digits("TIME", *unit)),
            DataType::Timestamp(unit, None) => return f.write_str(with_digits("TIMESTAMP", *unit)),
            DataType::Timestamp(unit, Some(_)) => {
                return write!(f, "{} WITH TIME ZONE", with_digits("TIMESTAMP", *unit));
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => return write!(f, "{}[]", SqlType(item.data_type())),
            DataType::Dictionary(_, values) => return SqlType(values).fmt(f),
            DataType::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (index, field) in fields.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}{} {}", field.name(), SqlType(field.data_type()))?;
                }
                return f.write_str(">");
            }
            DataType::Map(entries, _) => {
                if let DataType::Struct(pair) = entries.data_type()
                    && let [key, value] = pair.as_ref()
                {
                    return write!(f, "MAP({}, {})", SqlType(key.data_type()), SqlType(value.data_type()));
                }
                "MAP"
            }
            other => return other.fmt(f),
        };
        f.write_str(name)
    }
}

/// Adds the number of fraction digits, which nanoseconds go without.
fn with_digits(name: &'static str, unit: TimeUnit) -> &'static str {
    match (name, unit) {
        ("TIME", TimeUnit::Second) => "TIME(0)",
        ("TIME", TimeUnit::Millisecond) => "TIME(3)",
        ("TIME", TimeUnit::Microsecond) => "TIME(6)",
        ("TIME", TimeUnit::Nanosecond) => "TIME",
        (_, TimeUnit::Second) => "TIMESTAMP(0)",
        (_, TimeUnit::Millisecond) => "TIMESTAMP(3)",
        (_, TimeUnit::Microsecond) => "TIMESTAMP(6)",
        (_, TimeUnit::Nanosecond) => "TIMESTAMP",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn types_are_named_as_people_write_them() {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Decimal128(10, 2), true)));
        let fields = vec![Field::new("a", list, true), Field::new("b", DataType::Timestamp(TimeUnit::Second, None), true)];
        assert_eq!(SqlType(&DataType::Struct(fields.into())).to_string(), "STRUCT<a DECIMAL(10, 2)[], b TIMESTAMP(0)>");
        let zoned = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
        assert_eq!(SqlType(&zoned).to_string(), "TIMESTAMP(3) WITH TIME ZONE");
        assert_eq!(SqlType(&DataType::Time64(TimeUnit::Microsecond)).to_string(), "TIME(6)");
        assert_eq!(SqlType(&DataType::Utf8View).to_string(), "VARCHAR");
    }
}
