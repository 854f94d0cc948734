//! Why a payload does not decode, on its way from the value concerned to the dead letter.

use std::fmt::Write;

/// Longest excerpt of a payload in an error's text, in bytes.
const EXCERPT: usize = 60;

/// Why a value does not fit its column, as its parser says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another kind of value, or text that does not say one.
    WrongType,
    /// A number where a time is wanted, whose unit nobody has said.
    NoUnit,
    /// The right kind, but not representable: why.
    OutOfRange(&'static str),
}

/// What did not decode of some payloads.
#[derive(Debug, Default)]
pub struct Faults {
    /// Payloads that give no row: the index of each, rising, and what is wrong with it.
    pub payloads: Vec<(usize, Fault)>,
    /// Members that do not fit their columns, of payloads that give a row all the same.
    pub members: Vec<MemberFault>,
}

impl Faults {
    /// Forgets all.
    pub fn clear(&mut self) {
        self.payloads.clear();
        self.members.clear();
    }
}

/// A member that does not fit its column.
#[derive(Debug)]
pub struct MemberFault {
    /// The payload's index.
    pub payload: usize,
    /// The member's index among those that the builder was made for.
    pub member: usize,
    /// What is wrong with it.
    pub fault: Fault,
}

/// A value that a row lacks, since what was there does not fit the column: the row counts only for those that do not read the column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The row's index in its batch.
    pub row: usize,
    /// The column's index in the declaration.
    pub column: usize,
    /// A word of [`crate::DeadLetter::kind`].
    pub kind: &'static str,
    /// What is wrong and where; begins with the column.
    pub error: String,
}

/// What is wrong with a payload, and where.
#[derive(Debug)]
pub struct Fault {
    /// A word of [`crate::DeadLetter::kind`].
    pub kind: &'static str,
    /// The column, then members and indexes below it; built from the innermost outwards.
    path: String,
    /// What is wrong there.
    message: String,
    /// The value's address in memory, to find its byte in the payload.
    address: Option<usize>,
}

impl Fault {
    /// A fault of the payload as a whole.
    #[must_use]
    pub fn of_payload(kind: &'static str, message: String) -> Fault {
        Fault { kind, path: String::new(), message, address: None }
    }

    /// A value that is not there or null where it must not be.
    #[must_use]
    pub fn missing() -> Fault {
        Fault::of_payload("missing", "NOT NULL, but the value is missing or null".into())
    }

    /// A value that a column of type `expected` does not take.
    #[must_use]
    pub fn of_value(refusal: Refusal, expected: &dyn std::fmt::Display, raw: &str) -> Fault {
        let mut message = format!("expected {expected}, found {}", excerpt(raw));
        let kind = match refusal {
            Refusal::WrongType => "wrong_type",
            Refusal::NoUnit => {
                message.push_str(
                    ": a number has no unit here; declare TIMESTAMP(3) for milliseconds or TIMESTAMP(0) for seconds, or give ",
                );
                message.push_str("option epoch 'ms'");
                "wrong_type"
            }
            Refusal::OutOfRange(why) => {
                message.push_str(": ");
                message.push_str(why);
                "out_of_range"
            }
        };
        Fault { kind, path: String::new(), message, address: Some(raw.as_ptr().addr()) }
    }

    /// A value that is nested deeper than `limit`.
    #[must_use]
    pub fn too_deep(raw: &str, limit: usize) -> Fault {
        Fault {
            kind: "too_deep",
            path: String::new(),
            message: format!("nested more than {limit} deep"),
            address: Some(raw.as_ptr().addr()),
        }
    }

    /// Says where in memory the value is, which stands in the payload.
    #[must_use]
    pub fn at(mut self, address: usize) -> Fault {
        self.address = Some(address);
        self
    }

    /// Says in which member the fault lies.
    #[must_use]
    pub fn in_member(mut self, name: &str) -> Fault {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    /// Says in which element of an array the fault lies, counted from 0.
    #[must_use]
    pub fn in_element(mut self, index: usize) -> Fault {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("[{index}]{dot}{}", self.path);
        self
    }

    /// The mark of it in a row of a batch.
    #[must_use]
    pub fn mark(&self, row: usize, column: usize, payload: &[u8]) -> Unfit {
        Unfit { row, column, kind: self.kind, error: self.describe(payload) }
    }

    /// The text for the dead letter of `payload`.
    #[must_use]
    pub fn describe(&self, payload: &[u8]) -> String {
        let mut text = String::new();
        if !self.path.is_empty() {
            let _ = write!(text, "column {}: ", self.path);
        }
        text.push_str(&self.message);
        let start = payload.as_ptr().addr();
        if let Some(address) = self.address
            && (start..=start + payload.len()).contains(&address)
        {
            let _ = write!(text, ", at byte {}", address - start);
        }
        text
    }
}

/// The beginning of a value's text.
fn excerpt(raw: &str) -> String {
    if raw.len() <= EXCERPT {
        return raw.to_owned();
    }
    let end = (0..=EXCERPT).rev().find(|end| raw.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &raw[..end])
}
