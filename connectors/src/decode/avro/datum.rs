//! Reads Avro's binary encoding: one datum as values, or past it. Any bytes are read or refused; none can make it panic, recurse without
//! bound or use more memory than a small multiple of the body.

use super::schema::{Schema, Type, TypeId};
use crate::decode::fault::Fault;
use crate::decode::value::Value;

/// The maximum depth of records, arrays and maps in each other.
const MAX_DEPTH: usize = 127;
/// The maximum number of values of a body that take no byte. Only a corrupt body or a malicious schema has more.
const MAX_EMPTY: usize = 1 << 16;

/// The rest of a body.
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    /// The number of values so far that took no byte.
    empty: usize,
    /// Texts that are not UTF-8 become [`Value::NotText`]; else they are faults.
    keeps_bad_texts: bool,
}

#[cold]
fn broken(message: &str) -> Fault {
    Fault::of_payload("not_avro", message.to_owned())
}

impl<'a> Cursor<'a> {
    /// Begins at the first byte.
    pub(crate) fn new(body: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: body, empty: 0, keeps_bad_texts: false }
    }

    /// Begins at the first byte of several data. A text that is not UTF-8 is kept as it is, so that the data after it can be read.
    pub(crate) fn of_data(data: &'a [u8]) -> Cursor<'a> {
        Cursor { keeps_bad_texts: true, ..Cursor::new(data) }
    }

    /// Returns the number of bytes that are left.
    pub(crate) fn rest(&self) -> usize {
        self.rest.len()
    }

    /// Checks that the body has been read to its end.
    ///
    /// # Errors
    /// More follows.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(broken("more follows after the datum: the writer had another schema").at(self.rest.as_ptr().addr()))
    }

    /// Reads the next byte.
    #[inline]
    fn byte(&mut self) -> Result<u8, Fault> {
        let Some((first, rest)) = self.rest.split_first() else { return Err(self.cut_off()) };
        self.rest = rest;
        Ok(*first)
    }

    #[cold]
    fn cut_off(&self) -> Fault {
        broken("cut off: the body ends within the datum").at(self.rest.as_ptr().addr())
    }

    /// Reads a number in zigzag encoding.
    ///
    /// # Errors
    /// It is cut off, or has more than 64 bits.
    #[inline]
    pub(crate) fn long(&mut self) -> Result<i64, Fault> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(broken("a number has more than 64 bits").at(self.rest.as_ptr().addr()))
    }

    /// Takes this many bytes.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else { return Err(self.cut_off()) };
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a length and takes that many bytes.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(broken("a length is negative").at(self.rest.as_ptr().addr())),
        }
    }

    #[inline]
    fn text(&mut self) -> Result<Value<'a>, Fault> {
        let bytes = self.bytes()?;
        match simdutf8::basic::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text)),
            Err(_) if self.keeps_bad_texts => Ok(Value::NotText(bytes)),
            Err(_) => Err(broken("a text is not UTF-8").at(bytes.as_ptr().addr())),
        }
    }

    fn index(&mut self, count: usize, what: &str) -> Result<usize, Fault> {
        let at = self.rest.as_ptr().addr();
        let index = self.long()?;
        usize::try_from(index).ok().filter(|index| *index < count).ok_or_else(|| {
            Fault::of_payload("not_avro", format!("the number of {what} is {index}, of {count}: the writer had another schema"))
                .at(at)
        })
    }

    /// Reads the number of a union's branch.
    ///
    /// # Errors
    /// There is no such branch.
    pub(crate) fn branch(&mut self, branches: &[TypeId]) -> Result<TypeId, Fault> {
        Ok(branches[self.index(branches.len(), "a union's branch")?])
    }

    /// Reads the number of elements of the next block. The size in bytes that a writer may give is not needed.
    fn block(&mut self) -> Result<u64, Fault> {
        let count = self.long()?;
        if count < 0 {
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }

    /// Counts a value that took no byte.
    #[cold]
    fn count_empty(&mut self) -> Result<(), Fault> {
        self.empty += 1;
        if self.empty > MAX_EMPTY { Err(broken("it has too many values without a byte")) } else { Ok(()) }
    }
}

#[cold]
fn too_deep() -> Fault {
    Fault::of_payload("too_deep", format!("nested more than {MAX_DEPTH} deep"))
}

/// Reads a value of type `id` and appends it to `values`. After a fault, `values` may hold parts of it.
///
/// # Errors
/// The bytes are not a value of this type.
#[inline]
pub(crate) fn read<'a>(
    schema: &'a Schema,
    id: TypeId,
    cursor: &mut Cursor<'a>,
    values: &mut Vec<Value<'a>>,
    depth: usize,
) -> Result<(), Fault> {
    walk::<true>(schema, id, cursor, values, depth)
}

