//! JSON bodies to Arrow rows: one body, one row or one dead letter, in one pass and without an allocation for each row.
//!
//! What a body must be: exactly one JSON object (RFC 8259, UTF-8), nested at most 127 deep (what serde_json reads back), in members that no
//! column reads as well. Anything else is a dead letter. A value that does not fit its column is NULL and marked.
//!
//! | column | takes |
//! | --- | --- |
//! | integers | numbers without a fraction (`5`, `5.0`, `5e2`), and text of one (`"5"`, as protobuf writes 64-bit integers) |
//! | DECIMAL | numbers and text, exactly as written, exponents too; what would have to be rounded is `out_of_range` |
//! | floating point | numbers, text of one, `"NaN"`, `"Infinity"`, `"-Infinity"`; an overflow is `out_of_range` |
//! | BOOLEAN | `true`, `false`, 1, 0, and text of one or `yes`, `no`, `on`, `off` in any case |
//! | VARCHAR | text; of a number, a boolean, an object or an array its JSON text as written |
//! | BINARY | base64 text, either alphabet, with or without padding |
//! | TIMESTAMP | ISO 8601 text in either form, with `T` or a space, with or without seconds, with or without an offset (without one: in the column's time zone, else UTC); RFC 2822 text; numbers, also as text, in the unit of option `epoch` or else of the type since 1970, but not where that is nanoseconds and nobody says so; nothing is rounded |
//! | DATE, TIME | ISO 8601 text; integers in the column's unit |
//! | INTERVAL, duration | text such as `1 month 2 days`; durations: integers in the column's unit |
//! | STRUCT | an object, by the rules of the body |
//! | arrays | an array |
//! | MAP | an object; of members of one name the last wins |
//!
//! A missing member and `null` are NULL, and marked as `missing` where the column is NOT NULL. Members that no column names are passed over. A member belongs to the column of just its
//! name, else to the first column whose name differs in the case of ASCII letters only; where a body has both, the exact one
//! wins, and of members of one name the last.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `format` | [`JsonFormat`]: JSON as a [`Format`](super::Format) |
//! | `fields` | the columns that an object fills: a body's, and a STRUCT's |
//! | `make` | which column takes the values of a type |
//! | `column` | columns being built, by type |
//! | `object` | walks objects and arrays with serde_json |
//! | `plain` | the same for bodies as programs write them, by a short cut |
//! | `members` | which column a member belongs to |
//! | `depth`, `runs` | how deep a body is nested; text that stands in JSON as it is |

mod column;
mod depth;
mod fields;
mod format;
mod make;
mod members;
mod object;
mod plain;
mod runs;
#[cfg(test)]
mod tests;

pub(crate) use format::JsonFormat;
