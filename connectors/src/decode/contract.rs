//! The traits that a format implements: how payloads of one kind become columns.

use std::fmt;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, FieldRef};
use arrow::error::ArrowError;

use super::fault::Faults;
use super::reading::Reading;
use crate::Error;

/// A kind of payload that option `format` can name, such as JSON. All batches of a source share it.
///
/// # Contract
/// - The value of a member depends only on its payload and the declared members, not on which other members are decoded, nor on earlier
///   payloads (checked by `bodies` and `oracle` in the tests of JSON).
/// - [`Format::rows`] accepts every type that passes [`Format::check`] (checked by `values` in the tests of JSON).
pub trait Format: fmt::Debug + Send + Sync {
    /// Checks whether the values of a declared column can be read.
    ///
    /// # Errors
    /// Says what is wrong with its type.
    fn check(&self, field: &Field) -> Result<(), String>;

    /// Makes ready what the payloads need that is not in them, such as their schemas. Called before they are appended. Blocks the thread.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot be had for now; [`Error::Config`] if it is refused.
    fn prepare(&self, _payloads: &[&[u8]]) -> Result<(), Error> {
        Ok(())
    }

    /// Creates an empty builder for about `capacity` rows. `members` are all declared columns except those of the envelope. They include
    /// columns that are not decoded, so that a member of the payload is not matched with another column.
    ///
    /// # Errors
    /// Says what is wrong with a type that [`Format::check`] refuses.
    fn rows(&self, members: &[Member], capacity: usize) -> Result<Box<dyn RowBuilder>, String>;
}

/// Builds the rows of one batch from payloads. Each call takes many payloads, so that dynamic dispatch costs one call for all of them.
///
/// # Contract
/// - A payload becomes one row or as many as [`Faults::uneven`] says, or leaves nothing behind (checked by `bodies` in the tests of JSON).
/// - A member that does not fit becomes NULL in its own column, even if that is NOT NULL. The other members of its payload are unaffected
///   (checked by `bodies` and `oracle`).
pub trait RowBuilder: Send {
    /// Appends a row for each payload that decodes, in order. Adds the others and the members that do not fit to `faults`, by their index
    /// in `payloads`.
    fn append(&mut self, payloads: &[&[u8]], faults: &mut Faults);

    /// Which wanted members, by their index in the list of all, no payload has had so far, whatever its value; and names that payloads have
    /// had and that are no member's. Both empty where the format cannot tell.
    fn absent(&self) -> (Vec<usize>, Vec<String>) {
        (Vec::new(), Vec::new())
    }

    /// Returns the decoded columns in the order of the members, with the members' types. A NOT NULL column contains NULL where a fault was
    /// reported, and where nobody reads it. The builder must not be used afterwards.
    ///
    /// # Errors
    /// Fails if a column does not match its type, which is a bug.
    fn finish(&mut self) -> Result<Vec<ArrayRef>, ArrowError>;
}

/// A declared column that a payload may have a value for.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its name, type and nullability.
    pub field: FieldRef,
    /// Whether its values are needed.
    pub decoded: bool,
    /// The source's options for it. A format may ignore [`Reading::bad_is_null`], which the decoder handles.
    pub reading: Reading,
}
