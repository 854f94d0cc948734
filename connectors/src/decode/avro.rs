//! Decodes Avro data into Arrow rows, without arrow-avro: a body that fails half way must leave nothing behind, and a value that does not
//! fit must not fail its row. Values are appended to the columns of JSON, so that all rules for values are the same.
//!
//! A body is one datum of a record. Its writer's schema is resolved against the declared columns by the names of the fields: a field
//! without a column is skipped, a column without a field is NULL.
//!
//! | Avro | becomes |
//! | --- | --- |
//! | `decimal`, `date`, `time-*`, `timestamp-*`, `local-timestamp-*`, `duration`, `uuid` | decimals, dates, times, intervals, text |
//! | `enum` | text |
//! | `bytes`, `fixed` | BINARY; base64 text in a VARCHAR |
//! | `float`, `double`, `int`, `long`, `boolean`, `string` | what their JSON text becomes |
//! | `record`, `array`, `map` | STRUCT, arrays and MAP; JSON text in a VARCHAR |
//! | a union | the value of its branch |
//!
//! | module | what it holds |
//! | --- | --- |
//! | `schema` | parses a schema |
//! | `datum` | reads one datum as values |
//! | `fit` | which declared columns a schema can fill |
//! | `columns` | the columns of a schema |
//! | `compare` | what a schema reads of data of another one |
//! | `format` | [`AvroFormat`]: Avro as a [`Format`](super::Format) |

mod columns;
mod compare;
pub(crate) mod datum;
mod fit;
mod format;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

pub(super) use columns::columns;
pub(super) use compare::compared;
pub(super) use format::AvroFormat;
