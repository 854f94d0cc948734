//! Left, right and full joins: the pairs of an inner join, and each row of a kept side that has no match, with NULLs for the other side.
//!
//! A change of one side is applied while the other stands still. Its pairs say how many matches each changed row has. For a row of
//! the other side, only the step between no match and one matters. `matches` finds it: by the number of matches that is stored for
//! each row or, if equal keys alone decide, by whether the changed side has rows of the key.
//!
//! The side that is not kept goes first, so that a row and its match that arrive together are emitted as a pair at once. The rows without a
//! match of a flush are consolidated: above this operator, none is seen that no commit has.
//!
//! A row with a NULL in its key matches nothing, whatever the other side holds. So it is emitted at once and not stored.

mod matches;

use std::future::ready;
use std::sync::Arc;

use alluvium_sql::{KeyedInput, Node};
use arrow::array::{ArrayRef, BooleanArray, Int64Array, new_null_array};
use arrow::datatypes::SchemaRef;
use datafusion::common::JoinType;
use datafusion::logical_expr::LogicalPlan;

use self::matches::{Flip, KeysBefore, MatchCounts};
use super::kit::bucketed::BucketedDelta;
use super::kit::expiry::Expired;
use super::kit::pairing::Pairing;
use super::kit::rows::{batch, split_nulls};
use super::kit::stateful::{Flush, Pending, Stateful};
use crate::consolidate::net;
use crate::delta::Delta;
use crate::error::Error;
use crate::left_out::OnFailure;
use crate::state::keys::KeyEncoder;
use crate::state::{MAX_BATCH_ROWS, Place, TableCheckpoint, Tables};

/// Runs a left, right or full join.
#[derive(Debug)]
pub(crate) struct Outer {
    pairing: Pairing,
    /// Whether the rows of each side are kept without a match.
    keeps: [bool; 2],
    /// The number of matches of each stored row, for each side that is kept. None if equal keys alone decide.
    counts: [Option<MatchCounts>; 2],
    /// Compares answers.
    answers: KeyEncoder,
    schema: SchemaRef,
}

/// The changes to the answer.
#[derive(Default)]
struct Answer {
    pairs: Vec<Delta>,
    /// Rows without a match.
    unmatched: Vec<Delta>,
}

/// A delta of one side.
pub(crate) struct Arrived {
    /// Rows that can match.
    joining: Option<Delta>,
    /// Rows that never match, with NULLs for the other side.
    unmatched: Option<Delta>,
}

impl Outer {
    /// `counted` says whether the matches of each row are counted. If not, equal keys alone decide, and they have equal bits.
    pub(crate) fn new(node: &Node, plan: &LogicalPlan, keys: &[KeyedInput], counted: bool) -> Result<Self, Error> {
        let LogicalPlan::Join(join) = plan else {
            return Err(Error::Bug("the plan of a join is not a join".to_owned()));
        };
        let keeps = match join.join_type {
            JoinType::Left => [true, false],
            JoinType::Right => [false, true],
            JoinType::Full => [true, true],
            other => return Err(Error::Bug(format!("a {other} join is not an outer join"))),
        };
        let counts = |index: usize| {
            let of_side = || MatchCounts::new(format!("n{}-matches{index}", node.id), &node.inputs[index].schema);
            (counted && keeps[index]).then(of_side).transpose()
        };
        Ok(Self {
            pairing: Pairing::new(node, join, keys)?,
            keeps,
            counts: [counts(0)?, counts(1)?],
            answers: KeyEncoder::new(node.schema.fields())?,
            schema: Arc::clone(&node.schema),
        })
    }

    /// Returns the changes to the answer caused by this epoch.
    fn changes(&mut self, pending: Pending<Arrived>, failing: OnFailure<'_>) -> Result<Vec<Delta>, Error> {
        let mut answer = Answer::default();
        let mut sides: Vec<(usize, Vec<Arrived>)> = pending.into_iter().enumerate().collect();
        sides.sort_by_key(|(index, _)| self.keeps[*index]);
        for (index, pending) in sides {
            let mut joining = Vec::with_capacity(pending.len());
            for arrived in pending {
                joining.extend(arrived.joining);
                answer.unmatched.extend(arrived.unmatched);
            }
            if !joining.is_empty() {
                let change = BucketedDelta::new(&self.pairing.sides[index].rows, joining)?;
                self.change(index, &change, failing, &mut answer)?;
            }
        }
        let Answer { mut pairs, unmatched } = answer;
        if unmatched.iter().all(|delta| delta.weights.is_none()) {
            pairs.extend(unmatched);
        } else {
            pairs.extend(net(&self.schema, &self.answers, &unmatched)?.into_deltas());
        }
        Ok(pairs)
    }

