//! What all connections of Postgres clients share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, Semaphore};

use crate::layout::Layout;
use crate::serve::limits::Limits;

/// The most transactions with a snapshot at once.
const SNAPSHOTS: usize = 16;

/// The user that may connect, and its password.
#[derive(Clone)]
pub struct Account {
    /// The user's name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) limits: Limits,
    /// Who may connect; without one, everyone who reaches the address.
    pub(super) account: Option<Account>,
    pub(super) connections: Arc<Semaphore>,
    /// How many transactions may hold a snapshot at once: each holds files of all views open.
    pub(super) snapshots: Arc<Semaphore>,
    /// By the process id and the key that a connection was told: how to cancel its query.
    cancels: Mutex<BTreeMap<(i32, i32), Arc<Notify>>>,
}

impl Shared {
    pub(super) fn new(layout: Layout, limits: Limits, account: Option<Account>, connections: usize) -> Shared {
        Shared {
            layout,
            limits,
            account,
            connections: Arc::new(Semaphore::new(connections)),
            snapshots: Arc::new(Semaphore::new(SNAPSHOTS)),
            cancels: Mutex::default(),
        }
    }

    /// Registers a connection, so that its queries can be cancelled.
    pub(super) fn register(&self, key: (i32, i32)) -> Arc<Notify> {
        let cancel = Arc::new(Notify::new());
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&cancel));
        cancel
    }

    pub(super) fn forget(&self, key: (i32, i32)) {
        self.cancels.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }

    /// Cancels the query that a connection runs. A wrong key does nothing.
    pub(super) fn cancel(&self, key: (i32, i32)) {
        if let Some(cancel) = self.cancels.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            cancel.notify_one();
        }
    }
}
