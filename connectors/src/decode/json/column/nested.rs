//! Columns of STRUCT, arrays and MAP, which contain other columns. The text of a nested value is parsed again at each level.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, GenericListArray, MapArray, NullBufferBuilder, OffsetSizeTrait, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields as ArrowFields};
use arrow::error::ArrowError;

use super::{Column, append_written, text};
use crate::decode::fault::{Fault, Refusal};
use crate::decode::json::fields::{Fields, Slot};
use crate::decode::json::object;
use crate::decode::reading::Reading;
use crate::decode::sql_type::SqlType;
use crate::decode::value::{Value, split_first, write_json};

fn expect(first: u8, data_type: &DataType, raw: &str) -> Result<(), Fault> {
    if raw.as_bytes().first() == Some(&first) {
        return Ok(());
    }
    Err(Fault::of_value(Refusal::WrongType, &SqlType(data_type), raw))
}

/// A STRUCT column: objects whose members are known.
pub(in crate::decode::json) struct Struct {
    fields: ArrowFields,
    children: Fields,
    nulls: NullBufferBuilder,
}

impl Struct {
    /// Creates the column. `children` are the empty columns of `fields`.
    pub(in crate::decode::json) fn new(
        fields: ArrowFields,
        children: Vec<Box<dyn Column>>,
        reading: &Reading,
        capacity: usize,
    ) -> Struct {
        let slots = fields.iter().zip(children).map(|(field, column)| Slot::new(field, reading, column)).collect();
        let names = fields.iter().enumerate().map(|(index, field)| (field.name().clone(), Some(index))).collect();
        Struct { children: Fields::new(names, slots), fields, nulls: NullBufferBuilder::new(capacity) }
    }
}

impl Column for Struct {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        expect(b'{', &DataType::Struct(self.fields.clone()), raw)?;
        self.children.append(raw, self.nulls.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        let [Value::Object(_), members @ ..] = value else { return append_written(self, value) };
        self.children.append_values(members, self.nulls.len())?;
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.children.columns().for_each(|child| child.append_null());
        self.nulls.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.children.truncate(length);
        self.nulls.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let length = self.nulls.len();
        let arrays = self.children.columns().map(|child| child.finish()).collect::<Result<Vec<_>, _>>()?;
        let nulls = self.nulls.finish();
        Ok(Arc::new(StructArray::try_new_with_length(self.fields.clone(), arrays, nulls, length)?))
    }
}

/// The elements of all arrays of a column, concatenated.
pub(in crate::decode::json) struct Elements {
    item: FieldRef,
    column: Box<dyn Column>,
    length: usize,
}

impl Elements {
    /// Creates the elements. `column` is the empty column of `item`.
    pub(in crate::decode::json) fn new(item: FieldRef, column: Box<dyn Column>) -> Elements {
        Elements { column, item, length: 0 }
    }

    /// Appends the elements of an array.
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        let start = self.length;
        object::walk_array(raw, |element| {
            if element == "null" {
                if !self.item.is_nullable() {
                    return Err(Fault::missing().in_element(self.length - start));
                }
                self.column.append_null();
            } else {
                self.column.append(element).map_err(|fault| fault.in_element(self.length - start))?;
            }
            self.length += 1;
            Ok(())
        })
    }

    /// Appends the elements of a list.
    fn append_values(&mut self, mut elements: &[Value<'_>]) -> Result<(), Fault> {
        let start = self.length;
        while let Some((element, rest)) = split_first(elements) {
            self.append_value(element).map_err(|fault| fault.in_element(self.length - start))?;
            elements = rest;
        }
        Ok(())
    }

    /// Appends one value.
    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        if *value == [Value::Null] {
            if !self.item.is_nullable() {
                return Err(Fault::missing());
            }
            self.column.append_null();
        } else {
            self.column.append_value(value)?;
        }
        self.length += 1;
        Ok(())
    }

    fn truncate(&mut self, length: usize) {
        self.column.truncate(length);
        self.length = self.length.min(length);
    }
}

/// The offset at which the values of each row end, and which rows are NULL.
struct Rows<O> {
    offsets: Vec<O>,
    nulls: NullBufferBuilder,
}

impl<O: OffsetSizeTrait> Rows<O> {
    fn new(capacity: usize) -> Rows<O> {
        let mut offsets = Vec::with_capacity(capacity + 1);
        offsets.push(O::default());
        Rows { offsets, nulls: NullBufferBuilder::new(capacity) }
    }

