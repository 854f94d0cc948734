//! Converts a column's SQL type to its Arrow type.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast::{ArrayElemTypeDef, ColumnDef, DataType as SqlType, ExactNumberInfo, Ident, TimezoneInfo};

use crate::other_engines;
use crate::session::Names;
use crate::type_names::{TYPE_NAMES, nearest_type};

/// Why a type is refused, and what to write.
pub(crate) struct Refused {
    pub(crate) message: String,
    pub(crate) help: String,
}

fn refused(sql_type: &SqlType, help: &str) -> Refused {
    Refused { message: format!("a column cannot be of type {sql_type}"), help: help.to_owned() }
}

/// Returns the Arrow type. Members of nested types are nullable.
pub(crate) fn arrow_type(sql_type: &SqlType, names: &Names<'_>) -> Result<DataType, Refused> {
    let converted = match sql_type {
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(inner)
            | ArrayElemTypeDef::SquareBracket(inner, _)
            | ArrayElemTypeDef::Parenthesis(inner),
        ) => DataType::List(Arc::new(Field::new_list_field(arrow_type(inner, names)?, true))),
        SqlType::Array(ArrayElemTypeDef::None) => return Err(refused(sql_type, "say of what: INT[] or ARRAY<INT>")),
        SqlType::Struct(fields, _) => {
            let fields: Vec<Field> = fields
                .iter()
                .map(|field| {
                    let Some(name) = &field.field_name else {
                        return Err(refused(sql_type, "give each member a name: STRUCT<name VARCHAR, age INT>"));
                    };
                    Ok(Field::new(normalized(name), arrow_type(&field.field_type, names)?, true))
                })
                .collect::<Result<_, _>>()?;
            if let Some(twice) = fields
                .iter()
                .enumerate()
                .find_map(|(index, field)| fields[..index].iter().any(|other| other.name() == field.name()).then(|| field.name()))
            {
                return Err(Refused {
                    message: format!("a struct has two members named {twice}"),
                    help: "give each member a name of its own".to_owned(),
                });
            }
            DataType::Struct(Fields::from(fields))
        }
        SqlType::Map(key, value) => map(arrow_type(key, names)?, arrow_type(value, names)?),
        SqlType::UTinyInt => DataType::UInt8,
        SqlType::USmallInt => DataType::UInt16,
        SqlType::UBigInt => DataType::UInt64,
        SqlType::CharacterVarying(_) | SqlType::CharVarying(_) | SqlType::Character(_) | SqlType::Nvarchar(_) => DataType::Utf8,
        SqlType::Dec(info) => return arrow_type(&SqlType::Decimal(*info), names),
        SqlType::Double(ExactNumberInfo::Precision(_) | ExactNumberInfo::PrecisionAndScale(_, _)) => {
            return Err(refused(sql_type, "write DOUBLE, or DECIMAL(12, 2) for exact digits"));
        }
        SqlType::Timestamp(Some(precision), _) if ![0, 3, 6, 9].contains(precision) => {
            return Err(refused(sql_type, "digits of a second may be 0, 3, 6 or 9: TIMESTAMP(6)"));
        }
        SqlType::Time(_, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) => {
            return Err(refused(sql_type, "write TIME; for a moment in time, TIMESTAMP WITH TIME ZONE"));
        }
        SqlType::Time(Some(precision), _) => match precision {
            0 => DataType::Time32(TimeUnit::Second),
            3 => DataType::Time32(TimeUnit::Millisecond),
            6 => DataType::Time64(TimeUnit::Microsecond),
            9 => DataType::Time64(TimeUnit::Nanosecond),
            _ => return Err(refused(sql_type, "digits of a second may be 0, 3, 6 or 9: TIME(6)")),
        },
        other => simple(other, names)?,
    };
    Ok(converted)
}

/// Converts a type that DataFusion knows itself.
fn simple(sql_type: &SqlType, names: &Names<'_>) -> Result<DataType, Refused> {
    let column = ColumnDef { name: Ident::new("c"), data_type: sql_type.clone(), options: Vec::new() };
    let schema = SqlToRel::new_with_options(names, names.parser_options()).build_schema(vec![column]);
    schema.map(|schema| schema.field(0).data_type().clone()).map_err(|_| match sql_type {
        other if other_engines::data_type(&other.to_string()).is_some() => {
            let ours = other_engines::data_type(&other.to_string()).unwrap_or_default();
            refused(sql_type, &format!("write {ours}"))
        }
        SqlType::Binary(_) => refused(sql_type, "write BYTEA"),
        SqlType::Numeric(_) | SqlType::Decimal(_) | SqlType::BigDecimal(_) | SqlType::BigNumeric(_) => {
            refused(sql_type, "write DECIMAL(precision, scale) with a precision of at most 76 and a scale of at most that")
        }
        SqlType::Custom(name, _) => {
            Refused { message: format!("no type is named {name}"), help: nearest_type(&name.to_string()) }
        }
        _ => refused(sql_type, &format!("types are {}", TYPE_NAMES.join(", "))),
    })
}

/// Returns a name as SQL reads it: in lower case unless it is quoted.
pub(crate) fn normalized(name: &Ident) -> String {
    if name.quote_style.is_some() { name.value.clone() } else { name.value.to_lowercase() }
}

/// `MAP(VARCHAR, VARCHAR)`.
pub(crate) fn map_of_texts() -> DataType {
    map(DataType::Utf8, DataType::Utf8)
}

fn map(key: DataType, value: DataType) -> DataType {
    let (key, value) = (Field::new("key", key, false), Field::new("value", value, true));
    let entries = Field::new("entries", DataType::Struct(Fields::from(vec![key, value])), false);
    DataType::Map(Arc::new(entries), false)
}
