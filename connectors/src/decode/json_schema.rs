//! JSON Schema: checks each event against it, and derives columns from it. Draft 2020-12, draft 2019-09 without `$recursiveRef`, and drafts
//! 6 and 7. Of our own, since the libraries need other features of crates below Arrow and DataFusion, and compare decimals as floats. The
//! standard's own tests are run in `tests`.
//!
//! `format` is no rule, as in the standard: the type of a column checks its values. Nothing is read over the network: what a schema refers
//! to is in one of the given texts.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `documents` | the texts, and where their parts are: identifiers, anchors, pointers |
//! | `order` | the order in which a text names properties |
//! | `schema` | [`Schema`]: nodes with rules |
//! | `compile`, `pending`, `keywords`, `subschemas` | makes a schema of documents; the parts to read; the rules of each keyword; which hold schemas |
//! | `pattern` | regular expressions as JSON Schema writes them |
//! | `number` | compares numbers as written, and values |
//! | `check`, `violation` | checks a value; where it fails which rule |
//! | `columns` | the columns of a schema |
//! | `compare`, `rules`, `written` | which bodies a schema allows that another one does not; what rules say of each other; rules as text |
//! | `format` | [`JsonSchemaFormat`]: JSON that is checked as a [`Format`](super::Format) |

mod check;
mod columns;
mod compare;
mod compile;
mod documents;
mod format;
mod keywords;
mod number;
mod order;
mod pattern;
mod pending;
mod rules;
mod schema;
mod subschemas;
#[cfg(test)]
mod tests;
mod violation;
mod written;

pub(super) use compare::compared;
pub(super) use format::JsonSchemaFormat;
pub(super) use schema::Schema;
