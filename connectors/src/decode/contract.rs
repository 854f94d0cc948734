//! What a format is to the decoder: how payloads of one kind become columns.

use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef};
use arrow::error::ArrowError;

use super::fault::Fault;

/// A kind of payload: JSON, and what else option `format` may name. Shared by all batches of a source.
///
/// # Contract
/// - What a payload gives depends on the declared members alone, not on which of them are decoded, nor on the payloads before it
///   (checked by `bodies` and `oracle` in the tests of JSON).
/// - A type that passes [`Format::check`] is taken by [`Format::rows`] (checked by `values` in the tests of JSON).
pub trait Format: fmt::Debug + Send + Sync {
    /// Whether the values of a declared column can be read.
    ///
    /// # Errors
    /// What is wrong with its type.
    fn check(&self, field: &Field) -> Result<(), String>;

    /// An empty builder for about `capacity` rows. `members` are all declared columns but those of the envelope.
    ///
    /// # Errors
    /// What is wrong with a type that [`Format::check`] refuses.
    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String>;
}

/// Rows being made of payloads, for one batch. Called for many payloads at once: what differs by format costs one call for all of them.
///
/// # Contract
/// - One payload is one row, or it is taken back whole and its fault names the member (checked by `bodies` in the tests of JSON).
/// - After [`RowBuilder::truncate`] the builder is as it was when it had that many rows (checked by `decoder`).
pub trait RowBuilder: Send {
    /// Appends a row for each payload that decodes, in their order. Of each other one it adds to `faults` its index in `payloads` and what
    /// is wrong with it, in their order.
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Vec<(usize, Fault)>);

    /// Takes rows back, until there are `rows` of them; no more than there are.
    fn truncate(&mut self, rows: usize);

    /// The columns with [`Use::Decoded`], in the order of the members and of their types. The builder is not used afterwards.
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
    /// What is wanted of it.
    pub used: Use,
}

/// What is wanted of a declared column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Its values, and that a NOT NULL one has them.
    Decoded,
    /// That it has a value where it is NOT NULL; no more.
    Checked,
    /// Nothing but its name, so that a member of the payload is not taken for another column's.
    Named,
}
