//! The one place where errors of DataFusion and Arrow are classified, by what has to change. [`crate::wording`] puts them into
//! words.
//!
//! It is an allowlist: an error is a row's only if its kind says that a value is to blame. An unknown error is a bug, so that a
//! disagreement about types stops a view and never turns its events into dead letters.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;

/// What has to change so that an error does not come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The values of a row: an expression cannot be computed on them.
    Values,
    /// The query, which cannot be planned or run on any rows.
    Query,
    /// The machine: memory or another resource ran out.
    Resources,
    /// The outside: a disk or a server did not answer.
    Outside,
    /// A file that cannot be read.
    File,
    /// The program: an invariant of Alluvium or of DataFusion does not hold.
    Bug,
}

/// Returns the cause of an error, which is that of the innermost error.
#[must_use]
pub fn cause(error: &DataFusionError) -> Cause {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => cause_of_arrow(error),
        DataFusionError::External(error) => error.downcast_ref::<ArrowError>().map_or(Cause::Bug, cause_of_arrow),
        DataFusionError::Execution(message) => match is_about_types(message) {
            true => Cause::Query,
            false => Cause::Values,
        },
        DataFusionError::Plan(_)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::SQL(..)
        | DataFusionError::Configuration(_)
        | DataFusionError::Diagnostic(..) => Cause::Query,
        DataFusionError::ResourcesExhausted(_) => Cause::Resources,
        DataFusionError::IoError(_) | DataFusionError::ObjectStore(_) => Cause::Outside,
        DataFusionError::ParquetError(_) => Cause::File,
        _ => Cause::Bug,
    }
}

/// Returns the cause of an Arrow error.
#[must_use]
pub fn cause_of_arrow(error: &ArrowError) -> Cause {
    match error {
        ArrowError::CastError(_)
        | ArrowError::ParseError(_)
        | ArrowError::ComputeError(_)
        | ArrowError::DivideByZero
        | ArrowError::ArithmeticOverflow(_)
        // A column of more than 2 GiB: fewer rows at a time, or rows without the longest one, fit.
        | ArrowError::OffsetOverflowError(_) => Cause::Values,
        ArrowError::InvalidArgumentError(message) if is_about_a_value(message) => Cause::Values,
        ArrowError::NotYetImplemented(_) => Cause::Query,
        ArrowError::MemoryError(_) => Cause::Resources,
        ArrowError::IoError(..) => Cause::Outside,
        ArrowError::ParquetError(_) => Cause::File,
        ArrowError::ExternalError(error) => error.downcast_ref::<DataFusionError>().map_or(Cause::Bug, cause),
        _ => Cause::Bug,
    }
}

/// Checks whether an execution error is about the types of a call, which are the same for every row.
fn is_about_types(message: &str) -> bool {
    message.to_lowercase().contains("unsupported data type")
}

/// Checks whether the invalid argument that Arrow reports is a value. Most are arrays whose types or lengths disagree. Source:
/// arrow 59.3, in arrow-data `decimal`, in arrow-cast `cast/decimal` and `parse`, in arrow-array `types`, in arrow-string
/// `predicate`.
fn is_about_a_value(message: &str) -> bool {
    const OF_VALUES: [&str; 10] = [
        "too large to store in a Decimal",
        "too small to store in a Decimal",
        "Invalid decimal format",
        "Cannot parse decimal format",
        "Cannot convert ",
        "Encountered non UTF-8 data",
        "Split UTF-8 codepoint",
        "Unable to build regex from LIKE pattern",
        "Unable to represent ",
        "Unknown interval type",
    ];
    OF_VALUES.iter().any(|part| message.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_arrow(error: ArrowError) -> Cause {
        cause(&DataFusionError::from(error).context("while an expression is evaluated"))
    }

    #[test]
    fn only_values_are_to_blame_for_a_row() {
        for error in [
            ArrowError::CastError("Cannot cast string 'x' to value of Int64 type".to_owned()),
            ArrowError::ParseError("Error parsing timestamp from 'x'".to_owned()),
            ArrowError::ComputeError("Regular expression did not compile".to_owned()),
            ArrowError::DivideByZero,
            ArrowError::OffsetOverflowError(1 << 31),
            ArrowError::ArithmeticOverflow("Overflow happened on: 9223372036854775807 + 1".to_owned()),
            ArrowError::InvalidArgumentError("1000 is too large to store in a Decimal128 of precision 3. Max is 999".to_owned()),
            ArrowError::InvalidArgumentError("Encountered non UTF-8 data: invalid utf-8 sequence".to_owned()),
        ] {
            let shown = error.to_string();
            assert_eq!(of_arrow(error), Cause::Values, "{shown}");
        }
        assert_eq!(cause(&DataFusionError::Execution("invalid digit found in string".to_owned())), Cause::Values);
    }

    #[test]
    fn what_disagrees_for_every_row_is_never_a_row() {
        for (error, of) in [
            (
                ArrowError::InvalidArgumentError(
                    "column types must match schema types, expected Timestamp(ns, \"+00:00\") but found Timestamp(ns)".to_owned(),
                ),
                Cause::Bug,
            ),
            (
                ArrowError::InvalidArgumentError(
                    "Invalid comparison operation: Timestamp(ns) > Timestamp(ns, \"+00:00\")".to_owned(),
                ),
                Cause::Bug,
            ),
            (ArrowError::SchemaError("the fields differ".to_owned()), Cause::Bug),
            (ArrowError::NotYetImplemented("cast of a map".to_owned()), Cause::Query),
            (ArrowError::DictionaryKeyOverflowError, Cause::Bug),
            (ArrowError::ExternalError("something".into()), Cause::Bug),
            (ArrowError::ExternalError(Box::new(DataFusionError::Execution("a bad value".to_owned()))), Cause::Values),
            (ArrowError::MemoryError("out of it".to_owned()), Cause::Resources),
        ] {
            let shown = error.to_string();
            assert_eq!(of_arrow(error), of, "{shown}");
        }
        for (error, of) in [
            (DataFusionError::Internal("a bug".to_owned()), Cause::Bug),
            (DataFusionError::External("something".into()), Cause::Bug),
            (DataFusionError::External(Box::new(ArrowError::DivideByZero)), Cause::Values),
            (DataFusionError::Plan("no such column".to_owned()), Cause::Query),
            (DataFusionError::NotImplemented("a type".to_owned()), Cause::Query),
            (DataFusionError::Execution("Unsupported data type Boolean for function to_timestamp".to_owned()), Cause::Query),
            (DataFusionError::ResourcesExhausted("memory".to_owned()), Cause::Resources),
        ] {
            let shown = error.to_string();
            assert_eq!(cause(&error), of, "{shown}");
        }
    }
}
