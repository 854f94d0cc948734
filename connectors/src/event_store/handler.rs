//! Handles commands: loads the aggregate, decides, appends, and begins anew when another writer was faster.
//!
//! The order of the messages on an aggregate's subject decides what the first outcome of a command is. A command that emits events is found
//! again by the causation id of these. One that emits none leaves a message of its own behind the last event, which is no event and changes
//! no version: so two attempts of one command cannot end in two ways, whichever processes they run in.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tracing::{debug, warn};

use super::aggregate::{AggregateId, LONGEST};
use super::append::Outcome as Appending;
use super::bucket::{Bucket, Kept};
use super::command::{Command, CommandOutcome, Handled};
use super::decider::{Decider, encode};
use super::error::StoreError;
use super::event::{NewEvent, Until};
use super::headers;
use super::loaded::Loaded;
use super::store::EventStore;
use super::upcast::Upcasters;

/// How a handler works.
#[derive(Debug, Clone)]
pub struct HandlerOptions {
    /// A snapshot is made when so many events, or outcomes without events, have come since the last one. 0 for none: then each load reads all events.
    pub snapshot_every: u64,
    /// How often a command is decided at most while other writers are faster.
    pub attempts: usize,
    /// The wait after the first conflict. It grows, with jitter.
    pub first_wait: Duration,
    /// The longest wait after a conflict.
    pub longest_wait: Duration,
    /// What reads events of old schemas.
    pub upcasters: Upcasters,
}

impl Default for HandlerOptions {
    fn default() -> HandlerOptions {
        HandlerOptions {
            snapshot_every: 100,
            attempts: 20,
            first_wait: Duration::from_millis(2),
            longest_wait: Duration::from_millis(500),
            upcasters: Upcasters::new(),
        }
    }
}

/// Handles the commands of one kind of aggregate. Any number of handlers may run at once, in any number of processes.
#[derive(Debug)]
pub struct CommandHandler<D> {
    decider: D,
    store: EventStore,
    bucket: Bucket,
    options: HandlerOptions,
    snapshot_failures: AtomicU64,
}

impl<D: Decider> CommandHandler<D> {
    /// Makes a handler. Creates the store's bucket if there is none.
    ///
    /// # Errors
    /// [`StoreError::Config`], [`StoreError::Unavailable`].
    pub async fn open(store: EventStore, decider: D, options: HandlerOptions) -> Result<CommandHandler<D>, StoreError> {
        let bucket = Bucket::open(&store).await?;
        Ok(CommandHandler { decider, store, bucket, options, snapshot_failures: AtomicU64::new(0) })
    }

    /// Handles a command. A command whose id was handled before has the outcome of the first time, whatever it asks now.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if other writers were faster each time, [`StoreError::Unknown`] if the server did not say what became of the
    /// events; both can be repeated with the same id. [`StoreError::Unavailable`], [`StoreError::Undecodable`], [`StoreError::Gap`],
    /// [`StoreError::Config`]. A rejection is not an error.
    pub async fn handle(&self, id: &str, command: Command<D::Command>) -> Result<Handled<D::Rejection>, StoreError> {
        let aggregate = AggregateId::new(D::AGGREGATE_TYPE, id)?;
        headers::value("the id of a command", &command.id)?;
        if command.id.len() > LONGEST {
            return Err(StoreError::Config(format!("the id of a command has {} bytes, more than {LONGEST}", command.id.len())));
        }
        let mut loaded = self.load(&aggregate, Some(&command.id)).await?;
        let mut waits = self.waits();
        let mut attempt = 1;
        loop {
            if let Some(kept) = loaded.outcomes.get(&command.id) {
                let handled = Handled { outcome: outcome(&aggregate, kept)?, repeated: true };
                self.keep_snapshot(&aggregate, &mut loaded).await;
                return Ok(handled);
            }
            let head = loaded.head;
            if let Some(kept) = self.decide(&aggregate, &mut loaded, &command).await? {
                let handled = Handled { outcome: outcome(&aggregate, &kept)?, repeated: false };
                loaded.outcomes.insert(command.id, kept);
                self.keep_snapshot(&aggregate, &mut loaded).await;
                return Ok(handled);
            }
            loaded = self.catch_up(&aggregate, loaded).await?;
            if attempt >= self.options.attempts {
                return Err(StoreError::Conflict { aggregate, expected: head.version, actual: loaded.head.version });
            }
            debug!(%aggregate, attempt, "another writer was faster");
            tokio::time::sleep(waits.next().unwrap_or(self.options.longest_wait)).await;
            attempt += 1;
        }
    }

    /// Returns the state of an aggregate and its version.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Undecodable`], [`StoreError::Gap`], [`StoreError::Config`].
    pub async fn state(&self, id: &str, until: Until) -> Result<(D::State, u64), StoreError> {
        let aggregate = AggregateId::new(D::AGGREGATE_TYPE, id)?;
        if until != Until::End {
            let (bucket, upcasters) = (self.snapshots(), &self.options.upcasters);
            let loaded = Loaded::until(&self.decider, &self.store, bucket, upcasters, &aggregate, until).await?;
            return Ok((loaded.state, loaded.version));
        }
        let mut loaded = self.load(&aggregate, None).await?;
        self.keep_snapshot(&aggregate, &mut loaded).await;
        Ok((loaded.state, loaded.version))
    }

