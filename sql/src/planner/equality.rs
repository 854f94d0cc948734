//! Types whose equal values can be found by their encoding.

use arrow::datatypes::DataType;

/// Checks whether values that DataFusion treats as equal can be found by their encoding. Floats can, except inside lists and structs.
pub(crate) fn splits(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(_, _) | DataType::Union(_, _) | DataType::RunEndEncoded(_, _) => false,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            !item.data_type().is_floating() && splits(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().all(|field| !field.data_type().is_floating() && splits(field.data_type())),
        DataType::Dictionary(_, values) => !values.is_floating() && splits(values),
        DataType::ListView(_) | DataType::LargeListView(_) => false,
        _ => true,
    }
}

/// Checks whether equal values have equal bits, at any depth.
pub(crate) fn is_exact(data_type: &DataType) -> bool {
    match data_type {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => false,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => is_exact(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|field| is_exact(field.data_type())),
        DataType::Dictionary(_, values) => is_exact(values),
        DataType::Map(_, _)
        | DataType::Union(_, _)
        | DataType::RunEndEncoded(_, _)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Interval(_) => false,
        _ => true,
    }
}
