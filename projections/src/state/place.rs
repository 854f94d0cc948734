//! The address of a row in state.

/// The address of a row: a slot of the segments, and a row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u32);

const ROW_BITS: u32 = super::MAX_BATCH_ROWS.trailing_zeros();

impl Place {
    /// The place of no row.
    pub(crate) const NONE: Place = Place(u32::MAX);

    /// The number of slots that places can address: one less than the bits allow, so that [`Place::NONE`] is never the place of a row.
    pub(crate) const MAX_SLOTS: usize = (1 << (32 - ROW_BITS)) - 1;

    pub(crate) fn new(slot: usize, row: usize) -> Self {
        Self(((slot as u32) << ROW_BITS) | row as u32)
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 >> ROW_BITS) as usize
    }

    pub(crate) fn row(self) -> usize {
        (self.0 & ((1 << ROW_BITS) - 1)) as usize
    }

    /// Returns a number that no other place has.
    pub(crate) fn index(self) -> u32 {
        self.0
    }

    pub(crate) fn is_none(self) -> bool {
        self == Place::NONE
    }
}
