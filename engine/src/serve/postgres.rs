//! The Postgres protocol: committed views for psql and everything else that speaks it, read only.
//!
//! | module | what it holds |
//! | --- | --- |
//! | `start` | the start of a connection, with the password by `scram` |
//! | `session` | queries, simple and extended, and transactions |
//! | `portals` | prepared statements, portals, rows that have begun |
//! | `refused` | errors of queries, with their codes |
//! | `words` | statements that are no queries |
//! | `values` | values and parameters in the protocol's formats |
//! | `messages` | the protocol's messages |
//! | `shared` | what all connections share |

mod messages;
mod portals;
mod refused;
mod scram;
mod session;
mod shared;
mod start;
mod values;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::shared::Account;
use self::shared::Shared;
use super::limits::Limits;
use crate::error::Error;
use crate::layout::Layout;

/// The most connections at once.
const CONNECTIONS: usize = 1_000;

/// A server that has bound its port but does not serve yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// [`crate::error::Kind::Unavailable`] if that fails; a configuration error for an address beyond this machine without a password.
    pub async fn bind(address: SocketAddr, account: Option<&Account>) -> Result<Server, Error> {
        if !address.ip().to_canonical().is_loopback() && account.is_none() {
            return Err(Error::config(
                format!("the Postgres address {address} can be reached from other machines, and there is no password"),
                "set postgres_password in [serve], or ALLUVIUM_SERVE_POSTGRES_PASSWORD, or listen on 127.0.0.1",
            ));
        }
        let help = "choose another with `postgres` in [serve] of alluvium.toml, or ALLUVIUM_SERVE_POSTGRES";
        let (listener, address) = super::bind(address, "Postgres", help).await?;
        Ok(Server { listener, address })
    }

    /// The address that was bound, with the actual port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled. Connections end then, too.
    pub async fn serve(self, layout: Layout, limits: Limits, account: Option<Account>, shutdown: CancellationToken) {
        let shared = Arc::new(Shared::new(layout, limits, account, CONNECTIONS));
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // File descriptors that ran out come back.
                    tracing::warn!(%error, "accepting a Postgres client");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
                tracing::warn!(%peer, "a Postgres client is turned away: {CONNECTIONS} are connected");
                continue;
            };
            let (shared, shutdown) = (Arc::clone(&shared), shutdown.clone());
            tokio::spawn(async move {
                let _permit = permit;
                tokio::select! {
                    ended = start::serve(&shared, stream) => {
                        if let Err(error) = ended {
                            tracing::debug!(%peer, %error, "a Postgres client is gone");
                        }
                    }
                    () = shutdown.cancelled() => {}
                }
            });
        }
    }
}
