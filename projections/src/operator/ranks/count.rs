//! Computes `row_number`, `rank` and `dense_rank` by counting through the rows of a key in order.

use datafusion::logical_expr::expr::WindowFunctionDefinition;

use crate::error::Error;

/// A rank function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    RowNumber,
    Rank,
    DenseRank,
}

/// The ranks of a row, one for each function, in their order. There are at most three different functions.
pub(super) type RowRanks = [u64; 3];

impl Function {
    /// Finds the rank function that a window expression calls.
    ///
    /// # Errors
    /// [`Error::Bug`] if the planner took another function for a rank.
    pub(super) fn of(function: &WindowFunctionDefinition) -> Result<Function, Error> {
        match function.name() {
            "row_number" => Ok(Function::RowNumber),
            "rank" => Ok(Function::Rank),
            "dense_rank" => Ok(Function::DenseRank),
            other => Err(Error::Bug(format!("{other} is not a rank function"))),
        }
    }
}

/// Counts through the rows of a key in order.
#[derive(Default)]
pub(super) struct Count {
    rows: u64,
    rank: u64,
    dense: u64,
    last: Option<(u128, u32)>,
}

impl Count {
    /// Returns the ranks of the next row.
    pub(super) fn next(&mut self, standing: (u128, u32), functions: &[Function]) -> RowRanks {
        self.rows += 1;
        if self.last != Some(standing) {
            self.last = Some(standing);
            self.rank = self.rows;
            self.dense += 1;
        }
        let mut ranks = [0; 3];
        for (rank, function) in ranks.iter_mut().zip(functions) {
            *rank = match function {
                Function::RowNumber => self.rows,
                Function::Rank => self.rank,
                Function::DenseRank => self.dense,
            };
        }
        ranks
    }
}
