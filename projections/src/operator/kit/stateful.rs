//! The contract of a stateful operator.

use futures::future::BoxFuture;

use super::expiry::Expired;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::{TableCheckpoint, Tables};

/// The result of a flush: the changes of the answer.
pub(crate) type Flush<'a> = BoxFuture<'a, Result<Vec<Delta>, Error>>;

/// The input since the last flush: for each input, in the order of arrival.
pub(crate) type Pending<P> = Vec<Vec<P>>;

/// An operator that has state.
///
/// # Contract
/// - After any sequence of flushes, the sum of their results equals the operator's query over all input that they were given (checked
///   by the sqllogictest files and the searches).
/// - [`Stateful::prepare`] fails on a delta if and only if an expression fails on one of its rows. The prepared delta is absorbed without
///   such an error (checked by `tests/it/rejected.rs`).
/// - A new operator that is restored from a checkpoint answers as the one that made it (checked by the searches, which restore
///   between any two steps).
/// - No change of a row arrives after [`Stateful::evict`] named it (unchecked: the calling node drops such changes).
pub(crate) trait Stateful: std::fmt::Debug + Send {
    /// A delta of an input that is ready to be absorbed: the delta itself, or the values of the operator's expressions over it.
    type Prepared: Send;

    /// Evaluates everything that can fail on a row. Changes nothing.
    fn prepare(&self, input: usize, delta: Delta) -> Result<Self::Prepared, Error>;

    /// Absorbs the input that need not be kept until the flush. By default, none.
    fn absorb(&mut self, _pending: &mut Pending<Self::Prepared>) -> Result<(), Error> {
        Ok(())
    }

    /// Returns the changes of the answer since the last flush. `pending` is the input that [`Stateful::absorb`] left. `failing` says what
    /// to do with a row that only the flush makes and on which an expression fails.
    fn flush<'a>(&'a mut self, pending: Pending<Self::Prepared>, failing: OnFailure<'a>) -> Flush<'a>;

    /// Evicts the stored rows of an input that have expired. Called directly after a flush.
    ///
    /// # Errors
    /// [`Error::Bug`] if no rows of this operator expire.
    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        Err(Error::Bug(format!("{expired:?} of input {input}: rows expire in an operator that evicts nothing")))
    }

    /// Returns the time up to which rows of the operators below have expired, if this operator decides it.
    fn expires(&self) -> Option<i64> {
        None
    }

    /// Checks whether this operator decides which rows of the operators below expire.
    fn decides_expiry(&self) -> bool {
        false
    }

    /// Adds what must become durable, for each table. Called directly after a flush.
    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>);

    /// Takes its tables from a checkpoint. Called before anything is stored.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if a table is missing or has another shape.
    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error>;

    /// Returns the number of rows and of bytes held.
    fn size(&self) -> (u64, u64);
}