    /// Applies the changes of one side, and adds the changes to the answer.
    fn change(&mut self, own: usize, change: &BucketedDelta, failing: OnFailure<'_>, answer: &mut Answer) -> Result<(), Error> {
        let other = 1 - own;
        let paired = self.pairing.pairs(own, change, self.keeps[own] || self.counts[other].is_some(), failing)?;
        answer.pairs.extend(paired.deltas);
        let mut of_changed = Vec::new();
        if self.keeps[own] {
            of_changed = self.matches_of_changed(own, change, &paired.pairs);
            answer.unmatched.extend(self.changed_without_match(own, change, &of_changed)?);
        }
        if let Some(counts) = &mut self.counts[other] {
            let flips = counts.change(&self.pairing.sides[other].rows, change, &paired.pairs)?;
            answer.unmatched.extend(self.flipped(other, &flips)?);
        }
        let by_key = self.keeps[other] && self.counts[other].is_none();
        let keys = by_key.then(|| KeysBefore::new(&self.pairing.sides[own].rows, change)).transpose()?;
        self.pairing.apply(own, change)?;
        if let Some(keys) = keys {
            let flips = keys.flips(&self.pairing.sides[own].rows, &self.pairing.sides[other].rows)?;
            answer.unmatched.extend(self.flipped(other, &flips)?);
        }
        if let Some(counts) = &mut self.counts[own] {
            let stays = change.stays(&self.pairing.sides[own].rows)?;
            let now = of_changed.iter().zip(stays).map(|(matches, stays)| if stays { *matches } else { 0 });
            counts.replace(change.rows(), &now.collect::<Vec<_>>())?;
            counts.end_epoch()?;
        }
        if let Some(counts) = &mut self.counts[other] {
            counts.end_epoch()?;
        }
        self.pairing.sides[own].rows.end_epoch()
    }

    /// Returns the number of matches of each changed row.
    fn matches_of_changed(&self, own: usize, change: &BucketedDelta, pairs: &[(u32, Place)]) -> Vec<i64> {
        let other = &self.pairing.sides[1 - own].rows;
        let mut matches = vec![0; change.rows().num_rows()];
        for (row, place) in pairs {
            matches[*row as usize] += other.weight(*place);
        }
        matches
    }

    /// Returns the changed rows that have no match.
    fn changed_without_match(&self, own: usize, change: &BucketedDelta, matches: &[i64]) -> Result<Option<Delta>, Error> {
        let alone: BooleanArray = matches.iter().map(|matches| Some(*matches == 0)).collect();
        if alone.true_count() == 0 {
            return Ok(None);
        }
        let weights: Int64Array = (0..matches.len()).map(|row| Some(change.weight(row))).collect();
        let delta = Delta { rows: change.rows().clone(), weights: Some(weights) }.filtered(&alone)?;
        Ok(Some(self.with_nulls(own, delta)?))
    }

    /// Returns stored rows of a side that have gained their first match, as retractions, and those that have lost their last one.
    fn flipped(&self, side: usize, flips: &[Flip]) -> Result<Vec<Delta>, Error> {
        let rows = &self.pairing.sides[side].rows;
        let of_chunk = |flips: &[Flip]| {
            let places: Vec<Place> = flips.iter().map(|flip| flip.place).collect();
            let weights = flips.iter().map(|flip| {
                let weight = rows.weight(flip.place);
                Some(if flip.matches { -weight } else { weight })
            });
            let delta = Delta { rows: rows.gather(&places)?, weights: Some(weights.collect()) };
            self.with_nulls(side, delta)
        };
        flips.chunks(MAX_BATCH_ROWS).map(of_chunk).collect()
    }

    /// Turns rows of a side into rows of the answer, with NULLs for the other side.
    fn with_nulls(&self, side: usize, delta: Delta) -> Result<Delta, Error> {
        let (rows, own) = (delta.rows.num_rows(), self.pairing.sides[side].columns);
        let fields = self.schema.fields();
        let others = if side == 0 { &fields[own..] } else { &fields[..fields.len() - own] };
        let nulls: Vec<ArrayRef> = others.iter().map(|field| new_null_array(field.data_type(), rows)).collect();
        let given = delta.rows.columns()[..own].to_vec();
        let columns = if side == 0 { [given, nulls].concat() } else { [nulls, given].concat() };
        Ok(Delta { rows: batch(&self.schema, columns, rows)?, weights: delta.weights }.plain())
    }
}

impl Stateful for Outer {
    type Prepared = Arrived;

    fn prepare(&self, input: usize, delta: Delta) -> Result<Arrived, Error> {
        let (joining, never) = split_nulls(delta, &self.pairing.sides[input].needed)?;
        let unmatched = never.filter(|_| self.keeps[input]).map(|never| self.with_nulls(input, never)).transpose()?;
        Ok(Arrived { joining, unmatched })
    }

    fn flush<'a>(&'a mut self, pending: Pending<Arrived>, failing: OnFailure<'a>) -> Flush<'a> {
        Box::pin(ready(self.changes(pending, failing)))
    }

    fn evict(&mut self, input: usize, expired: &Expired) -> Result<(), Error> {
        self.pairing.sides[input].rows.evict(|rows| expired.of(rows))?;
        match &mut self.counts[input] {
            Some(counts) => counts.evict(expired),
            None => Ok(()),
        }
    }

    fn checkpoint(&mut self, tables: &mut Vec<TableCheckpoint>) {
        self.pairing.checkpoint(tables);
        tables.extend(self.counts.iter_mut().flatten().map(MatchCounts::checkpoint));
    }

    fn restore(&mut self, tables: &mut Tables) -> Result<(), Error> {
        self.pairing.restore(tables)?;
        self.counts.iter_mut().flatten().try_for_each(|counts| counts.restore(tables))
    }

    fn size(&self) -> (u64, u64) {
        let counts = self.counts.iter().flatten().map(MatchCounts::size);
        counts.fold(self.pairing.size(), |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes))
    }
}
