//! Orders the rows of each key by the first bytes of their encoded sort keys, and by the rest if these tie.

use std::ops::Range;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::common::DFSchema;
use datafusion::logical_expr::ExprSchemable;
use datafusion::logical_expr::expr::Sort;

use crate::error::Error;
use crate::operator::kit::groups::Groups;
use crate::operator::kit::sort_keys::SortKeys;
use crate::state::MAX_BATCH_ROWS;
use crate::state::arrangement::Arrangement;
use crate::state::keys::{PREFIX, prefix};

/// The order of the rows of a key.
#[derive(Debug)]
pub(super) struct Order {
    /// Encodes only the leading sort expressions, as many as fill the bytes that are compared first.
    first: SortKeys,
    whole: SortKeys,
}

impl Order {
    /// Creates an order by expressions over the leading columns of `rows`.
    pub(super) fn new(by: &[Sort], schema: &DFSchema, rows: &SchemaRef) -> Result<Order, Error> {
        Ok(Order { first: SortKeys::new(first_sorts(by, schema)?, schema, rows)?, whole: SortKeys::new(by, schema, rows)? })
    }

    /// Checks that the sort expressions can be evaluated on rows.
    pub(super) fn check(&self, rows: &RecordBatch) -> Result<(), Error> {
        self.whole.check(rows)
    }

    /// Sorts the rows of each key. Returns where each row stands.
    pub(super) fn sort(&self, groups: &mut Groups, stored: &Arrangement) -> Result<Standing, Error> {
        let prefixes = groups.map_columns(stored, self.first.columns(), |rows| {
            let encoded = self.first.encode(&rows)?;
            let longest = encoded.iter().map(|row| row.data().len()).max().unwrap_or_default();
            Ok((encoded.iter().map(|row| prefix(row.data())).collect::<Vec<u128>>(), longest))
        })?;
        // Whether the first bytes are the whole encoding.
        let complete = self.first.len() == self.whole.len() && prefixes.iter().all(|(_, longest)| *longest <= PREFIX);
        let prefixes: Vec<u128> = prefixes.into_iter().flat_map(|(prefixes, _)| prefixes).collect();
        groups.sort_keys(|row| (prefixes[row as usize], row));
        let ties = if complete { vec![0; prefixes.len()] } else { self.break_ties(groups, stored, &prefixes)? };
        Ok(Standing { prefixes, ties })
    }

    /// Sorts the rows of each key whose first bytes tie. Returns the rank of each row among its ties.
    fn break_ties(&self, groups: &mut Groups, stored: &Arrangement, prefixes: &[u128]) -> Result<Vec<u32>, Error> {
        let mut rows = std::mem::take(&mut groups.rows);
        let mut tied: Vec<Range<usize>> = Vec::new();
        for key in &groups.keys {
            let mut start = key.start as usize;
            for alike in rows[start..key.end as usize].chunk_by(|one, next| prefixes[*one as usize] == prefixes[*next as usize]) {
                if alike.len() > 1 {
                    tied.push(start..start + alike.len());
                }
                start += alike.len();
            }
        }
        let mut ties = vec![0; prefixes.len()];
        // A bounded number of rows is gathered at a time.
        let mut rest = tied.as_slice();
        while !rest.is_empty() {
            let mut count = 0;
            let fits = rest.iter().take_while(|run| {
                let fits = count < MAX_BATCH_ROWS;
                count += run.len();
                fits
            });
            let (now, later) = rest.split_at(fits.count());
            rest = later;
            let members: Vec<u32> = now.iter().flat_map(|run| rows[run.clone()].iter().copied()).collect();
            let encoded = self.whole.encode(&groups.columns_of(stored, self.whole.columns(), &members)?)?;
            let mut first = 0;
            for run in now {
                let mut by_whole: Vec<usize> = (first..first + run.len()).collect();
                by_whole.sort_by(|one, other| encoded.row(*one).cmp(&encoded.row(*other)));
                let mut rank = 0;
                for (position, member) in by_whole.iter().enumerate() {
                    if position > 0 && encoded.row(by_whole[position - 1]) != encoded.row(*member) {
                        rank = position as u32;
                    }
                    rows[run.start + position] = members[*member];
                    ties[members[*member] as usize] = rank;
                }
                first += run.len();
            }
        }
        groups.rows = rows;
        Ok(ties)
    }
}

/// Returns the leading sorts, as many as fill the bytes that are compared first.
fn first_sorts<'a>(by: &'a [Sort], schema: &DFSchema) -> Result<&'a [Sort], Error> {
    let mut bytes = 0;
    for (index, sort) in by.iter().enumerate() {
        let data_type = sort.expr.get_type(schema)?;
        // One byte says whether there is a value.
        bytes += 1 + data_type.primitive_width().unwrap_or(PREFIX);
        if bytes >= PREFIX {
            return Ok(&by[..=index]);
        }
    }
    Ok(by)
}

/// Where each row stands in the order of its key. Peers are equal in both parts.
pub(super) struct Standing {
    prefixes: Vec<u128>,
    /// The rank of each row among those of the same prefix.
    ties: Vec<u32>,
}

impl Standing {
    /// Returns the standing of a row, given its number.
    pub(super) fn of(&self, row: u32) -> (u128, u32) {
        (self.prefixes[row as usize], self.ties[row as usize])
    }
}
