//! Collects what an epoch adds to each group, before it is added to the stored groups.

use arrow::array::{ArrayRef, Int64Array};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::sums::{Measure, Sums};
use crate::error::Error;
use crate::operator::kit::aggregate::Arguments;
use crate::state::keys::{Keys, spread};

/// What an epoch adds to each group.
#[derive(Default)]
pub(super) struct Epoch {
    groups: HashTable<u32>,
    /// For each group, the batch and the row in which its key first occurs.
    pub(super) first: Vec<(usize, usize)>,
    pub(super) hashes: Vec<u32>,
    pub(super) rows: Vec<i64>,
    pub(super) sums: Vec<Sums>,
    /// The key columns of each batch, and their encoding.
    pub(super) batches: Vec<(Vec<ArrayRef>, Keys)>,
    pub(super) held: usize,
}

impl Epoch {
    /// Adds rows with their weights. `keys` are their key columns, `encoded` the same columns encoded.
    pub(super) fn add(
        &mut self,
        (keys, encoded): (Vec<ArrayRef>, Keys),
        measures: &[Measure],
        arguments: &Arguments,
        weights: Option<&Int64Array>,
    ) -> Result<(), Error> {
        let weight = |row: usize| weights.map_or(1, |weights| weights.value(row));
        let groups = self.intern(keys, encoded, arguments.rows(), measures.len());
        for (row, group) in groups.iter().enumerate() {
            self.rows[*group as usize] += weight(row);
        }
        for (number, measure) in measures.iter().enumerate() {
            let (values, filter) = arguments.of(number);
            self.sums[number].add(measure, values, filter, &groups, weight)?;
        }
        Ok(())
    }

    /// Returns the group of each row. Adds groups for new keys.
    fn intern(&mut self, columns: Vec<ArrayRef>, keys: Keys, rows: usize, measures: usize) -> Vec<u32> {
        let hashes = keys.hashes();
        let number = self.batches.len();
        self.batches.push((columns, keys));
        self.held += rows;
        let mut groups = Vec::with_capacity(rows);
        for (row, hash) in hashes.into_iter().enumerate() {
            let (batches, first, known) = (&self.batches, &self.first, &self.hashes);
            let key = batches[number].1.get(row);
            let same = |group: &u32| {
                let (batch, row) = first[*group as usize];
                known[*group as usize] == hash && batches[batch].1.get(row) == key
            };
            let group = match self.groups.entry(spread(hash), same, |group| spread(known[*group as usize])) {
                Entry::Occupied(group) => *group.get(),
                Entry::Vacant(vacant) => {
                    let group = first.len() as u32;
                    vacant.insert(group);
                    self.first.push((number, row));
                    self.hashes.push(hash);
                    self.rows.push(0);
                    group
                }
            };
            groups.push(group);
        }
        self.sums.resize_with(measures, Sums::default);
        self.sums.iter_mut().for_each(|sums| sums.grow(self.first.len()));
        groups
    }
}
