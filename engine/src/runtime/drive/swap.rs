//! Swaps in a rebuilt pipeline: with one commit, at or after the positions that readers see.

use std::collections::BTreeMap;

use alluvium_connectors::Position;
use futures::future::FutureExt;
use tokio::sync::oneshot;

use super::intake::Taken;
use super::turns::next_in_turn;
use super::{Driver, Reading, Role, TakeOver};
use crate::error::Error;
use crate::runtime::commit::{CommitOptions, sweep_incarnations};

impl Driver {
    /// Takes over from the old pipelines: waits until they have ended, reads at least as far as they did, and commits. Returns false if it
    /// is stopped meanwhile.
    pub(super) async fn swap(&mut self, sources: &mut [Reading]) -> Result<bool, Error> {
        let Role::Rebuild { take_over, whole, .. } = &self.role else { return Ok(true) };
        let (reply, answer) = oneshot::channel();
        let request = TakeOver { component: whole.clone(), reply };
        if take_over.send(request).await.is_err() || answer.await.is_err() {
            return Ok(false);
        }
        let mut turn = 0;
        // No commit falls into an atomic batch.
        while !self.ahead(sources).await?.is_empty() || !sources.iter().all(|source| source.whole) {
            let (index, taken) = tokio::select! {
                () = self.stop.cancelled() => return Ok(false),
                next = next_in_turn(sources, &mut turn, |source| source.intake.next().boxed()) => next,
            };
            let taken: Taken = taken.map_err(|error| self.source_error(error))?;
            self.take(&mut sources[index], taken).await?;
        }
        self.pipeline.continue_epochs()?;
        self.commit(CommitOptions { ends_rebuild: true, beside: None }).await?;
        for member in self.pipeline.members() {
            let name = &member.view.name;
            sweep_incarnations(&self.pipeline.shared().layout().states(name), &member.incarnation)?;
            self.pipeline.shared().board().swapped(name);
            tracing::info!(view = name, epoch = self.pipeline.epoch(), "rebuilt and swapped in");
        }
        self.role = Role::Main;
        self.rebuilder.swapped_in();
        Ok(true)
    }

    /// Returns the positions that readers see and this pipeline has not reached yet: a swap never takes readers back. It ignores a position
    /// of a stream that was recreated since, and one beyond the end of a stream that has lost its tail.
    ///
    /// # Errors
    /// A source ended before such a position, or the store fails.
    pub(super) async fn ahead(&self, sources: &[Reading]) -> Result<BTreeMap<String, Position>, Error> {
        let mut ahead = self.recorded_positions()?;
        ahead.retain(|source, old| {
            let new = self.pipeline.position(source);
            new.is_some_and(|new| new.identity.same_source(&old.identity) && !new.reaches(old))
        });
        if !ahead.is_empty() && sources.iter().all(|source| source.ended) {
            return Err(self.too_short(&ahead));
        }
        for source in sources.iter().filter(|source| source.at_end) {
            let name = source.intake.name();
            let Some(old) = ahead.get(name) else { continue };
            // A source that does not answer is asked again the next time it is at its end.
            let Some(end) = self.end_before(name, old).await? else { continue };
            tracing::warn!(
                source = name,
                end,
                served = old.progress(),
                "the source has lost its tail: the rebuilt view has fewer events than the one that serves"
            );
            ahead.remove(name);
        }
        Ok(ahead)
    }

    /// Returns the end of the first partition that ends before `position`, if there is one.
    async fn end_before(&self, source: &str, position: &Position) -> Result<Option<u64>, Error> {
        let source = self.pipeline.shared().feed(source)?.source();
        for partition in 0..source.promises().partitions {
            match source.extent(partition).await {
                Ok(extent) if extent.end < position.offset_of(partition) => return Ok(Some(extent.end)),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Returns the farthest position of each source among the records that readers see now.
    fn recorded_positions(&self) -> Result<BTreeMap<String, Position>, Error> {
        let mut farthest: BTreeMap<String, Position> = BTreeMap::new();
        for view in self.pipeline.views() {
            let record = self.pipeline.shared().store().record(view)?;
            for (source, position) in record.into_iter().flat_map(|record| record.positions) {
                if farthest.get(&source).is_none_or(|known| !known.reaches(&position)) {
                    farthest.insert(source, position);
                }
            }
        }
        Ok(farthest)
    }

    /// The error for a rebuild whose sources ended before the position of the view that serves.
    fn too_short(&self, ahead: &BTreeMap<String, Position>) -> Error {
        let (source, served) = ahead.first_key_value().map_or(("", 1), |(source, old)| (source.as_str(), old.progress()));
        let read = self.pipeline.position(source).map_or(1, Position::progress);
        Error::config(
            format!(
                "view {}: source {source} ended after {} events, but the view that serves was made from {}",
                self.pipeline.name(),
                read - 1,
                served - 1
            ),
            "to rebuild, give the same events from the first on, or drop the view",
        )
    }
}
