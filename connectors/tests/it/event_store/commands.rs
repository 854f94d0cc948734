//! Tests command handlers: idempotence, conflicts, snapshots, upcasters.

use std::sync::Arc;

use alluvium_connectors::event_store::{
    Command, CommandHandler, CommandOutcome, Decider, Expected, Handled, HandlerOptions, NewEvent, StoreError, Upcasters,
};
use async_nats::jetstream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Event {
    #[serde(rename = "account.deposited")]
    Deposited { amount: u64, currency: String },
    #[serde(rename = "account.withdrawn")]
    Withdrawn { amount: u64 },
}

#[derive(Debug, Clone)]
enum Ask {
    Deposit(u64),
    /// As several events.
    DepositEach(Vec<u64>),
    Withdraw(u64),
    /// Changes nothing if the balance is at least this much.
    FillUpTo(u64),
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Balance {
    amount: u64,
    /// How many events have been applied: a snapshot that is wrong shows.
    events: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct NotEnough {
    balance: u64,
}

/// The state's schema is a parameter, as in two releases of one service.
struct Account<const SCHEMA: u32 = 1>;

impl<const SCHEMA: u32> Decider for Account<SCHEMA> {
    const AGGREGATE_TYPE: &'static str = "order";
    const STATE_SCHEMA: u32 = SCHEMA;
    type State = Balance;
    type Command = Ask;
    type Event = Event;
    type Rejection = NotEnough;

    fn decide(&self, balance: &Balance, ask: Ask) -> Result<Vec<Event>, NotEnough> {
        let deposited = |amount| Event::Deposited { amount, currency: "EUR".into() };
        match ask {
            Ask::Deposit(amount) => Ok(vec![deposited(amount)]),
            Ask::DepositEach(amounts) => Ok(amounts.into_iter().map(deposited).collect()),
            Ask::Withdraw(amount) if amount <= balance.amount => Ok(vec![Event::Withdrawn { amount }]),
            Ask::Withdraw(_) => Err(NotEnough { balance: balance.amount }),
            Ask::FillUpTo(amount) if amount <= balance.amount => Ok(Vec::new()),
            Ask::FillUpTo(amount) => Ok(vec![deposited(amount - balance.amount)]),
        }
    }

    fn evolve(&self, balance: Balance, event: &Event) -> Balance {
        let events = balance.events + 1;
        match event {
            Event::Deposited { amount, .. } => Balance { amount: balance.amount + amount, events },
            Event::Withdrawn { amount } => Balance { amount: balance.amount - amount, events },
        }
    }

    fn schema_version(&self, event_type: &str) -> u32 {
        if event_type == "account.deposited" { 2 } else { 1 }
    }
}

async fn handler<const SCHEMA: u32>(store: &EventStore, snapshot_every: u64) -> CommandHandler<Account<SCHEMA>> {
    let old = |mut data: serde_json::Value| {
        data["currency"] = json!("EUR");
        Ok(data)
    };
    let upcasters = Upcasters::new().with(("account.deposited", 1), ("account.deposited", 2), old).expect("an upcaster");
    let options = HandlerOptions { snapshot_every, attempts: 200, upcasters, ..HandlerOptions::default() };
    CommandHandler::open(store.clone(), Account, options).await.expect("a handler")
}

async fn ask<const SCHEMA: u32>(
    handler: &CommandHandler<Account<SCHEMA>>,
    id: &str,
    ask: Ask,
) -> (CommandOutcome<NotEnough>, bool) {
    let Handled { outcome, repeated } = handler.handle("1", Command::new(id, ask)).await.expect("handled");
    (outcome, repeated)
}

fn versions(outcome: &CommandOutcome<NotEnough>) -> (u64, u64) {
    match outcome {
        CommandOutcome::Accepted { first_version, version, .. } => (*first_version, *version),
        CommandOutcome::Rejected(rejection) => panic!("rejected: {rejection:?}"),
    }
}

#[tokio::test]
async fn a_repeated_command_has_its_first_outcome_for_ever() {
    for version in VERSIONS {
        let server = Server::start(version);
        let store = store(&server).await;
        let handler = handler::<1>(&store, 10).await;
        let first = ask(&handler, "d.1", Ask::DepositEach(vec![5, 3])).await;
        assert_eq!((versions(&first.0), first.1), ((1, 2), false));
        let rejected = ask(&handler, "w 1", Ask::Withdraw(9)).await;
        assert_eq!(rejected, (CommandOutcome::Rejected(NotEnough { balance: 8 }), false));
        let nothing = ask(&handler, "f1", Ask::FillUpTo(8)).await;
        assert_eq!((versions(&nothing.0), nothing.1), ((3, 2), false));
        for round in 0..4 {
            // Before any snapshot, and after several, in the process that has handled them and in another one.
            for handler in [&handler, &self::handler::<1>(&self::store(&server).await, 10).await] {
                assert_eq!(ask(handler, "d.1", Ask::Deposit(1_000)).await, (first.0.clone(), true));
                assert_eq!(ask(handler, "w 1", Ask::Withdraw(1)).await, (rejected.0.clone(), true));
                assert_eq!(ask(handler, "f1", Ask::FillUpTo(1_000)).await, (nothing.0.clone(), true));
            }
            for number in 0..15 {
                assert!(!ask(&handler, &format!("{round} {number}"), Ask::Deposit(1)).await.1);
            }
        }
        // Without snapshots, all is in the events.
        let without = self::handler::<1>(&store, 0).await;
        assert_eq!(ask(&without, "w 1", Ask::Withdraw(1)).await, (rejected.0, true));
        let (balance, version) = handler.state("1", Until::End).await.expect("a state");
        assert_eq!((balance, version), (Balance { amount: 68, events: 62 }, 62));
        assert_eq!((without.state("1", Until::End).await.expect("a state").0.amount, handler.snapshot_failures()), (68, 0));
        let recorded = load(&store, &aggregate(1)).await;
        assert_eq!(recorded[1].causation_id.as_deref(), Some("d.1"));
        assert_eq!((recorded[1].correlation_id.as_deref(), recorded[1].schema_version), (Some("d.1"), 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_of_one_command_at_once_have_one_outcome() {
    for version in VERSIONS {
        let server = Server::start(version);
        let mut handlers = Vec::new();
        for _ in 0..8 {
            handlers.push(Arc::new(handler::<1>(&store(&server).await, 7).await));
        }
        let mut accepted = 0;
        for round in 0..30_u64 {
            // Half the attempts come before the deposit that makes them possible, as it happens.
            let mut attempts: Vec<_> = Vec::new();
            for (index, handler) in handlers.iter().enumerate() {
                let handler = Arc::clone(handler);
                let (id, wanted) = match index {
                    0 => (format!("deposit {round}"), Ask::Deposit(1)),
                    _ => (format!("withdraw {round}"), Ask::Withdraw(1)),
                };
                attempts.push(tokio::spawn(async move { ask(&handler, &id, wanted).await }));
            }
            let mut outcomes = Vec::new();
            for attempt in attempts {
                outcomes.push(attempt.await.expect("an attempt"));
            }
            let withdrawn = &outcomes[1..];
            assert!(withdrawn.iter().all(|(outcome, _)| *outcome == withdrawn[0].0), "{withdrawn:?}");
            assert!(withdrawn.iter().filter(|(_, repeated)| !repeated).count() <= 1);
            accepted += u64::from(matches!(withdrawn[0].0, CommandOutcome::Accepted { .. }));
            let again = ask(&handlers[1], &format!("withdraw {round}"), Ask::Withdraw(1)).await;
            assert_eq!(again, (withdrawn[0].0.clone(), true));
        }
        let (balance, _) = handlers[0].state("1", Until::End).await.expect("a state");
        assert_eq!(balance.amount, 30 - accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_lose_nothing() {
    for version in VERSIONS {
        let server = Server::start(version);
        let mut tasks = Vec::new();
        for writer in 0..8 {
            let handler = handler::<1>(&store(&server).await, 20).await;
            tasks.push(tokio::spawn(async move {
                for number in 0..25 {
                    ask(&handler, &format!("{writer} {number}"), Ask::Deposit(1)).await;
                }
            }));
        }
        for task in tasks {
            task.await.expect("a writer");
        }
        let store = store(&server).await;
        let (balance, version) = handler::<1>(&store, 20).await.state("1", Until::End).await.expect("a state");
        assert_eq!((balance, version), (Balance { amount: 200, events: 200 }, 200));
        assert_eq!(load(&store, &aggregate(1)).await.len(), 200);
    }
}

#[tokio::test]
async fn snapshots_are_used_and_made_anew_when_they_do_not_fit() {
    for version in VERSIONS {
        let server = Server::start(version);
        let store = store(&server).await;
        let old = handler::<1>(&store, 10).await;
        for number in 0..25 {
            ask(&old, &format!("{number}"), Ask::Deposit(1)).await;
        }
        let context = jetstream::new(async_nats::connect(server.url()).await.expect("a client"));
        let bucket = context.get_stream("KV_EVENTS_snapshots").await.expect("the bucket");
        let snapshot = async |schema: u32| {
            let subject = format!("$KV.EVENTS_snapshots.snapshot.{schema}.order.1");
            let message = bucket.get_last_raw_message_by_subject(&subject).await;
            serde_json::from_slice::<serde_json::Value>(&message.expect("a snapshot").payload).expect("JSON")
        };
        assert_eq!((&snapshot(1).await["version"], &snapshot(1).await["state_schema"]), (&json!(20), &json!(1)));

        // A state in the snapshot that no event gives shows that it is used.
        let mut changed = snapshot(1).await;
        changed["state"]["amount"] = json!(1_020);
        let text = changed.to_string().into();
        context.publish("$KV.EVENTS_snapshots.snapshot.1.order.1", text).await.expect("sent").await.expect("stored");
        assert_eq!(old.state("1", Until::End).await.expect("a state").0.amount, 1_025);
        assert_eq!(old.state("1", Until::Version(22)).await.expect("a state"), (Balance { amount: 1_022, events: 22 }, 22));
        let before = old.state("1", Until::Version(19)).await.expect("before the snapshot");
        assert_eq!(before, (Balance { amount: 19, events: 19 }, 19));
        let recorded = load(&store, &aggregate(1)).await;
        let then = old.state("1", Until::Time(recorded[18].recorded_at)).await.expect("before the snapshot");
        assert!(then.1 >= 19 && then.0.events == then.1);

        // The next release has another schema.
        let new = handler::<2>(&store, 10).await;
        assert!(ask(&new, "3", Ask::Deposit(1)).await.1);
        assert_eq!((&snapshot(2).await["version"], &snapshot(2).await["state_schema"]), (&json!(25), &json!(2)));
        assert_eq!(new.state("1", Until::End).await.expect("a state"), (Balance { amount: 25, events: 25 }, 25));

        // A stream that was restored has lost the events that the snapshot knows.
        let stream = context.get_stream("EVENTS").await.expect("the stream");
        for event in &recorded[23..] {
            stream.delete_message(event.sequence).await.expect("deleted");
        }
        assert_eq!(new.state("1", Until::End).await.expect("a state").0, Balance { amount: 23, events: 23 });
        let after = ask(&new, "after", Ask::Deposit(1)).await;
        assert_eq!((versions(&after.0), after.1), ((24, 24), false));
        // The commands whose events are lost are handled again, also behind the next snapshot.
        let lost = ask(&new, "23", Ask::Deposit(1)).await;
        assert_eq!((versions(&lost.0), lost.1), ((25, 25), false));
        for number in 0..10 {
            ask(&new, &format!("more {number}"), Ask::Deposit(1)).await;
        }
        assert!(snapshot(2).await["version"].as_u64() > Some(30));
        let lost = ask(&new, "24", Ask::Deposit(1)).await;
        assert_eq!((versions(&lost.0), lost.1), ((36, 36), false));
        assert_eq!(
            ask(&new, "23", Ask::Deposit(1)).await,
            (CommandOutcome::Accepted { first_version: 25, version: 25, sequence: 27 }, true)
        );

        // The bucket can be deleted. It is made again by the next handler.
        context.delete_stream("KV_EVENTS_snapshots").await.expect("deleted");
        let again = handler::<2>(&store, 10).await;
        assert!(ask(&again, "3", Ask::Deposit(1)).await.1);
        assert_eq!(again.state("1", Until::End).await.expect("a state").1, 36);
    }
}

#[tokio::test]
async fn a_snapshot_of_events_that_were_lost_and_written_anew_is_ignored() {
    for version in VERSIONS {
        let server = Server::start(version);
        let store = store(&server).await;
        let handler = handler::<1>(&store, 10).await;
        for number in 0..20 {
            ask(&handler, &format!("{number}"), Ask::Deposit(1)).await;
        }
        // What a snapshot looks like whose event is another one by now: same version and sequence, another id.
        let context = jetstream::new(async_nats::connect(server.url()).await.expect("a client"));
        let bucket = context.get_stream("KV_EVENTS_snapshots").await.expect("the bucket");
        let subject = "$KV.EVENTS_snapshots.snapshot.1.order.1";
        let found = bucket.get_last_raw_message_by_subject(subject).await.expect("a snapshot");
        let mut changed: serde_json::Value = serde_json::from_slice(&found.payload).expect("JSON");
        assert_eq!(changed["version"], json!(20));
        (changed["last_id"], changed["state"]["amount"]) = (json!("lost"), json!(1_000));
        context.publish(subject, changed.to_string().into()).await.expect("sent").await.expect("stored");
        assert_eq!(handler.state("1", Until::Version(20)).await.expect("a state").0.amount, 20);
        assert_eq!(handler.state("1", Until::End).await.expect("a state").0.amount, 20);
        assert!(ask(&handler, "3", Ask::Deposit(1)).await.1);
    }
}

#[tokio::test]
async fn outcomes_without_events_are_in_snapshots_too() {
    let server = Server::start(Version::Newest);
    let store = store(&server).await;
    let handler = handler::<1>(&store, 10).await;
    for number in 0..25 {
        let rejected = ask(&handler, &format!("{number}"), Ask::Withdraw(1)).await;
        assert_eq!(rejected, (CommandOutcome::Rejected(NotEnough { balance: 0 }), false));
    }
    let context = jetstream::new(async_nats::connect(server.url()).await.expect("a client"));
    let bucket = context.get_stream("KV_EVENTS_snapshots").await.expect("the bucket");
    let found = bucket.get_last_raw_message_by_subject("$KV.EVENTS_snapshots.snapshot.1.order.1").await.expect("a snapshot");
    let snapshot: serde_json::Value = serde_json::from_slice(&found.payload).expect("JSON");
    assert_eq!((&snapshot["version"], &snapshot["sequence"]), (&json!(0), &json!(20)));
    assert!(ask(&handler, "3", Ask::Withdraw(0)).await.1 && ask(&handler, "23", Ask::Withdraw(0)).await.1);
    // Without its bucket, a handler finds all in the events.
    context.delete_stream("KV_EVENTS_snapshots").await.expect("deleted");
    assert!(ask(&handler, "3", Ask::Withdraw(0)).await.1);
    assert_eq!((versions(&ask(&handler, "d", Ask::Deposit(1)).await.0), handler.snapshot_failures()), ((1, 1), 0));
}

#[tokio::test]
async fn events_of_old_schemas_are_upcast() {
    let server = Server::start(Version::Newest);
    let store = store(&server).await;
    let old = NewEvent::json("account.deposited", &json!({ "amount": 4 })).expect("an event");
    store.append(&aggregate(1), Expected::MustNotExist, &[old]).await.expect("appended");
    let handler = handler::<1>(&store, 10).await;
    assert_eq!(versions(&ask(&handler, "1", Ask::Withdraw(4)).await.0), (2, 2));
    let unknown = NewEvent::json("account.closed", &json!({})).expect("an event");
    store.append(&aggregate(1), Expected::Any, &[unknown]).await.expect("appended");
    let error = handler.state("1", Until::End).await.expect_err("an unknown type");
    assert!(matches!(&error, StoreError::Undecodable { reason, .. } if reason.contains("account.closed")), "{error}");
}
