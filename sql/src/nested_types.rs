//! Types within types.

use arrow::datatypes::DataType;

/// Checks whether a type, or one within it, is wanted.
pub(crate) fn holds(data_type: &DataType, is_wanted: &dyn Fn(&DataType) -> bool) -> bool {
    let within = |inner: &DataType| holds(inner, is_wanted);
    is_wanted(data_type)
        || match data_type {
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _)
            | DataType::Map(item, _)
            | DataType::RunEndEncoded(_, item) => within(item.data_type()),
            DataType::Struct(members) => members.iter().any(|member| within(member.data_type())),
            DataType::Union(members, _) => members.iter().any(|(_, member)| within(member.data_type())),
            DataType::Dictionary(_, value) => within(value),
            _ => false,
        }
}
