//! Functions of DataFusion whose result is as large as the values of a row ask for, each behind a check of its size. Beyond the
//! limit the row fails; without the check, the process would end.

mod argument;
mod series;

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::udf_eq::UdfEq;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use self::argument::Argument;
use crate::sizes::{BATCH_BYTES, Budget, ELEMENT_BYTES};

/// Up to this many bytes, an estimate of one value is not made exact, and `replace` does not count it.
const SMALL: u64 = 64 << 10;
/// DataFusion's own bound for its faster path.
const CONSTANT_LENGTH: i64 = 16_384;
/// The most bytes that a number or a time takes as text.
const WRITTEN: u64 = 40;

/// How the result grows with the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Growth {
    /// `f(text, characters[, fill])`
    Padded,
    /// `f(text, times)`
    Repeated,
    /// `f(element, times)`
    Elements,
    /// `f(list, length[, fill])`
    Resized,
    /// `f([start,] stop[, step])`
    Series,
    /// `f(text, from, to)`
    Replaced,
    /// `f(text, pattern, to[, flags])`
    ReplacedByPattern,
    /// `f(list, separator[, null])`
    Joined,
}

/// The functions, by name.
pub(crate) const LIMITED: [(&str, Growth); 10] = [
    ("lpad", Growth::Padded),
    ("rpad", Growth::Padded),
    ("repeat", Growth::Repeated),
    ("array_repeat", Growth::Elements),
    ("array_resize", Growth::Resized),
    ("range", Growth::Series),
    ("generate_series", Growth::Series),
    ("replace", Growth::Replaced),
    ("regexp_replace", Growth::ReplacedByPattern),
    ("array_to_string", Growth::Joined),
];

/// Wraps a function in a check of the size of its result.
pub(crate) fn limited(function: &ScalarUDF, growth: Growth) -> ScalarUDF {
    ScalarUDF::new_from_impl(Limited { inner: Arc::clone(function.inner()).into(), growth })
}

/// Behaves like `inner`, except for the check.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Limited {
    inner: UdfEq<Arc<dyn ScalarUDFImpl>>,
    growth: Growth,
}

impl ScalarUDFImpl for Limited {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        self.inner.schema_name(arguments)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.inner.is_strict()
    }

    fn simplify(&self, arguments: Vec<Expr>, context: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(arguments, context)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalars = args.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if scalars { 1 } else { args.number_rows };
        let arguments = args.args.iter().map(Argument::of).collect::<Result<Vec<_>>>()?;
        let mut budget = Budget::new(self.inner.name());
        let mut args = args;
        match (self.growth, arguments.as_slice()) {
            (Growth::Padded, [text, characters, fill @ ..]) => {
                let lengths = padded(&mut budget, text, characters, fill.first(), rows)?;
                args.args[1] = match (scalars, &args.args[1]) {
                    (true, _) => ColumnarValue::Scalar(ScalarValue::Int64(lengths.iter().next().flatten())),
                    // If all rows have the same length, DataFusion takes a faster path, which is safe for short lengths.
                    (false, ColumnarValue::Scalar(ScalarValue::Int64(Some(0..=CONSTANT_LENGTH)))) => args.args[1].clone(),
                    _ => ColumnarValue::Array(Arc::new(lengths)),
                };
            }
            (growth, arguments) => growth.check(&mut budget, arguments, rows)?,
        }
        self.inner.invoke_with_args(args)
    }
}

impl Growth {
    /// Checks the size of the result of each row.
    ///
    /// # Errors
    /// A value error if a row or the batch would be too large.
    fn check(self, budget: &mut Budget<'_>, arguments: &[Argument], rows: usize) -> Result<()> {
        match (self, arguments) {
            (Growth::Repeated, [value, times]) => {
                let (bytes, times) = (value.bytes()?, times.numbers()?);
                (0..rows).try_for_each(|row| budget.take(times.count(row).saturating_mul(bytes.of(row))))
            }
            (Growth::Elements, [element, times]) => {
                let (bytes, times) = (element.bytes()?, times.numbers()?);
                (0..rows).try_for_each(|row| budget.take(times.count(row).saturating_mul(bytes.of(row).max(ELEMENT_BYTES))))
            }
            (Growth::Resized, [_, length, fill @ ..]) => {
                let length = length.numbers()?;
                let fill = fill.first().map(Argument::bytes).transpose()?;
                let bytes = |row| fill.as_ref().map_or(0, |fill| fill.of(row)).max(ELEMENT_BYTES);
                (0..rows).try_for_each(|row| budget.take(length.count(row).saturating_mul(bytes(row))))
            }
            (Growth::Series, _) => series::check(budget, arguments, rows),
            (Growth::Replaced, [text, from, to]) => replaced(budget, text, from, to, rows),
            (Growth::ReplacedByPattern, [text, _, to, ..]) => replaced_by_pattern(budget, text, to, rows),
            (Growth::Joined, [list, separator, null @ ..]) => joined(budget, list, separator, null.first(), rows),
            _ => Ok(()),
        }
    }
}

