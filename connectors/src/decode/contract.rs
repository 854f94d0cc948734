//! What a format is to the decoder: how payloads of one kind become columns.

use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef};
use arrow::error::ArrowError;

use super::fault::Faults;
use super::reading::Reading;

/// A kind of payload: JSON, and what else option `format` may name. Shared by all batches of a source.
///
/// # Contract
/// - What a payload gives for a member depends on the declared members alone, not on which others are decoded, nor on the payloads before
///   it (checked by `bodies` and `oracle` in the tests of JSON).
/// - A type that passes [`Format::check`] is taken by [`Format::rows`] (checked by `values` in the tests of JSON).
pub trait Format: fmt::Debug + Send + Sync {
    /// Whether the values of a declared column can be read.
    ///
    /// # Errors
    /// What is wrong with its type.
    fn check(&self, field: &Field) -> Result<(), String>;

    /// An empty builder for about `capacity` rows. `members` are all declared columns but those of the envelope, those that are not decoded
    /// too: so that a member of the payload is not taken for another column's.
    ///
    /// # Errors
    /// What is wrong with a type that [`Format::check`] refuses.
    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String>;
}

/// Rows being made of payloads, for one batch. Called for many payloads at once: what differs by format costs one call for all of them.
///
/// # Contract
/// - One payload is one row, or it leaves nothing behind (checked by `bodies` in the tests of JSON).
/// - A member that does not fit leaves NULL in its own column, also where that is NOT NULL, and the others of its payload as they are
///   (checked by `bodies` and `oracle`).
pub trait RowBuilder: Send {
    /// Appends a row for each payload that decodes, in their order. Adds to `faults` what does not, by the indexes of `payloads`.
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults);

    /// The decoded columns, in the order of the members and of their types; one that is NOT NULL may hold NULL where a fault says so. The
    /// builder is not used afterwards.
    ///
    /// # Errors
    /// Where a column does not fit its type: a bug.
    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError>;
}

/// A declared column that a payload may have a value for.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name, type, and whether it may be NULL.
    pub field: FieldRef,
    /// Whether its values are wanted.
    pub decoded: bool,
    /// What the source's options say of it. A format may pass over [`Reading::bad_is_null`], which is the decoder's.
    pub reading: Reading,
}
