//! Decodes Protobuf messages into Arrow rows, without generated code: prost-reflect reads the schema once, and bodies are read by a plan
//! that is made of it. Values are appended to the columns of JSON, so that all rules for values are the same.
//!
//! | Protobuf | becomes |
//! | --- | --- |
//! | numbers, `bool`, `string` | what their JSON text becomes |
//! | `bytes` | BINARY; base64 text in a VARCHAR |
//! | an enum | the name of the value as text; the number if the schema has no name for it |
//! | a message, `repeated`, `map` | STRUCT, arrays and MAP; JSON text in a VARCHAR |
//! | `Timestamp`, `Duration` | timestamps; intervals |
//! | wrappers (`Int64Value` and so on) | the value, or NULL |
//! | `Struct`, `Value`, `ListValue` | what they stand for |
//!
//! A field that is not set is NULL if the schema tells that from a default value (`optional`, `oneof`, messages, proto2). Else it is the
//! default value: 0, the empty text, an empty array.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `schema` | the plan of a schema |
//! | `message` | reads one message as values |
//! | `skip` | reads past the fields that no column needs |
//! | `scalar` | values that are no messages, and times |
//! | `wire` | reads fields as they are written |
//! | `fit` | which declared columns a message can fill |
//! | `columns` | the columns of a message |
//! | `registered` | the schemas of a registry, and the message that a body names |
//! | `compare` | what a message reads of bodies of another one |
//! | `format` | [`ProtobufFormat`]: Protobuf as a [`Format`](super::Format) |

mod columns;
mod compare;
mod fit;
mod format;
mod message;
pub(in crate::decode) mod registered;
mod scalar;
pub(in crate::decode) mod schema;
mod skip;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use columns::columns;
pub(super) use compare::compared;
pub(super) use format::ProtobufFormat;
