//! Which column a member of an object belongs to, by its name.

use std::collections::HashMap;
use std::ops::Range;

use super::runs;

/// How many names of members are remembered: more occur only where names are data.
const REMEMBERED: usize = 1024;

/// Which column a member belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    /// The index that [`Members::new`] was given with the name; none where the member is passed over.
    pub(super) column: Option<usize>,
    /// Whether the name is just the column's.
    pub(super) exact: bool,
}

/// The value of a member, found in the text of its object.
pub(super) struct Found {
    pub(super) target: Target,
    /// Its bytes in the text.
    pub(super) value: Range<usize>,
}

/// A name that occurred.
struct Known {
    name: Box<str>,
    /// It and a quote after it, where it stands in JSON just as it is and is short.
    quoted: Option<Quoted>,
    target: Target,
    /// Index of the name that came after it the last time.
    next: usize,
}

/// A name and a quote, as one word: comparing these is one step.
struct Quoted {
    bytes: u128,
    /// Of the bytes that it has.
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

/// Finds the column of a member. Events of one kind have their members in one order, so the name that came next the last time
/// is tried first: one comparison, no hashing.
pub(super) struct Members {
    columns: Vec<(String, Option<usize>)>,
    known: Vec<Known>,
    by_name: HashMap<Box<str>, usize>,
    first: usize,
    /// Memory for the next object.
    found: Vec<Found>,
}

impl Members {
    /// Of columns by name; those with no index are known by name only, so that they are not taken for others.
    pub(super) fn new(columns: Vec<(String, Option<usize>)>) -> Members {
        Members { columns, known: Vec::new(), by_name: HashMap::new(), first: usize::MAX, found: Vec::new() }
    }

    /// The target of `name`, which comes after the name at index `before`; and the index of `name`.
    #[inline]
    pub(super) fn find(&mut self, before: usize, name: &str) -> (Target, usize) {
        let guess = self.known.get(before).map_or(self.first, |known| known.next);
        match self.known.get(guess) {
            Some(known) if *known.name == *name => (known.target, guess),
            _ => self.find_by_hash(before, name),
        }
    }

    /// The same for the name that came next the last time, where it is short and `text` begins with it and the quote after it;
    /// and its length. None too where `text` is about to end.
    #[inline]
    pub(super) fn find_expected(&self, before: usize, text: &[u8]) -> Option<(Target, usize, usize)> {
        let guess = self.known.get(before).map_or(self.first, |known| known.next);
        let known = self.known.get(guess)?;
        let quoted = known.quoted.as_ref()?;
        let word = u128::from_le_bytes(*text.first_chunk()?);
        (word & quoted.mask == quoted.bytes).then_some((known.target, guess, known.name.len()))
    }

    /// An empty list, to be given back with [`Members::keep`].
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
