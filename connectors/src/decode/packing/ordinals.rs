//! The places of rows in their messages, where a message may hold several events.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{AsArray, BooleanArray, UInt32Array};
use arrow::compute::filter;
use arrow::datatypes::UInt32Type;
use arrow::error::ArrowError;
use bytes::Bytes;

use super::unpack::Packing;
use crate::dead_letters::DeadLetter;

/// The sequence of a message, and the bodies of its events.
type Parts = (u64, Vec<Vec<u8>>);

/// The ordinal of each row of a batch: the place of its event in its message, from 1; 0 if the message is one event.
#[derive(Debug, Clone)]
pub struct Ordinals {
    of_rows: UInt32Array,
    packing: Packing,
    /// The message that a letter was last asked for.
    parts: Arc<Mutex<Option<Parts>>>,
}

impl Ordinals {
    pub(in crate::decode) fn new(of_rows: UInt32Array, packing: Packing) -> Ordinals {
        Ordinals { of_rows, packing, parts: Arc::default() }
    }

    /// Returns the ordinal of a row; 0 if there is no such row.
    #[must_use]
    pub fn of(&self, row: usize) -> u32 {
        if row < self.of_rows.len() { self.of_rows.value(row) } else { 0 }
    }

    /// Returns those of some rows.
    #[must_use]
    pub fn slice(&self, first: usize, length: usize) -> Ordinals {
        Ordinals { of_rows: self.of_rows.slice(first, length), ..self.clone() }
    }

    /// Returns those of the rows for which `mask` is true.
    ///
    /// # Errors
    /// The mask has another length.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Ordinals, ArrowError> {
        let of_rows = filter(&self.of_rows, mask)?.as_primitive::<UInt32Type>().clone();
        Ok(Ordinals { of_rows, ..self.clone() })
    }

    /// Makes of the letter of a message that of the event in it that became a row.
    #[must_use]
    pub fn narrow(&self, letter: DeadLetter, row: usize) -> DeadLetter {
        let ordinal = self.of(row);
        let Some(index) = (ordinal as usize).checked_sub(1) else { return letter };
        let mut known = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(sequence, _)| *sequence != letter.sequence) {
            *known = Some((letter.sequence, self.packing.parts(&letter.payload)));
        }
        let part = known.as_ref().and_then(|(_, parts)| parts.get(index));
        let payload = part.map_or_else(|| letter.payload.clone(), |part| Bytes::copy_from_slice(part));
        DeadLetter { payload, ..letter }.of_event(ordinal)
    }
}
