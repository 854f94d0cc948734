//! The generic column for Arrow's primitive types, and the columns for numbers, booleans and NULL.

use std::sync::Arc;

use arrow::array::NullBufferBuilder;
use arrow::array::{ArrayRef, ArrowPrimitiveType, BooleanArray, BooleanBufferBuilder, NullArray, PrimitiveArray};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;

use super::direct::Direct;
use super::{Column, append_written, number, text};
use crate::decode::fault::{Fault, Refusal};
use crate::decode::sql_type::SqlType;
use crate::decode::value::Value;

/// A column of primitive values. `parse` parses the text of a JSON value.
pub(super) struct Primitive<T: ArrowPrimitiveType, P> {
    data_type: DataType,
    /// The unit of times that are numbers, if they are read.
    epoch: Option<TimeUnit>,
    values: Vec<T::Native>,
    nulls: NullBufferBuilder,
    parse: P,
}

/// Creates a column of type `data_type`, which must be a type of `T`.
pub(super) fn primitive<T, P>(data_type: &DataType, capacity: usize, parse: P) -> Box<dyn Column>
where
    T: Direct,
    P: Fn(&str) -> Result<T::Native, Refusal> + Send + 'static,
{
    primitive_since::<T, P>(data_type, None, capacity, parse)
}

/// Creates a column of times. `epoch` is the unit of those that are numbers, if they are read.
pub(super) fn primitive_since<T, P>(data_type: &DataType, epoch: Option<TimeUnit>, capacity: usize, parse: P) -> Box<dyn Column>
where
    T: Direct,
    P: Fn(&str) -> Result<T::Native, Refusal> + Send + 'static,
{
    Box::new(Primitive::<T, P> {
        data_type: data_type.clone(),
        epoch,
        values: Vec::with_capacity(capacity),
        nulls: NullBufferBuilder::new(capacity),
        parse,
    })
}

impl<T, P> Column for Primitive<T, P>
where
    T: Direct,
    P: Fn(&str) -> Result<T::Native, Refusal> + Send,
{
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        match (self.parse)(raw) {
            Ok(value) => {
                self.values.push(value);
                self.nulls.append_non_null();
                Ok(())
            }
            Err(refusal) => Err(Fault::of_value(refusal, &SqlType(&self.data_type), raw)),
        }
    }

    #[inline]
    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        if let [value] = value
            && let Some(value) = T::direct(*value, &self.data_type, self.epoch)
        {
            self.values.push(value);
            self.nulls.append_non_null();
            return Ok(());
        }
        append_written(self, value)
    }

    fn append_null(&mut self) {
        self.values.push(T::Native::default());
        self.nulls.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
        self.nulls.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let values = ScalarBuffer::from(std::mem::take(&mut self.values));
        let array = PrimitiveArray::<T>::try_new(values, self.nulls.finish())?;
        Ok(Arc::new(array.with_data_type(self.data_type.clone())))
    }
}

