//! Types of columns, as SQL writes them.

use std::fmt::{self, Write as _};

use super::names::written;
use super::times::Unit;

/// The type of a column or of a member.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    Boolean,
    BigInt,
    UnsignedBigInt,
    Double,
    Decimal {
        precision: usize,
        scale: usize,
    },
    Varchar,
    Date,
    /// A time in text, with as many digits of a second as fit.
    Timestamp,
    /// A time with so many digits of a second: 0, 3 or 6.
    TimestampOf(u8),
    Struct(Vec<Member>),
    List(Box<Type>),
    Map(Box<Type>),
}

/// A member of a STRUCT.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) of_type: Type,
    /// What was seen of it.
    pub(super) comment: String,
}

impl Type {
    pub(super) fn is_time(&self) -> bool {
        matches!(self, Type::Date | Type::Timestamp | Type::TimestampOf(_))
    }

    pub(super) fn is_scalar(&self) -> bool {
        !matches!(self, Type::Struct(_) | Type::List(_) | Type::Map(_))
    }

    /// The type with text in place of all that text can hold as well: what remains to try where a nested value does not fit.
    pub(super) fn in_text(&self) -> Type {
        match self {
            Type::Struct(members) => Type::Struct(
                members.iter().map(|member| Member { of_type: member.of_type.in_text(), ..member.clone() }).collect(),
            ),
            Type::List(item) => Type::List(Box::new(item.in_text())),
            Type::Map(value) => Type::Map(Box::new(value.in_text())),
            _ => Type::Varchar,
        }
    }

    /// Writes the type. Each member of a STRUCT stands on a line of its own, with its comment, if `lines` is an indentation.
    pub(super) fn write(&self, lines: Option<usize>, text: &mut String) {
        match self {
            Type::Struct(members) => {
                text.push_str("STRUCT<");
                let deeper = lines.map(|indent| indent + 2);
                let width = members.iter().map(|member| written(&member.name).chars().count()).max().unwrap_or_default();
                for (index, member) in members.iter().enumerate() {
                    let last = index + 1 == members.len();
                    match deeper {
                        Some(indent) => {
                            let _ = write!(text, "\n{:indent$}{:width$} ", "", written(&member.name));
                            member.of_type.write(deeper, text);
                            text.push_str(if last { "" } else { "," });
                            let _ = write!(text, "  -- {}", member.comment);
                        }
                        None => {
                            let _ = write!(text, "{} ", written(&member.name));
                            member.of_type.write(None, text);
                            text.push_str(if last { "" } else { ", " });
                        }
                    }
                }
                if let Some(indent) = lines {
                    let _ = write!(text, "\n{:indent$}", "");
                }
                text.push('>');
            }
            Type::List(item) => {
                item.write(lines, text);
                text.push_str("[]");
            }
            Type::Map(value) => {
                text.push_str("MAP(VARCHAR, ");
                value.write(lines, text);
                text.push(')');
            }
            plain => {
                let _ = write!(text, "{plain}");
            }
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Boolean => f.write_str("BOOLEAN"),
            Type::BigInt => f.write_str("BIGINT"),
            Type::UnsignedBigInt => f.write_str("BIGINT UNSIGNED"),
            Type::Double => f.write_str("DOUBLE"),
            Type::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            Type::Varchar => f.write_str("VARCHAR"),
            Type::Date => f.write_str("DATE"),
            Type::Timestamp => f.write_str("TIMESTAMP"),
            Type::TimestampOf(digits) => write!(f, "TIMESTAMP({digits})"),
            nested => {
                let mut text = String::new();
                nested.write(None, &mut text);
                f.write_str(&text)
            }
        }
    }
}

/// Returns the type of times that are written as numbers of a unit, where no option tells the unit. `None` for nanoseconds.
pub(super) fn time_of(unit: Unit) -> Option<Type> {
    (unit != Unit::Nanosecond).then(|| Type::TimestampOf(unit.digits()))
}