/// Reads a value. Appends it to `values` if `KEEP`.
fn walk<'a, const KEEP: bool>(
    schema: &'a Schema,
    id: TypeId,
    cursor: &mut Cursor<'a>,
    values: &mut Vec<Value<'a>>,
    depth: usize,
) -> Result<(), Fault> {
    let before = cursor.rest.len();
    let value = match schema.get(id) {
        Type::Null => Value::Null,
        Type::Boolean => match cursor.byte()? {
            0 => Value::Boolean(false),
            1 => Value::Boolean(true),
            _ => return Err(broken("a boolean is neither 0 nor 1").at(cursor.rest.as_ptr().addr())),
        },
        Type::Integer(_) => Value::Integer(cursor.long()?),
        Type::Float => Value::Single(f32::from_le_bytes(array(cursor.take(4)?))),
        Type::Double => Value::Float(f64::from_le_bytes(array(cursor.take(8)?))),
        Type::Bytes => Value::Bytes(cursor.bytes()?),
        Type::Text => cursor.text()?,
        Type::Fixed(size) => Value::Bytes(cursor.take(*size)?),
        Type::Enum(symbols) => Value::Text(&symbols[cursor.index(symbols.len(), "an enum's symbol")?]),
        Type::Decimal(None, digits) => Value::Decimal(cursor.bytes()?, digits.scale),
        Type::Decimal(Some(size), digits) => Value::Decimal(cursor.take(*size)?, digits.scale),
        Type::Date => {
            let days = cursor.long()?;
            Value::Date(i32::try_from(days).map_err(|_| broken("a date has more than 32 bits"))?)
        }
        Type::Time(unit) => Value::Time(cursor.long()?, *unit),
        Type::Timestamp(unit, clock) => Value::Timestamp(cursor.long()?, *unit, *clock),
        Type::Duration => {
            let mut part = || Ok(u32::from_le_bytes(array(cursor.take(4)?)));
            Value::Interval { months: part()?, days: part()?, milliseconds: part()? }
        }
        Type::Uuid => {
            let mut part = || Ok(u64::from_be_bytes(array(cursor.take(8)?)));
            Value::Uuid(part()?, part()?)
        }
        Type::Union(branches) => {
            let branch = cursor.branch(branches)?;
            return walk::<KEEP>(schema, branch, cursor, values, depth);
        }
        nested => return walk_nested::<KEEP>(schema, nested, cursor, values, depth),
    };
    if cursor.rest.len() == before {
        cursor.count_empty()?;
    }
    if KEEP {
        values.push(value);
    }
    Ok(())
}

fn walk_nested<'a, const KEEP: bool>(
    schema: &'a Schema,
    of: &'a Type,
    cursor: &mut Cursor<'a>,
    values: &mut Vec<Value<'a>>,
    depth: usize,
) -> Result<(), Fault> {
    if depth >= MAX_DEPTH {
        return Err(too_deep());
    }
    let head = values.len();
    if KEEP {
        values.push(Value::Null);
    }
    match of {
        Type::Record(fields) => {
            if fields.is_empty() {
                cursor.count_empty()?;
            }
            for field in fields {
                if KEEP {
                    values.push(Value::Text(&field.name));
                }
                walk::<KEEP>(schema, field.of, cursor, values, depth + 1)?;
            }
        }
        Type::Array(item) => loop {
            let count = cursor.block()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                walk::<KEEP>(schema, *item, cursor, values, depth + 1)?;
            }
        },
        Type::Map(value) => loop {
            let count = cursor.block()?;
            if count == 0 {
                break;
            }
            for _ in 0..count {
                let name = cursor.text()?;
                if KEEP {
                    values.push(name);
                }
                walk::<KEEP>(schema, *value, cursor, values, depth + 1)?;
            }
        },
        _ => {}
    }
    if !KEEP {
        return Ok(());
    }
    let inner = u32::try_from(values.len() - head - 1).map_err(|_| broken("it has too many values"))?;
    values[head] = if matches!(of, Type::Array(_)) { Value::List(inner) } else { Value::Object(inner) };
    Ok(())
}

/// Reads past a value of type `id`. Refuses what [`read`] refuses, so that a body decodes whichever of its fields are wanted.
///
/// # Errors
/// As [`read`].
#[inline]
pub(crate) fn skip<'a>(schema: &'a Schema, id: TypeId, cursor: &mut Cursor<'a>, depth: usize) -> Result<(), Fault> {
    walk::<false>(schema, id, cursor, &mut Vec::new(), depth)
}

/// Copies bytes whose number is known.
#[inline]
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}
