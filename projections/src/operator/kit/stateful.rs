//! The contract of an operator that remembers.

use futures::future::BoxFuture;

use super::expiry::Expired;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::{TableCheckpoint, Tables};

/// What a flush gives: changes of the answer.
pub(crate) type Flush<'a> = BoxFuture<'a, Result<Vec<Delta>, Error>>;

/// What arrived since the last flush: by input, in the order of arrival.
pub(crate) type Pending<P> = Vec<Vec<P>>;

/// An operator that remembers.
///
/// # Contract
/// - After any sequence of flushes, the sum of what they gave is the operator's query over all input that they were given (checked
///   by the sqllogictest files and the searches).
/// - [`Stateful::prepare`] fails on a delta if and only if an expression fails on one of its rows; what it gives is taken in without
///   such an error (checked by `tests/it/rejected.rs`).
/// - A new operator that takes the tables of a checkpoint answers as the one that gave them (checked by the searches, which
///   restore between any two steps).
/// - No change of a row arrives after [`Stateful::evict`] named it (unchecked: the node that calls it leaves such changes out).
pub(crate) trait Stateful: std::fmt::Debug + Send {
    /// A delta of an input that is ready to be taken in: the delta itself, or what the operator's expressions give for it.
    type Prepared: Send;

    /// Runs what can fail on a row. Changes nothing.
    fn prepare(&self, input: usize, delta: Delta) -> Result<Self::Prepared, Error>;

    /// Takes in what need not be kept until the flush. By default, nothing.
    fn absorb(&mut self, _pending: &mut Pending<Self::Prepared>) -> Result<(), Error> {
        Ok(())
    }

    /// The changes of the answer since the last flush. `pending` is what [`Stateful::absorb`] left; a row that only the flush makes, and
    /// on which an expression fails, is `failing`'s.
    fn flush<'a>(&'a mut self, pending: Pending<Self::Prepared>, failing: OnFailure<'a>) -> Flush<'a>;

    /// Evicts the expired rows that are stored of an input. Directly after a flush.
    ///
    /// # Errors
    /// [`Error::Bug`] where the plan has no such rows.
    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        Err(Error::Bug(format!("{expired:?} of input {input} expires where nothing does")))
    }

    /// The time up to which rows of the operators below have expired, where this one decides it.
    fn expires(&self) -> Option<i64> {
        None
    }

    /// What has to become durable, for each table. Directly after a flush.
    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>);

    /// Takes its tables of a checkpoint. Nothing is stored yet.
    ///
    /// # Errors
    /// [`Error::Corrupt`] where a table is missing or has another shape.
    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error>;

    /// Rows and bytes held.
    fn size(&self) -> (u64, u64);
}
