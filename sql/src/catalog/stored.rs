//! Columns that the files of a view cannot store. Parquet has no type for them, and what writes the files would stop the run.

use arrow::datatypes::{DataType, IntervalUnit, Schema};
use datafusion::sql::sqlparser::ast::Query;

use crate::catalog::diagnose::refused;
use crate::error::Error;
use crate::names::written;
use crate::nested_types::holds;
use crate::planner::Spot;
use crate::text::Text;
use crate::type_names::sql_types;

/// Returns an error for each column that files cannot store.
pub(super) fn errors(schema: &Schema, query: &Query, text: &Text) -> Vec<Error> {
    let error = |name: &String, data_type: &DataType| {
        let (what, help) = obstacle(data_type, &written(name))?;
        Some(refused(format!("{name} is {what}"), help, &Spot::Output(name.clone()), query, text))
    };
    schema.fields().iter().filter_map(|field| error(field.name(), field.data_type())).collect()
}

/// Returns what a column is that cannot be stored, and what to write instead.
fn obstacle(data_type: &DataType, name: &str) -> Option<(String, String)> {
    let is_interval = |data_type: &DataType| *data_type == DataType::Interval(IntervalUnit::MonthDayNano);
    if holds(data_type, &is_interval) {
        return Some((
            "an INTERVAL, and Parquet has none of months, days and nanoseconds".to_owned(),
            format!("write CAST({name} AS VARCHAR), or date_part('epoch', {name}) for its seconds"),
        ));
    }
    if holds(data_type, &|data_type| matches!(data_type, DataType::Union(_, _))) {
        return Some((
            "one of several types, and Parquet has no UNION".to_owned(),
            "choose one: of a JSON value, ->> gives the text and json_get_json the JSON".to_owned(),
        ));
    }
    let has_no_members = |data_type: &DataType| match data_type {
        DataType::Struct(members) => members.is_empty(),
        _ => false,
    };
    if holds(data_type, &has_no_members) {
        return Some(("a STRUCT without members, which Parquet cannot store".to_owned(), "give it a member".to_owned()));
    }
    let is_other = |data_type: &DataType| match data_type {
        DataType::Decimal256(precision, scale) => i16::from(*scale) > i16::from(*precision) || *scale < 0,
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => *scale < 0,
        DataType::Map(entries, _) => !matches!(entries.data_type(), DataType::Struct(members) if members.len() == 2),
        DataType::RunEndEncoded(_, _) | DataType::ListView(_) | DataType::LargeListView(_) => true,
        _ => false,
    };
    holds(data_type, &is_other).then(|| {
        (
            format!("{}, which the files of a view do not store", sql_types(&data_type.to_string())),
            format!("cast {name} to a type that they store"),
        )
    })
}