    /// Appends a row whose values end at `end`. Fails if the offset type cannot hold `end`.
    fn append(&mut self, end: usize) -> Result<(), Refusal> {
        let full = Refusal::OutOfRange("the column would hold too many values in a batch");
        self.offsets.push(O::from_usize(end).ok_or(full)?);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.offsets.push(self.offsets.last().copied().unwrap_or_default());
        self.nulls.append_null();
    }

    /// Truncates to `length` rows and returns the number of their values.
    fn truncate(&mut self, length: usize) -> usize {
        self.offsets.truncate(length + 1);
        self.nulls.truncate(length);
        self.offsets.last().map_or(0, |end| end.as_usize())
    }

    fn finish(&mut self) -> (OffsetBuffer<O>, Option<NullBuffer>) {
        (OffsetBuffer::new(std::mem::take(&mut self.offsets).into()), self.nulls.finish())
    }
}

/// A column of arrays of variable length.
pub(in crate::decode::json) struct List<O> {
    data_type: DataType,
    elements: Elements,
    rows: Rows<O>,
}

impl<O: OffsetSizeTrait> List<O> {
    pub(in crate::decode::json) fn new(elements: Elements, capacity: usize) -> List<O> {
        let data_type = GenericListArray::<O>::DATA_TYPE_CONSTRUCTOR(Arc::clone(&elements.item));
        List { data_type, elements, rows: Rows::new(capacity) }
    }
}

impl<O: OffsetSizeTrait> Column for List<O> {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        expect(b'[', &self.data_type, raw)?;
        self.elements.append(raw)?;
        self.rows.append(self.elements.length).map_err(|refusal| Fault::of_value(refusal, &SqlType(&self.data_type), raw))
    }

    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        let [Value::List(_), elements @ ..] = value else { return append_written(self, value) };
        self.elements.append_values(elements)?;
        self.rows.append(self.elements.length).map_err(|refusal| Fault::of_value(refusal, &SqlType(&self.data_type), "a list"))
    }

    fn append_null(&mut self) {
        self.rows.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.elements.truncate(self.rows.truncate(length));
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let (offsets, nulls) = self.rows.finish();
        let elements = self.elements.column.finish()?;
        let item = Arc::clone(&self.elements.item);
        Ok(Arc::new(GenericListArray::<O>::try_new(item, offsets, elements, nulls)?))
    }
}

/// A column of arrays of fixed length.
pub(in crate::decode::json) struct FixedSizeList {
    size: i32,
    elements: Elements,
    nulls: NullBufferBuilder,
}

impl FixedSizeList {
    pub(in crate::decode::json) fn new(elements: Elements, size: i32, capacity: usize) -> FixedSizeList {
        FixedSizeList { size, elements, nulls: NullBufferBuilder::new(capacity) }
    }

    fn each(&self) -> usize {
        usize::try_from(self.size).unwrap_or_default()
    }
}

impl Column for FixedSizeList {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        let data_type = || DataType::FixedSizeList(Arc::clone(&self.elements.item), self.size);
        expect(b'[', &data_type(), raw)?;
        let before = self.elements.length;
        self.elements.append(raw)?;
        if self.elements.length - before != self.each() {
            let refusal = Refusal::OutOfRange("it does not have the length of the type");
            let data_type = DataType::FixedSizeList(Arc::clone(&self.elements.item), self.size);
            return Err(Fault::of_value(refusal, &SqlType(&data_type), raw));
        }
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        append_written(self, value)
    }

    fn append_null(&mut self) {
        for _ in 0..self.each() {
            self.elements.column.append_null();
        }
        self.elements.length += self.each();
        self.nulls.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.nulls.truncate(length);
        self.elements.truncate(self.nulls.len() * self.each());
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let length = self.nulls.len();
        let elements = self.elements.column.finish()?;
        let nulls = self.nulls.finish();
        let item = Arc::clone(&self.elements.item);
        Ok(Arc::new(FixedSizeListArray::try_new_with_length(item, self.size, elements, nulls, length)?))
    }
}

/// A MAP column: objects whose member names are data.
pub(in crate::decode::json) struct Map {
    entries: FieldRef,
    keys: Box<dyn Column>,
    values: Elements,
    rows: Rows<i32>,
}

