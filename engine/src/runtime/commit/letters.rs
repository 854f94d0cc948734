//! Decides which dead letters a commit keeps: each one once, however many views read its source, and however often.

use std::collections::{BTreeMap, BTreeSet};

use alluvium_connectors::dead_letters::{DeadLetter, DeadLetterFolder};

use crate::error::Error;
use crate::record::{Crashed, DeadLetterOffset, Write, column_key, dead_letter_key, lowered};
use crate::runtime::component::sources_read;
use crate::runtime::drive::aside::CRASH;
use crate::runtime::drive::pipeline::Pipeline;

impl Pipeline {
    /// Returns the letters that no commit has kept yet. Adds to `offsets` the sequence up to which letters are kept with this commit.
    pub(super) fn not_yet_kept(
        &self,
        folder: &DeadLetterFolder,
        letters: Vec<DeadLetter>,
        offsets: &mut BTreeMap<String, DeadLetterOffset>,
    ) -> Result<Vec<DeadLetter>, Error> {
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        let mut seen: BTreeSet<(String, u64, Option<u32>)> = BTreeSet::new();
        let mut new = Vec::new();
        // By source: letters of columns without a recorded offset, at sequences that some commit has passed.
        let mut uncertain: BTreeMap<String, Vec<DeadLetter>> = BTreeMap::new();
        for letter in letters {
            let stream = self.position(&letter.source).map(|position| position.identity.lineage()).unwrap_or_default();
            let key = self.letter_key(&letter);
            let from = self.kept_up_to(&key, &stream, &mut known)?;
            // Views that are being aligned read some events more than once.
            if letter.sequence < from || !seen.insert((key.clone(), letter.sequence, letter.ordinal)) {
                continue;
            }
            let passed = match &letter.column {
                Some(_) if from == 0 => self.kept_up_to(&dead_letter_key(&letter.source, None), &stream, &mut known)?,
                _ => 0,
            };
            let offset = offsets.entry(key).or_insert_with(|| DeadLetterOffset { offset: from, stream: stream.clone() });
            offset.offset = offset.offset.max(letter.sequence + 1);
            if letter.sequence < passed {
                uncertain.entry(letter.source.clone()).or_default().push(letter);
            } else {
                new.push(letter);
            }
        }
        for letters in uncertain.into_values() {
            let kept = folder.kept(&letters.iter().collect::<Vec<_>>())?;
            new.extend(letters.into_iter().filter(|letter| !kept.contains(&(letter.sequence, letter.error.clone()))));
        }
        Ok(new)
    }

    /// Returns the events that are kept from views from this commit on, together with those of earlier commits. A rebuild that has met
    /// these again forgets them with its swap, and not before: a kill changes nothing.
    pub(super) fn crashed(&self, letters: &[DeadLetter], ends_rebuild: bool) -> Result<BTreeMap<String, Crashed>, Error> {
        let mut all: BTreeMap<String, Crashed> = BTreeMap::new();
        for member in self.members().iter().filter(|_| ends_rebuild) {
            let version = Some((member.view.name.as_str(), member.view.plan.fingerprint.as_str()));
            for source in sources_read(&member.view) {
                let key = dead_letter_key(source, version);
                if self.shared().meets_again(&key) {
                    // Those that the rebuild has kept out all the same.
                    let out = member.tallies.all.get(source).map(|tally| tally.crashed.as_slice()).unwrap_or_default();
                    let mut crashed = self.shared().store().crashed(&key)?;
                    crashed.events.retain(|sequence, _| out.contains(sequence));
                    all.insert(key, crashed);
                }
            }
        }
        for letter in letters.iter().filter(|letter| letter.kind == CRASH) {
            let key = self.letter_key(letter);
            let mut crashed = match all.remove(&key) {
                Some(crashed) => crashed,
                None => self.shared().store().crashed(&key)?,
            };
            crashed.add(letter);
            all.insert(key, crashed);
        }
        Ok(all)
    }

    /// Returns the offset up to which the letters of a key have been kept. `known` caches earlier answers.
    fn kept_up_to(&self, key: &str, stream: &str, known: &mut BTreeMap<String, u64>) -> Result<u64, Error> {
        if let Some(from) = known.get(key) {
            return Ok(*from);
        }
        let recorded = self.shared().store().dead_letter_offset(key)?;
        let from = recorded.filter(|recorded| recorded.stream == stream).map_or(0, |recorded| recorded.offset);
        known.insert(key.to_owned(), from);
        Ok(from)
    }

    /// Returns the key for a letter's offset: its source, its column as declared now, or its view in its present version.
    fn letter_key(&self, letter: &DeadLetter) -> String {
        if let Some(column) = &letter.column {
            return column_key(&letter.source, column, self.shared().source(&letter.source));
        }
        let version = letter.view.as_ref().and_then(|view| self.members().iter().find(|member| member.view.name == *view));
        dead_letter_key(&letter.source, version.map(|member| (member.view.name.as_str(), member.view.plan.fingerprint.as_str())))
    }

    /// Lowers recorded letter offsets to the end of a stream that has lost its tail, so that letters are kept again from there on. `known`
    /// are the offsets that were recorded before the stream was asked for its end. An offset that has changed since stays.
    ///
    /// # Errors
    /// sled fails.
    pub(in crate::runtime) fn keep_letters_from(
        &self,
        known: &BTreeMap<String, DeadLetterOffset>,
        stream: &str,
        end: u64,
    ) -> Result<(), Error> {
        // The lock keeps other pipelines from keeping a letter between the read of the offsets and the write.
        let _writer = self.shared().dead_letters();
        let mut dead_letter_offsets = BTreeMap::new();
        for (key, offset) in lowered(known, stream, end) {
            if self.shared().store().dead_letter_offset(&key)?.as_ref() == known.get(&key) {
                dead_letter_offsets.insert(key, offset);
            }
        }
        if dead_letter_offsets.is_empty() {
            return Ok(());
        }
        self.shared().store().write(&Write { dead_letter_offsets, ..Write::default() })
    }

    /// Drops the letters that some commit has kept already: a rebuild meets them all again, and must not hold them in memory.
    ///
    /// # Errors
    /// sled fails.
    pub(in crate::runtime) fn forget_kept_letters(&mut self) -> Result<(), Error> {
        let letters = self.take_letters();
        if !letters.is_empty() {
            let new = self.not_yet_kept(&self.shared().dead_letters(), letters, &mut BTreeMap::new())?;
            self.add_letters(new);
        }
        Ok(())
    }
}
