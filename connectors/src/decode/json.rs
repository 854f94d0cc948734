//! Decodes JSON bodies into Arrow rows in one pass, without an allocation per row. Each body becomes one row or one dead letter.
//!
//! A body must be exactly one JSON object (RFC 8259, UTF-8), nested at most 127 deep (the limit of serde_json). The depth limit also covers
//! members that no column reads. Any other body becomes a dead letter. A value that does not fit its column is NULL and marked.
//!
//! | column | accepts |
//! | --- | --- |
//! | integers | numbers without a fraction (`5`, `5.0`, `5e2`), also as text (`"5"`, as protobuf writes 64-bit integers) |
//! | DECIMAL | numbers, also as text, also with an exponent; nothing is rounded: a value that is too fine is `out_of_range` |
//! | floating point | numbers, also as text; `"NaN"`, `"Infinity"`, `"-Infinity"`; an overflow is `out_of_range` |
//! | BOOLEAN | `true`, `false`, 1, 0, also as text; the texts `t`, `f`, `yes`, `no`, `y`, `n`, `on`, `off`; text in any case |
//! | VARCHAR | text; a number, boolean, object or array is kept as its JSON text, as written |
//! | BINARY | base64 text, standard or URL-safe alphabet, with or without padding |
//! | TIMESTAMP | ISO 8601 text, basic or extended, with `T` or a space, with or without seconds and offset (default: the column's time zone, else UTC); RFC 2822 text; numbers since 1970, also as text, in the unit of option `epoch`, else of the type; a nanosecond type needs the option; nothing is rounded |
//! | DATE, TIME | ISO 8601 text; integers in the column's unit |
//! | INTERVAL | text such as `1 month 2 days` |
//! | duration | integers in the column's unit |
//! | STRUCT | an object; its members are matched like those of a body |
//! | arrays | an array |
//! | MAP | an object; the last of several members with the same name wins |
//!
//! A missing member and `null` are NULL, and marked as `missing` if the column is NOT NULL. Members without a column are skipped.
//! A member belongs to the column with exactly its name, else to the first column whose name differs only in the case of ASCII letters.
//! If a body has both, the exact match wins. The last of several members with the same name wins.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `format` | [`JsonFormat`]: JSON as a [`Format`](super::Format) |
//! | `changed_rows`, `change` | payloads that describe changes of rows |
//! | `fields` | the columns that an object fills: those of a body or of a STRUCT |
//! | `make` | creates the column builder for a type |
//! | `column` | column builders, by type |
//! | `object` | walks objects and arrays with serde_json |
//! | `plain` | a fast path for objects in the compact form that programs write |
//! | `members` | finds the column of a member |
//! | `depth`, `runs` | the nesting depth of a body; text without characters that JSON must escape |

mod change;
mod changed_rows;
pub(super) mod column;
mod depth;
pub(super) mod fields;
mod format;
pub(super) mod make;
pub(super) mod members;
mod object;
mod plain;
mod runs;
#[cfg(test)]
mod tests;

pub(super) use changed_rows::ChangeFormat;
pub(crate) use format::JsonFormat;
pub(super) use format::JsonRows;
pub(super) use object::entries;