    /// Returns how many snapshots could not be written. Commands succeed without them, and loads take longer.
    pub fn snapshot_failures(&self) -> u64 {
        self.snapshot_failures.load(Ordering::Relaxed)
    }

    async fn load(&self, aggregate: &AggregateId, command_id: Option<&str>) -> Result<Loaded<D::State>, StoreError> {
        let (bucket, upcasters) = (self.snapshots(), &self.options.upcasters);
        Loaded::newest(&self.decider, &self.store, bucket, upcasters, aggregate, command_id).await
    }

    /// Decides on the loaded state, and appends what follows. `None` if another writer was faster.
    async fn decide(
        &self,
        aggregate: &AggregateId,
        loaded: &mut Loaded<D::State>,
        command: &Command<D::Command>,
    ) -> Result<Option<Kept>, StoreError> {
        let before = loaded.head;
        let (events, rejection) = match self.decider.decide(&loaded.state, command.command.clone()) {
            Ok(events) => (events, None),
            Err(rejection) => (Vec::new(), Some(raw("the rejection", &rejection)?)),
        };
        let written: Vec<NewEvent> = events.iter().map(|event| self.new_event(event, command)).collect::<Result<_, _>>()?;
        let last_id = written.last().map_or_else(|| nuid::next().to_string(), |event| event.id.clone());
        let appending = match written.is_empty() {
            true => self.store.append_outcome(aggregate, before, &last_id, &command.id, rejection.clone()).await,
            false => self.store.append_behind(aggregate, before, &written).await,
        };
        let head = match appending {
            Ok(Appending::Stored(head)) => head,
            Ok(Appending::Moved) => return Ok(None),
            Err(StoreError::Unknown { aggregate, reason, .. }) => {
                return Err(StoreError::Unknown { aggregate, reason, repeatable: true });
            }
            Err(error) => return Err(error),
        };
        for event in &events {
            loaded.state = self.decider.evolve(std::mem::take(&mut loaded.state), event);
        }
        (loaded.head, loaded.last_id, loaded.version) = (head, last_id, head.version);
        loaded.unsaved += written.len().max(1) as u64;
        Ok(Some(Kept::new(command.id.clone(), before.version + 1, head, rejection)))
    }

    fn new_event(&self, event: &D::Event, command: &Command<D::Command>) -> Result<NewEvent, StoreError> {
        let (event_type, data) = encode(event).map_err(StoreError::Config)?;
        let schema_version = self.decider.schema_version(&event_type);
        let correlation_id = command.correlation_id.as_ref().unwrap_or(&command.id);
        Ok(NewEvent {
            schema_version,
            correlation_id: Some(correlation_id.clone()),
            causation_id: Some(command.id.clone()),
            metadata: command.metadata.clone(),
            ..NewEvent::new(event_type, data)
        })
    }

    /// Reads what follows, from the leader: a replica may not have what made the append fail.
    async fn catch_up(&self, aggregate: &AggregateId, mut loaded: Loaded<D::State>) -> Result<Loaded<D::State>, StoreError> {
        let mut loading = self.store.load_after(aggregate, loaded.head, Until::End).expecting(&loaded.last_id).ask_leader();
        loaded.apply(&self.decider, &self.options.upcasters, aggregate, &mut loading).await?;
        Ok(loaded)
    }

    /// Makes a snapshot if it is time for one. A failure is counted and logged, since the command has succeeded.
    async fn keep_snapshot(&self, aggregate: &AggregateId, loaded: &mut Loaded<D::State>) {
        let every = self.options.snapshot_every;
        if every == 0 || loaded.unsaved < every {
            return;
        }
        let Loaded { outcomes, indexed, head, last_id, state, .. } = &*loaded;
        let written = match raw("the state", state) {
            Ok(state) => self.bucket.put(aggregate, outcomes, *indexed, (*head, last_id), D::STATE_SCHEMA, state).await,
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => (loaded.snapshot, loaded.indexed, loaded.unsaved) = (loaded.head, loaded.head, 0),
            Err(error) => {
                self.snapshot_failures.fetch_add(1, Ordering::Relaxed);
                warn!(%aggregate, %error, "no snapshot");
            }
        }
    }

    fn snapshots(&self) -> Option<&Bucket> {
        (self.options.snapshot_every > 0).then_some(&self.bucket)
    }

    fn waits(&self) -> impl Iterator<Item = Duration> + Send + use<D> {
        ExponentialBuilder::default()
            .with_min_delay(self.options.first_wait)
            .with_max_delay(self.options.longest_wait)
            .without_max_times()
            .with_jitter()
            .build()
    }
}

fn raw<T: Serialize>(what: &str, value: &T) -> Result<Box<RawValue>, StoreError> {
    to_raw_value(value).map_err(|error| StoreError::Config(format!("{what} does not serialize: {error}")))
}

fn outcome<R: serde::de::DeserializeOwned>(aggregate: &AggregateId, kept: &Kept) -> Result<CommandOutcome<R>, StoreError> {
    let Some(rejection) = &kept.rejection else {
        let Kept { first_version, version, sequence, .. } = *kept;
        return Ok(CommandOutcome::Accepted { first_version, version, sequence });
    };
    let rejection = serde_json::from_str(rejection.get());
    let rejection = rejection.map_err(|error| StoreError::Undecodable {
        aggregate: aggregate.clone(),
        sequence: kept.sequence,
        reason: format!("the rejection: {error}"),
    });
    Ok(CommandOutcome::Rejected(rejection?))
}
