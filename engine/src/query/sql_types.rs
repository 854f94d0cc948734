//! The SQL names of the types of a view's columns, as a declaration of a source would write them.

use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

/// Returns the SQL name of a type.
#[must_use]
pub fn sql_name(data_type: &DataType) -> String {
    use DataType as T;
    match data_type {
        T::Boolean => "BOOLEAN".to_owned(),
        T::Int8 => "TINYINT".to_owned(),
        T::Int16 => "SMALLINT".to_owned(),
        T::Int32 => "INT".to_owned(),
        T::Int64 => "BIGINT".to_owned(),
        T::UInt8 => "TINYINT UNSIGNED".to_owned(),
        T::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        T::UInt32 => "INT UNSIGNED".to_owned(),
        T::UInt64 => "BIGINT UNSIGNED".to_owned(),
        T::Float16 | T::Float32 => "REAL".to_owned(),
        T::Float64 => "DOUBLE".to_owned(),
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => "VARCHAR".to_owned(),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => "BYTEA".to_owned(),
        T::Date32 | T::Date64 => "DATE".to_owned(),
        T::Time32(unit) | T::Time64(unit) => format!("TIME({})", digits(*unit)),
        T::Timestamp(unit, None) => format!("TIMESTAMP({})", digits(*unit)),
        T::Timestamp(unit, Some(_)) => format!("TIMESTAMP({}) WITH TIME ZONE", digits(*unit)),
        T::Interval(IntervalUnit::YearMonth | IntervalUnit::DayTime | IntervalUnit::MonthDayNano) | T::Duration(_) => {
            "INTERVAL".to_owned()
        }
        T::List(item) | T::LargeList(item) | T::ListView(item) | T::LargeListView(item) | T::FixedSizeList(item, _) => {
            format!("{}[]", sql_name(item.data_type()))
        }
        T::Struct(fields) => {
            let members = fields.iter().map(|field| format!("{} {}", field.name(), sql_name(field.data_type())));
            format!("STRUCT<{}>", members.collect::<Vec<_>>().join(", "))
        }
        T::Map(entries, _) => match entries.data_type() {
            T::Struct(fields) if fields.len() == 2 => {
                format!("MAP({}, {})", sql_name(fields[0].data_type()), sql_name(fields[1].data_type()))
            }
            other => other.to_string(),
        },
        T::Dictionary(_, value) => sql_name(value),
        other => other.to_string(),
    }
}

/// Returns a type as the declaration of a source writes it, with the names of members as `written` does. Read again, it is the same type.
#[must_use]
pub fn declared_type(data_type: &DataType, written: &dyn Fn(&str) -> String) -> String {
    match data_type {
        // With digits it would take numbers as nanoseconds.
        DataType::Timestamp(TimeUnit::Nanosecond, None) => "TIMESTAMP".to_owned(),
        DataType::List(item) => format!("{}[]", declared_type(item.data_type(), written)),
        DataType::Struct(members) => {
            let member = |name: &str, of: &DataType| format!("{} {}", written(name), declared_type(of, written));
            let members = members.iter().map(|field| member(field.name(), field.data_type()));
            format!("STRUCT<{}>", members.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                let of = |place: usize| declared_type(pair[place].data_type(), written);
                format!("MAP({}, {})", of(0), of(1))
            }
            _ => sql_name(data_type),
        },
        _ => sql_name(data_type),
    }
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::datatypes::Field;

    use super::*;

    #[test]
    fn types_are_named_as_they_are_declared() {
        let list = DataType::List(Field::new_list_field(DataType::Int32, true).into());
        let object = DataType::Struct(vec![Field::new("a", DataType::Utf8View, true), Field::new("b", list, true)].into());
        assert_eq!(sql_name(&object), "STRUCT<a VARCHAR, b INT[]>");
        assert_eq!(sql_name(&DataType::Decimal128(12, 2)), "DECIMAL(12, 2)");
        assert_eq!(sql_name(&DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))), "TIMESTAMP(3) WITH TIME ZONE");
    }
}
