//! The state of an aggregate, from its newest usable snapshot and the messages after it, with the outcomes of the commands in these.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use tracing::warn;

use super::aggregate::{AggregateId, Head};
use super::bucket::{Bucket, Kept};
use super::decider::{Decider, decode};
use super::error::StoreError;
use super::event::Until;
use super::load::{Entry, Loading};
use super::store::EventStore;
use super::upcast::Upcasters;

/// A loaded aggregate.
pub(super) struct Loaded<S> {
    pub(super) state: S,
    /// The version of the state.
    pub(super) version: u64,
    /// The last message that was read.
    pub(super) head: Head,
    /// Its id.
    pub(super) last_id: String,
    /// How many events and outcomes are not in the snapshot.
    pub(super) unsaved: u64,
    /// Where the snapshot is that the load began with.
    pub(super) snapshot: Head,
    /// Up to where the bucket has the outcomes of commands.
    pub(super) indexed: Head,
    /// The outcomes of the commands after the snapshot, and of the one that was asked for.
    pub(super) outcomes: HashMap<String, Kept>,
}

impl<S: Default + DeserializeOwned> Loaded<S> {
    fn nothing() -> Loaded<S> {
        Loaded {
            state: S::default(),
            version: 0,
            head: Head::default(),
            last_id: String::new(),
            unsaved: 0,
            snapshot: Head::default(),
            indexed: Head::default(),
            outcomes: HashMap::new(),
        }
    }

    /// Loads everything, and looks for the outcome of a command.
    pub(super) async fn newest<D: Decider<State = S>>(
        decider: &D,
        store: &EventStore,
        bucket: Option<&Bucket>,
        upcasters: &Upcasters,
        aggregate: &AggregateId,
        command_id: Option<&str>,
    ) -> Result<Loaded<S>, StoreError> {
        // Before the outcomes: the bucket has those of all commands up to a snapshot that is there.
        let mut loaded = Loaded::begin::<D>(bucket, aggregate).await?;
        let older = async {
            match (bucket, command_id) {
                (Some(bucket), Some(command_id)) if loaded.snapshot.sequence > 0 => bucket.outcome(aggregate, command_id).await,
                _ => Ok(None),
            }
        };
        let mut loading = store.load_after(aggregate, loaded.head, Until::End).expecting(&loaded.last_id);
        let (older, mut proven) = futures::join!(older, loading.prove());
        if matches!(proven, Err(StoreError::Gap { .. })) {
            // A replica may not have the event yet.
            loading = store.load_after(aggregate, loaded.head, Until::End).expecting(&loaded.last_id).ask_leader();
            proven = loading.prove().await;
        }
        match proven {
            Ok(_) => {
                loaded.outcomes.extend(older?.map(|kept| (kept.command_id.clone(), kept)));
                loaded.apply(decider, upcasters, aggregate, &mut loading).await?;
                Ok(loaded)
            }
            // The stream has lost events that the snapshot knows, after a restore or a power failure.
            Err(error @ StoreError::Gap { .. }) if loaded.snapshot.sequence > 0 => {
                warn!(%aggregate, %error, "the snapshot is not of these events");
                let mut whole = Loaded::nothing();
                whole.apply(decider, upcasters, aggregate, &mut store.load(aggregate, Until::End)).await?;
                Ok(whole)
            }
            Err(error) => Err(error),
        }
    }

    /// Loads up to a version or a time.
    pub(super) async fn until<D: Decider<State = S>>(
        decider: &D,
        store: &EventStore,
        bucket: Option<&Bucket>,
        upcasters: &Upcasters,
        aggregate: &AggregateId,
        until: Until,
    ) -> Result<Loaded<S>, StoreError> {
        let mut loaded = Loaded::begin::<D>(bucket, aggregate).await?;
        let mut loading = store.load_after(aggregate, loaded.head, until).expecting(&loaded.last_id);
        let usable = match (until, loading.prove().await) {
            (Until::Version(version), Ok(_)) => loaded.version <= version,
            (Until::Time(time), Ok(proven_at)) => proven_at.is_none_or(|proven_at| proven_at <= time),
            (Until::End, Ok(_)) => true,
            (_, Err(StoreError::Gap { .. })) if loaded.snapshot.sequence > 0 => false,
            (_, Err(error)) => return Err(error),
        };
        if !usable {
            loaded = Loaded::nothing();
            loading = store.load(aggregate, until);
        }
        loaded.apply(decider, upcasters, aggregate, &mut loading).await?;
        Ok(loaded)
    }

    /// Begins with the newest snapshot, if there is one that this decider can read.
    async fn begin<D: Decider<State = S>>(bucket: Option<&Bucket>, aggregate: &AggregateId) -> Result<Loaded<S>, StoreError> {
        let mut loaded = Loaded::nothing();
        let Some(bucket) = bucket else { return Ok(loaded) };
        let Some(snapshot) = bucket.snapshot(aggregate, D::STATE_SCHEMA).await? else { return Ok(loaded) };
        match serde_json::from_str(snapshot.state.get()) {
            Ok(state) => {
                (loaded.state, loaded.version) = (state, snapshot.head().version);
                (loaded.head, loaded.last_id) = (snapshot.head(), snapshot.last_id);
                (loaded.snapshot, loaded.indexed) = (loaded.head, loaded.head);
            }
            Err(error) => warn!(%aggregate, %error, "the snapshot does not decode; STATE_SCHEMA should have changed"),
        }
        Ok(loaded)
    }

    /// Applies the rest of a load.
    pub(super) async fn apply<D: Decider<State = S>>(
        &mut self,
        decider: &D,
        upcasters: &Upcasters,
        aggregate: &AggregateId,
        loading: &mut Loading,
    ) -> Result<(), StoreError> {
        while let Some(entry) = loading.next_entry().await? {
            self.unsaved += 1;
            match entry {
                Entry::Outcome(marker) => {
                    let head = Head { version: marker.version, sequence: marker.sequence };
                    let kept = Kept::new(marker.command_id, marker.version + 1, head, marker.rejection);
                    // The first counts.
                    self.outcomes.entry(kept.command_id.clone()).or_insert(kept);
                }
                Entry::Event(event) => {
                    let typed = upcasters.upcast(&event).and_then(|(event_type, _, data)| decode::<D::Event>(&event_type, &data));
                    let typed = typed.map_err(|reason| StoreError::Undecodable {
                        aggregate: aggregate.clone(),
                        sequence: event.sequence,
                        reason,
                    })?;
                    self.state = decider.evolve(std::mem::take(&mut self.state), &typed);
                    self.version = event.version;
                    if let Some(command_id) = event.causation_id {
                        let head = Head { version: event.version, sequence: event.sequence };
                        let kept = self.outcomes.entry(command_id);
                        let kept = kept.or_insert_with_key(|id| Kept::new(id.clone(), event.version, head, None));
                        if kept.version + 1 == event.version {
                            (kept.version, kept.sequence) = (head.version, head.sequence);
                        }
                    }
                }
            }
        }
        self.head = loading.head();
        self.last_id = loading.last_id().to_owned();
        Ok(())
    }
}
