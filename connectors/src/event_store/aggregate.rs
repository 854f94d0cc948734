//! The identity of an aggregate, its subject, and where it is.

use std::fmt;

/// A name that cannot be part of a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidName(String);

/// The longest part of a subject or of a key, in bytes. A server closes the connection of a client whose subject is too long for it.
pub(super) const LONGEST: usize = 256;

/// Identifies an aggregate by its type and its id. It has one subject: `<prefix>.<type>.<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AggregateId {
    kind: String,
    id: String,
}

impl AggregateId {
    /// Names an aggregate: `AggregateId::new("order", "42")`.
    ///
    /// # Errors
    /// [`InvalidName`] if a part cannot be one token of a NATS subject: it is empty, or holds a space, a control character, `.`,
    /// `*` or `>`, or more than 256 bytes.
    pub fn new(kind: impl Into<String>, id: impl Into<String>) -> Result<AggregateId, InvalidName> {
        let (kind, id) = (kind.into(), id.into());
        check_token("an aggregate's type", &kind)?;
        check_token("an aggregate's id", &id)?;
        Ok(AggregateId { kind, id })
    }

    /// Returns the type.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the subject of its events.
    pub fn subject(&self, prefix: &str) -> String {
        format!("{prefix}.{}.{}", self.kind, self.id)
    }
}

impl fmt::Display for AggregateId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.kind, self.id)
    }
}

/// The last message of an aggregate that a reader or a writer has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The number of events so far. 0 for an aggregate without events.
    pub version: u64,
    /// The sequence of the last message in the stream. 0 if there is none.
    pub sequence: u64,
}

/// Checks that a text can be one token of a subject.
pub(super) fn check_token(what: &str, token: &str) -> Result<(), InvalidName> {
    let unfit = |char: char| char.is_whitespace() || char.is_control() || matches!(char, '.' | '*' | '>');
    match token {
        "" => Err(InvalidName(format!("{what} is empty"))),
        _ if token.len() > LONGEST => Err(InvalidName(format!("{what} has {} bytes, more than {LONGEST}", token.len()))),
        _ if token.contains(unfit) => Err(InvalidName(format!(
            "{what} must be one token of a NATS subject, without spaces, '.', '*' and '>', but is {token:?}; encode it"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_aggregate_has_one_subject() {
        assert_eq!(AggregateId::new("order", "42").unwrap().subject("orders"), "orders.order.42");
        for id in ["", "a.b", "a b", "*", "x>", "a\n"] {
            assert!(AggregateId::new("order", id).is_err(), "{id:?}");
            assert!(AggregateId::new(id, "1").is_err(), "{id:?}");
        }
    }
}
