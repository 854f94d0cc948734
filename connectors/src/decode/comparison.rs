//! What a comparison of two schemas says, and the schemas as they are kept for it. The formats compare; `compatibility` decides what it means.

use std::fmt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// The file of a schema as it is kept. A file that is no text is kept as base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptSchema {
    /// The name of the file.
    pub file: String,
    /// Its text.
    pub text: String,
    /// Whether the text is the base64 of the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_base64: bool,
}

/// A member that one schema cannot read as the other has written it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// Its path: `items[].count`. Empty for the whole.
    pub member: String,
    /// What it was.
    pub before: String,
    /// What it is.
    pub now: String,
}

/// `items[].count: long before, string now`.
impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = if self.member.is_empty() { "the whole" } else { &self.member };
        write!(f, "{member}: {} before, {} now", self.before, self.now)
    }
}

/// How much of two schemas is compared: they may refer to themselves, and be woven so that they have no end.
#[derive(Debug)]
pub(super) struct Budget {
    steps: usize,
    depth: usize,
    most_steps: usize,
    max_depth: usize,
    is_told: bool,
}

/// Whether a pair of parts is to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It is.
    Compare,
    /// It is not, and this is what is said of both instead.
    Say(&'static str),
    /// It is not, and that was said already.
    Nothing,
}

impl Budget {
    /// So many pairs, and so many within each other.
    pub(super) fn new(most_steps: usize, max_depth: usize) -> Budget {
        Budget { steps: 0, depth: 0, most_steps, max_depth, is_told: false }
    }

    /// Begins a pair. [`Budget::end`] ends it, whatever the step is.
    pub(super) fn begin(&mut self) -> Step {
        self.steps += 1;
        self.depth += 1;
        if self.steps <= self.most_steps && self.depth <= self.max_depth {
            return Step::Compare;
        }
        if std::mem::replace(&mut self.is_told, true) { Step::Nothing } else { Step::Say("too large to be compared") }
    }

    /// Ends a pair.
    pub(super) fn end(&mut self) {
        self.depth -= 1;
    }

    /// Whether it was said that the schemas are too large.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }
}

/// What breaks in each direction. Nothing where both are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What the schema now cannot read of what was written before.
    pub backward: Vec<Break>,
    /// What the schema before cannot read of what is written now.
    pub forward: Vec<Break>,
}

/// What a reader makes of a member, and what the writer wrote. Each direction turns it into a [`Break`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unread {
    pub(super) member: String,
    pub(super) reader: String,
    pub(super) writer: String,
}

impl Comparison {
    /// Compares two schemas. `unread` returns what its first schema cannot read of what the second has written.
    pub(super) fn of<S: ?Sized>(before: &S, now: &S, unread: impl Fn(&S, &S) -> Vec<Unread>) -> Comparison {
        let backward = unread(now, before).into_iter();
        let forward = unread(before, now).into_iter();
        Comparison {
            backward: backward.map(|one| Break { member: one.member, before: one.writer, now: one.reader }).collect(),
            forward: forward.map(|one| Break { member: one.member, before: one.reader, now: one.writer }).collect(),
        }
    }
}

/// The content of a file.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

impl Content {
    /// Returns the name of the file.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// Returns the content as it is kept.
    pub(super) fn kept(self) -> KeptSchema {
        let file = self.name();
        match String::from_utf8(self.bytes) {
            Ok(text) => KeptSchema { file, text, is_base64: false },
            Err(error) => KeptSchema { file, text: STANDARD.encode(error.into_bytes()), is_base64: true },
        }
    }

    /// Returns what was kept.
    ///
    /// # Errors
    /// It is not the base64 that it says it is.
    pub(super) fn of(kept: &KeptSchema) -> Result<Content, String> {
        let bytes = match kept.is_base64 {
            true => STANDARD.decode(&kept.text).map_err(|error| format!("{}: {error}", kept.file))?,
            false => kept.text.clone().into_bytes(),
        };
        Ok(Content { path: PathBuf::from(&kept.file), bytes })
    }
}