/// Checks the sizes of padded texts, and returns a length in characters for each row, with which DataFusion makes the same text.
/// DataFusion allocates the whole length that it is given, even for rows without a text and rows that are not filled, and breaks
/// off at a length below 0.
fn padded(
    budget: &mut Budget<'_>,
    text: &Argument,
    characters: &Argument,
    fill: Option<&Argument>,
    rows: usize,
) -> Result<Int64Array> {
    let (texts, characters) = (text.texts()?, characters.numbers()?);
    let fills = fill.map(Argument::texts).transpose()?;
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        let Some(length) = characters.get(row) else {
            lengths.push(None);
            continue;
        };
        let text = texts.get(row).unwrap_or_default();
        let fill = fills.as_ref().map_or(Some(" "), |fills| fills.get(row)).unwrap_or_default();
        let width = if fill.is_ascii() { fill.len().min(1) } else { 4 } as u64;
        let padding = |filled: u64| characters.count(row).saturating_sub(filled).saturating_mul(width);
        let mut bytes = padding(0).saturating_add(text.len() as u64);
        if bytes > SMALL {
            bytes = padding(text.chars().count() as u64).saturating_add(text.len() as u64);
        }
        budget.take(bytes)?;
        // A text that is not filled does not get longer.
        let most = if width == 0 || texts.get(row).is_none() { i64::try_from(text.len()).unwrap_or(i64::MAX) } else { i64::MAX };
        lengths.push(Some(length.clamp(0, most)));
    }
    Ok(Int64Array::from(lengths))
}

fn replaced(budget: &mut Budget<'_>, text: &Argument, from: &Argument, to: &Argument, rows: usize) -> Result<()> {
    let (texts, from, to) = (text.texts()?, from.texts()?, to.texts()?);
    for row in 0..rows {
        let (Some(text), Some(from), Some(to)) = (texts.get(row), from.get(row), to.get(row)) else { continue };
        let bytes = |places: usize| (text.len() as u64).saturating_add((places as u64).saturating_mul(to.len() as u64));
        if to.len() > from.len() && bytes(text.len() / from.len().max(1) + 1) > SMALL {
            budget.take(bytes(text.matches(from).count()))?;
        }
    }
    Ok(())
}

/// Checks an upper bound, since only matching tells how often a pattern matches. Each match becomes all of `to`, in which each
/// reference (two characters) stands for a text of its own.
fn replaced_by_pattern(budget: &mut Budget<'_>, text: &Argument, to: &Argument, rows: usize) -> Result<()> {
    let (text, to) = (text.bytes()?, to.bytes()?);
    for row in 0..rows {
        let bound = (text.of(row) + 1).saturating_mul(to.of(row) + to.of(row) / 2);
        if bound > BATCH_BYTES {
            return Err(budget.error("a text and a replacement that may make more than 1024 MiB"));
        }
    }
    Ok(())
}

fn joined(budget: &mut Budget<'_>, list: &Argument, separator: &Argument, null: Option<&Argument>, rows: usize) -> Result<()> {
    let (elements, separators) = (list.leaves()?, separator.bytes()?);
    let texts = if list.is_of_texts() { Some(list.bytes()?) } else { None };
    let nulls = null.map(Argument::bytes).transpose()?;
    for row in 0..rows {
        let written = if texts.is_some() { 0 } else { WRITTEN };
        let each = separators.of(row) + nulls.as_ref().map_or(0, |nulls| nulls.of(row)) + written;
        let bytes = elements.of(row).saturating_mul(each).saturating_add(texts.as_ref().map_or(0, |texts| texts.of(row)));
        budget.take(bytes)?;
    }
    Ok(())
}