/// Creates a column for a number, boolean or NULL type; returns `None` for other types.
pub(in crate::decode::json) fn make(data_type: &DataType, capacity: usize) -> Option<Box<dyn Column>> {
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    Some(match data_type {
        DataType::Null => Box::new(Nulls { length: 0 }),
        DataType::Boolean => {
            Box::new(Booleans { values: BooleanBufferBuilder::new(capacity), nulls: NullBufferBuilder::new(capacity) })
        }
        DataType::Int8 => primitive::<Int8Type, _>(data_type, capacity, number::integer::<i8>),
        DataType::Int16 => primitive::<Int16Type, _>(data_type, capacity, number::integer::<i16>),
        DataType::Int32 => primitive::<Int32Type, _>(data_type, capacity, number::integer::<i32>),
        DataType::Int64 => primitive::<Int64Type, _>(data_type, capacity, number::integer::<i64>),
        DataType::UInt8 => primitive::<UInt8Type, _>(data_type, capacity, number::integer::<u8>),
        DataType::UInt16 => primitive::<UInt16Type, _>(data_type, capacity, number::integer::<u16>),
        DataType::UInt32 => primitive::<UInt32Type, _>(data_type, capacity, number::integer::<u32>),
        DataType::UInt64 => primitive::<UInt64Type, _>(data_type, capacity, number::integer::<u64>),
        DataType::Float16 => primitive::<Float16Type, _>(data_type, capacity, |raw| {
            let wide = number::float::<f64>(raw, |value| value.is_infinite())?;
            let value = Half::from_f64(wide);
            if value.is_infinite() && wide.is_finite() {
                return Err(Refusal::OutOfRange("it does not fit the type"));
            }
            Ok(value)
        }),
        DataType::Float32 => {
            primitive::<Float32Type, _>(data_type, capacity, |raw| number::float::<f32>(raw, |value| value.is_infinite()))
        }
        DataType::Float64 => {
            primitive::<Float64Type, _>(data_type, capacity, |raw| number::float::<f64>(raw, |value| value.is_infinite()))
        }
        DataType::Decimal32(precision, scale) => decimal::<Decimal32Type>(data_type, capacity, *precision, *scale),
        DataType::Decimal64(precision, scale) => decimal::<Decimal64Type>(data_type, capacity, *precision, *scale),
        DataType::Decimal128(precision, scale) => decimal::<Decimal128Type>(data_type, capacity, *precision, *scale),
        DataType::Decimal256(precision, scale) => {
            let (precision, scale) = (*precision, *scale);
            primitive::<Decimal256Type, _>(data_type, capacity, move |raw| number::wide_decimal(raw, precision, scale))
        }
        _ => return None,
    })
}

fn decimal<T>(data_type: &DataType, capacity: usize, precision: u8, scale: i8) -> Box<dyn Column>
where
    T: DecimalType + Direct,
    T::Native: TryFrom<i128>,
{
    primitive::<T, _>(data_type, capacity, move |raw| {
        let value = number::decimal(raw, precision, scale)?;
        T::Native::try_from(value).map_err(|_| Refusal::OutOfRange("it does not fit the type"))
    })
}

/// A column of booleans, stored as bits.
struct Booleans {
    values: BooleanBufferBuilder,
    nulls: NullBufferBuilder,
}

impl Column for Booleans {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        let value = match raw {
            "true" => true,
            "false" => false,
            _ => boolean(raw).map_err(|refusal| Fault::of_value(refusal, &SqlType(&DataType::Boolean), raw))?,
        };
        self.values.append(value);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        let [Value::Boolean(value)] = value else { return append_written(self, value) };
        self.values.append(*value);
        self.nulls.append_non_null();
        Ok(())
    }

    fn append_null(&mut self) {
        self.values.append(false);
        self.nulls.append_null();
    }

    fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
        self.nulls.truncate(length);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(BooleanArray::new(self.values.finish(), self.nulls.finish())))
    }
}

/// Parses other spellings of a boolean: the number 1 or 0, or one of SQL's words as text, in any case.
#[cold]
fn boolean(raw: &str) -> Result<bool, Refusal> {
    let word = text(raw)?.map(|word| word.to_ascii_lowercase());
    match word.as_deref() {
        Some("true" | "t" | "yes" | "y" | "on" | "1") => Ok(true),
        Some("false" | "f" | "no" | "n" | "off" | "0") => Ok(false),
        Some(_) => Err(Refusal::WrongType),
        None => match number::integer(raw)? {
            1_i64 => Ok(true),
            0 => Ok(false),
            _ => Err(Refusal::WrongType),
        },
    }
}

/// A column that is always NULL.
struct Nulls {
    length: usize,
}

impl Column for Nulls {
    fn append(&mut self, raw: &str) -> Result<(), Fault> {
        Err(Fault::of_value(Refusal::WrongType, &SqlType(&DataType::Null), raw))
    }

    fn append_value(&mut self, value: &[Value<'_>]) -> Result<(), Fault> {
        append_written(self, value)
    }

    fn append_null(&mut self) {
        self.length += 1;
    }

    fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(NullArray::new(self.length)))
    }
}
