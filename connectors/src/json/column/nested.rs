//! Columns of STRUCT, arrays and MAP: columns of columns. The text of a nested value is walked anew at each level.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, GenericListArray, MapArray, NullBufferBuilder, OffsetSizeTrait, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields as ArrowFields};
use arrow::error::ArrowError;

use super::{Column, make_field, text};
use crate::json::fault::{Fault, Refusal};
use crate::json::fields::{Fields, Slot};
use crate::json::object;

/// Elements of arrays that are to be expected for each row.
const ELEMENTS: usize = 2;

fn expect(first: u8, data_type: &DataType, raw: &str) -> Result<(), Fault> {
    if raw.as_bytes().first() == Some(&first) {
        return Ok(());
    }
    Err(Fault::of_value(Refusal::WrongType, data_type, raw))
}

/// A column of objects with known members.
pub(super) struct Struct {
    fields: ArrowFields,
    children: Fields,
    nulls: NullBufferBuilder,
}

impl Struct {
    pub(super) fn new(fields: ArrowFields, capacity: usize) -> Result<Struct, String> {
        let mut slots = Vec::with_capacity(fields.len());
        for field in &fields {
            slots.push(Slot::new(field.name().clone(), field.is_nullable(), Some(make_field(field, capacity)?)));
        }
        let names = fields.iter().enumerate().map(|(index, field)| (field.name().clone(), Some(index))).collect();
        Ok(Struct { children: Fields::new(names, slots), fields, nulls: NullBufferBuilder::new(capacity) })
    }
}

impl Column for Struct {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        expect(b'{', &DataType::Struct(self.fields.clone()), raw)?;
        self.children.append(raw, self.nulls.len(), false)?;
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

/// The elements of arrays, end to end.
struct Elements {
    item: FieldRef,
    column: Box<dyn Column>,
    length: usize,
}

impl Elements {
    fn new(item: FieldRef, capacity: usize) -> Result<Elements, String> {
        Ok(Elements { column: make_field(&item, capacity)?, item, length: 0 })
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

    fn truncate(&mut self, length: usize) {
        self.column.truncate(length);
        self.length = self.length.min(length);
    }
}

/// Where the values of each row end, and which rows are NULL.
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

    /// Appends a row whose values end at `end`; refuses where an offset cannot be that large.
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

    /// Cuts back to `length` rows, and gives how many values they have.
    fn truncate(&mut self, length: usize) -> usize {
        self.offsets.truncate(length + 1);
        self.nulls.truncate(length);
        self.offsets.last().map_or(0, |end| end.as_usize())
    }

    fn finish(&mut self) -> (OffsetBuffer<O>, Option<NullBuffer>) {
        (OffsetBuffer::new(std::mem::take(&mut self.offsets).into()), self.nulls.finish())
    }
}

/// A column of arrays of any length.
pub(super) struct List<O> {
    data_type: DataType,
    elements: Elements,
    rows: Rows<O>,
}

impl<O: OffsetSizeTrait> List<O> {
    pub(super) fn new(item: FieldRef, capacity: usize) -> Result<List<O>, String> {
        Ok(List {
            data_type: GenericListArray::<O>::DATA_TYPE_CONSTRUCTOR(Arc::clone(&item)),
            elements: Elements::new(item, capacity * ELEMENTS)?,
            rows: Rows::new(capacity),
        })
    }
}

impl<O: OffsetSizeTrait> Column for List<O> {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        expect(b'[', &self.data_type, raw)?;
        self.elements.append(raw)?;
        self.rows.append(self.elements.length).map_err(|refusal| Fault::of_value(refusal, &self.data_type, raw))
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

/// A column of arrays of one length.
pub(super) struct FixedSizeList {
    size: i32,
    elements: Elements,
    nulls: NullBufferBuilder,
}

impl FixedSizeList {
    pub(super) fn new(item: FieldRef, size: i32, capacity: usize) -> Result<FixedSizeList, String> {
        let each = usize::try_from(size).map_err(|_| "its size is negative".to_owned())?;
        Ok(FixedSizeList { size, elements: Elements::new(item, capacity * each)?, nulls: NullBufferBuilder::new(capacity) })
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
            return Err(Fault::of_value(refusal, &data_type, raw));
        }
        self.nulls.append_non_null();
        Ok(())
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

/// A column of objects whose members' names are data.
pub(super) struct Map {
    entries: FieldRef,
    sorted: bool,
    keys: Box<dyn Column>,
    values: Elements,
    rows: Rows<i32>,
}

impl Map {
    pub(super) fn new(entries: FieldRef, sorted: bool, capacity: usize) -> Result<Map, String> {
        let DataType::Struct(fields) = entries.data_type() else { return Err("its entries are not a struct".into()) };
        let [key, value] = fields.as_ref() else { return Err("its entries are not pairs".into()) };
        if sorted {
            return Err("its keys would have to be sorted".into());
        }
        Ok(Map {
            keys: make_field(key, capacity * ELEMENTS)?,
            values: Elements::new(Arc::clone(value), capacity * ELEMENTS)?,
            sorted,
            rows: Rows::new(capacity),
            entries,
        })
    }
}

impl Column for Map {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        let data_type = || DataType::Map(Arc::clone(&self.entries), self.sorted);
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
        self.rows.append(self.values.length).map_err(|refusal| Fault::of_value(refusal, &data_type(), raw))
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
        let array = MapArray::try_new(Arc::clone(&self.entries), offsets, entries, nulls, self.sorted)?;
        Ok(Arc::new(array))
    }
}
