//! Why a payload or a value does not decode: from the parser's refusal to the text of the dead letter.

use std::fmt::Write;

/// The maximum length of an excerpt of a payload in an error's text, in bytes.
const EXCERPT: usize = 60;

/// Why a parser refuses a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The value is of another kind, or its text does not parse.
    WrongType,
    /// A number was given for a time, and its unit is not declared.
    NoUnit,
    /// The value is of the right kind but cannot be represented. Holds the reason.
    OutOfRange(&'static str),
}

/// The faults of a chunk of payloads.
#[derive(Debug, Default)]
pub struct Faults {
    /// The payloads that do not become rows: index and fault, in ascending order of the index.
    pub payloads: Vec<(usize, Fault)>,
    /// The members that do not fit their columns, of payloads that become rows.
    pub members: Vec<MemberFault>,
    /// The payloads that become zero or several rows: index and number of rows, in ascending order of the index. A member that does not fit
    /// marks all rows of its payload.
    pub uneven: Vec<(usize, usize)>,
}

impl Faults {
    /// Removes all faults.
    pub fn clear(&mut self) {
        self.payloads.clear();
        self.members.clear();
        self.uneven.clear();
    }
}

/// The number of rows of each payload.
pub(super) struct RowCounts<'f> {
    failed: std::iter::Peekable<std::slice::Iter<'f, (usize, Fault)>>,
    uneven: std::iter::Peekable<std::slice::Iter<'f, (usize, usize)>>,
}

impl Faults {
    /// Returns the number of rows of each payload. Query it for every payload, in order.
    pub(super) fn row_counts(&self) -> RowCounts<'_> {
        RowCounts { failed: self.payloads.iter().peekable(), uneven: self.uneven.iter().peekable() }
    }
}

impl<'f> RowCounts<'f> {
    /// Returns the number of rows of a payload, or its fault.
    #[inline]
    pub(super) fn of(&mut self, payload: usize) -> Result<usize, &'f Fault> {
        if let Some((_, fault)) = self.failed.next_if(|(at, _)| *at == payload) {
            return Err(fault);
        }
        Ok(self.uneven.next_if(|(at, _)| *at == payload).map_or(1, |(_, rows)| *rows))
    }
}

/// A member that does not fit its column.
#[derive(Debug)]
pub struct MemberFault {
    /// The payload's index.
    pub payload: usize,
    /// The index of the member in the list that the builder was created with.
    pub member: usize,
    /// What is wrong with the member.
    pub fault: Fault,
}

/// Marks a value of a row that did not fit its column. Views that read the column leave the row out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// The row's index in its batch.
    pub row: usize,
    /// The column's index in the declaration.
    pub column: usize,
    /// One of the words of [`crate::DeadLetter::kind`].
    pub kind: &'static str,
    /// What is wrong and where. Begins with the column.
    pub error: String,
}

/// What is wrong with a payload, and where.
#[derive(Debug)]
pub struct Fault {
    /// One of the words of [`crate::DeadLetter::kind`].
    pub kind: &'static str,
    /// The column, then the members and indexes below it. Built from the inside out.
    path: String,
    /// What is wrong there.
    message: String,
    /// The value's address in memory, from which its byte offset in the payload is computed.
    address: Option<usize>,
}

impl Fault {
    /// Creates a fault of the payload as a whole.
    #[must_use]
    pub fn of_payload(kind: &'static str, message: String) -> Fault {
        Fault { kind, path: String::new(), message, address: None }
    }

    /// Creates a fault for a value that is missing or null in a NOT NULL column.
    #[must_use]
    pub fn missing() -> Fault {
        Fault::of_payload("missing", "NOT NULL, but the value is missing or null".into())
    }

    /// Creates a fault for a value that the writer of the payload did not have.
    #[must_use]
    pub fn unknown() -> Fault {
        let message = "the database did not send the value, which it does not do with large values that have not changed; \
                       ALTER TABLE ... REPLICA IDENTITY FULL makes it send them";
        Fault::of_payload("not_sent", message.into())
    }

    /// Creates a fault for a value that a column of type `expected` refuses.
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

    /// Creates a fault for a value that is nested deeper than `limit`.
    #[must_use]
    pub fn too_deep(raw: &str, limit: usize) -> Fault {
        Fault {
            kind: "too_deep",
            path: String::new(),
            message: format!("nested more than {limit} deep"),
            address: Some(raw.as_ptr().addr()),
        }
    }

    /// Adds to what is wrong.
    #[must_use]
    pub fn with(mut self, more: &str) -> Fault {
        self.message.push_str(more);
        self
    }

    /// Sets the address in memory of the value, which must be part of the payload.
    #[must_use]
    pub fn at(mut self, address: usize) -> Fault {
        self.address = Some(address);
        self
    }

    /// Adds the member in which the fault lies to its path.
    #[must_use]
    pub fn in_member(mut self, name: &str) -> Fault {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    /// Adds the array element in which the fault lies to its path. Elements count from 0.
    #[must_use]
    pub fn in_element(mut self, index: usize) -> Fault {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("[{index}]{dot}{}", self.path);
        self
    }

    /// Converts the fault to a mark in a row of a batch.
    #[must_use]
    pub fn mark(&self, row: usize, column: usize, payload: &[u8]) -> Unfit {
        Unfit { row, column, kind: self.kind, error: self.describe(payload) }
    }

    /// Returns the error text for `payload`.
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

/// Returns the beginning of a value's text.
fn excerpt(raw: &str) -> String {
    if raw.len() <= EXCERPT {
        return raw.to_owned();
    }
    let end = (0..=EXCERPT).rev().find(|end| raw.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &raw[..end])
}
