//! An answer that is made once for all who ask within a second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;

use crate::error::Error;

/// How long an answer is sent again.
const FRESH: Duration = Duration::from_secs(1);

/// The last answer, and when it was made.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Option<(Instant, Bytes)>>);

impl Recent {
    /// Returns the last answer if it is fresh, and else makes one. Who asks meanwhile waits for it.
    ///
    /// # Errors
    /// Those of `make`; nothing is kept then.
    pub(super) fn get(&self, make: impl FnOnce() -> Result<Vec<u8>, Error>) -> Result<Bytes, Error> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, answer)) = last.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(answer.clone());
        }
        let answer = Bytes::from(make()?);
        *last = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }
}
