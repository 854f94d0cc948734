//! Finds the column of an object's member by its name.

use std::collections::HashMap;
use std::ops::Range;

use super::runs;

/// The maximum number of member names to remember. More occur only where names are data.
const REMEMBERED: usize = 1024;

/// The column that a member belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::decode) struct Target {
    /// The index passed to [`Members::new`] with the name; `None` if the member is skipped.
    pub(in crate::decode) column: Option<usize>,
    /// Whether the name is exactly that of the column.
    pub(in crate::decode) exact: bool,
}

/// A member's value, as a range in the text of its object.
pub(super) struct Found {
    pub(super) target: Target,
    /// The byte range of the value.
    pub(super) value: Range<usize>,
}

/// A member name that has occurred.
struct Known {
    name: Box<str>,
    /// The name and the closing quote, if the name is short and needs no escapes.
    quoted: Option<Quoted>,
    target: Target,
    /// The index of the name that last followed this one.
    next: usize,
}

/// A name and its closing quote as one word, so that a single comparison suffices.
struct Quoted {
    bytes: u128,
    /// Has all bits set in the bytes in use.
    mask: u128,
}

impl Quoted {
    fn new(name: &str) -> Option<Quoted> {
        let mut bytes = [0; 16];
        let mut mask = [0; 16];
        if !runs::is_plain(name) {
            return None;
        }
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        *bytes.get_mut(name.len())? = b'"';
        mask[..=name.len()].fill(u8::MAX);
        Some(Quoted { bytes: u128::from_le_bytes(bytes), mask: u128::from_le_bytes(mask) })
    }
}

/// Finds the column of a member. Events of one kind usually have their members in the same order, so the name that followed last time
/// is tried first. That takes one comparison and no hashing.
pub(super) struct Members {
    columns: Vec<(String, Option<usize>)>,
    known: Vec<Known>,
    by_name: HashMap<Box<str>, usize>,
    first: usize,
    /// An empty list whose memory is reused for the next object.
    found: Vec<Found>,
}

impl Members {
    /// Takes all columns by name. Columns without an index are not filled, but their members must not match another column.
    pub(super) fn new(columns: Vec<(String, Option<usize>)>) -> Members {
        Members { columns, known: Vec::new(), by_name: HashMap::new(), first: usize::MAX, found: Vec::new() }
    }

    /// Returns the target and the index of `name`, which follows the name at index `before`.
    #[inline]
    pub(super) fn find(&mut self, before: usize, name: &str) -> (Target, usize) {
        let guess = self.known.get(before).map_or(self.first, |known| known.next);
        match self.known.get(guess) {
            Some(known) if *known.name == *name => (known.target, guess),
            _ => self.find_by_hash(before, name),
        }
    }

    /// Tries the name that followed `before` last time. If it is short and `text` begins with it and its closing quote, returns its
    /// target, index and length. Also returns `None` if `text` has fewer than 16 bytes.
    #[inline]
    pub(super) fn find_expected(&self, before: usize, text: &[u8]) -> Option<(Target, usize, usize)> {
        let guess = self.known.get(before).map_or(self.first, |known| known.next);
        let known = self.known.get(guess)?;
        let quoted = known.quoted.as_ref()?;
        let word = u128::from_le_bytes(*text.first_chunk()?);
        (word & quoted.mask == quoted.bytes).then_some((known.target, guess, known.name.len()))
    }

    /// Which of the first `count` indexes no name has led to, and names that lead nowhere. Both empty where more names occurred than are
    /// remembered.
    pub(super) fn absent(&self, count: usize) -> (Vec<usize>, Vec<String>) {
        let mut seen = vec![self.known.len() == REMEMBERED; count];
        for index in self.known.iter().filter_map(|known| known.target.column) {
            seen[index] = true;
        }
        let absent: Vec<usize> = (0..count).filter(|index| !seen[*index]).collect();
        if absent.is_empty() {
            return (absent, Vec::new());
        }
        let is_declared = |name: &str| self.columns.iter().any(|(column, _)| column.eq_ignore_ascii_case(name));
        let unknown = self.known.iter().filter(|known| known.target.column.is_none() && !is_declared(&known.name));
        (absent, unknown.map(|known| known.name.to_string()).collect())
    }

    /// Returns an empty list. Give it back with [`Members::keep`].
    pub(super) fn list(&mut self) -> Vec<Found> {
        std::mem::take(&mut self.found)
    }

    pub(super) fn keep(&mut self, mut found: Vec<Found>) {
        found.clear();
        self.found = found;
    }

    fn find_by_hash(&mut self, before: usize, name: &str) -> (Target, usize) {
        let index = match self.by_name.get(name) {
            Some(index) => *index,
            None => {
                let target = self.resolve(name);
                if self.known.len() == REMEMBERED {
                    return (target, usize::MAX);
                }
                self.known.push(Known { name: name.into(), quoted: Quoted::new(name), target, next: usize::MAX });
                self.by_name.insert(name.into(), self.known.len() - 1);
                self.known.len() - 1
            }
        };
        match self.known.get_mut(before) {
            Some(known) => known.next = index,
            None => self.first = index,
        }
        (self.known[index].target, index)
    }

    fn resolve(&self, name: &str) -> Target {
        let exact = self.columns.iter().find(|(column, _)| column == name);
        let found = exact.or_else(|| self.columns.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)));
        Target { column: found.and_then(|(_, index)| *index), exact: exact.is_some() }
    }
}