impl Map {
    /// Returns the fields of the keys and of the values of a MAP type.
    ///
    /// # Errors
    /// Says what is wrong with the type.
    pub(in crate::decode::json) fn pair(entries: &FieldRef, sorted: bool) -> Result<(FieldRef, FieldRef), String> {
        let DataType::Struct(fields) = entries.data_type() else { return Err("its entries are not a struct".into()) };
        let [key, value] = fields.as_ref() else { return Err("its entries are not pairs".into()) };
        if sorted {
            return Err("its keys would have to be sorted".into());
        }
        Ok((Arc::clone(key), Arc::clone(value)))
    }

    /// Creates the column. `keys` and `values` are the empty columns of [`Map::pair`].
    pub(in crate::decode::json) fn new(entries: FieldRef, keys: Box<dyn Column>, values: Elements, capacity: usize) -> Map {
        Map { keys, values, rows: Rows::new(capacity), entries }
    }
}

impl Column for Map {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        let data_type = || DataType::Map(Arc::clone(&self.entries), false);
        expect(b'{', &data_type(), raw)?;
        let mut pairs: Vec<(&str, &str)> = Vec::new();
        let mut places = HashMap::new();
        object::walk_entries(raw, |key, value| {
            let refused = |refusal| Fault::of_value(refusal, &"a member's name", key);
            let name = text(key).map_err(refused)?.unwrap_or_default();
            let place = *places.entry(name).or_insert(pairs.len());
            match pairs.get_mut(place) {
                Some(pair) => pair.1 = value,
                None => pairs.push((key, value)),
            }
            Ok(())
        })?;
        for (key, value) in pairs {
            let name = key.trim_matches('"');
            if value == "null" {
                if !self.values.item.is_nullable() {
                    return Err(Fault::missing().in_member(name));
                }
                self.values.column.append_null();
            } else {
                self.values.column.append(value).map_err(|fault| fault.in_member(name))?;
            }
            self.keys.append(key)?;
            self.values.length += 1;
        }
        self.rows.append(self.values.length).map_err(|refusal| Fault::of_value(refusal, &SqlType(&data_type()), raw))
    }

    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        let [Value::Object(_), members @ ..] = value else { return append_written(self, value) };
        let mut members: &[Value<'_>] = members;
        let mut pairs: Vec<(&[Value<'_>], &[Value<'_>])> = Vec::new();
        while let Some((name, rest)) = split_first(members) {
            let Some((value, rest)) = split_first(rest) else { break };
            pairs.push((name, value));
            members = rest;
        }
        if pairs.len() > 1 {
            keep_last(&mut pairs);
        }
        for (name, value) in pairs {
            self.values.append_value(value).map_err(|fault| fault.in_member(&written_name(name)))?;
            self.keys.append_value(name)?;
        }
        let data_type = || DataType::Map(Arc::clone(&self.entries), false);
        self.rows.append(self.values.length).map_err(|refusal| Fault::of_value(refusal, &SqlType(&data_type()), "an object"))
    }

    fn append_null(&mut self) {
        self.rows.append_null();
    }

    fn truncate(&mut self, length: usize) {
        let entries = self.rows.truncate(length);
        self.keys.truncate(entries);
        self.values.truncate(entries);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let DataType::Struct(fields) = self.entries.data_type() else {
            return Err(ArrowError::SchemaError("a map's entries are not a struct".into()));
        };
        let columns = vec![self.keys.finish()?, self.values.column.finish()?];
        let entries = StructArray::try_new(fields.clone(), columns, None)?;
        let (offsets, nulls) = self.rows.finish();
        let array = MapArray::try_new(Arc::clone(&self.entries), offsets, entries, nulls, false)?;
        Ok(Arc::new(array))
    }
}

/// Of pairs with the same name, keeps the value of the last one at the place of the first one.
fn keep_last<'a>(pairs: &mut Vec<(&[Value<'a>], &[Value<'a>])>) {
    let mut places: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(pairs.len());
    let mut kept = Vec::with_capacity(pairs.len());
    for (name, value) in pairs.drain(..) {
        let place = *places.entry(written_name(name)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some((_, before)) => *before = value,
            None => kept.push((name, value)),
        }
    }
    *pairs = kept;
}

/// Returns the name of a member without quotes.
fn written_name<'a>(name: &[Value<'a>]) -> Cow<'a, str> {
    if let [Value::Text(text)] = name {
        return Cow::Borrowed(*text);
    }
    let mut json = Vec::new();
    write_json(name, &mut json);
    Cow::Owned(String::from_utf8_lossy(&json).into_owned())
}
