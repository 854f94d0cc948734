//! The servers of a running engine: HTTP with its console, and the Postgres protocol.

pub mod console;
pub mod http;
pub mod limits;
pub mod postgres;

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::error::Error;

/// Binds the address of a server, and returns the one that was bound, with the actual port. `what` names the address in the error, and `help`
/// says how to choose another.
async fn bind(address: SocketAddr, what: &str, help: &str) -> Result<(TcpListener, SocketAddr), Error> {
    let wrong = |error: std::io::Error| {
        let message = match error.kind() {
            std::io::ErrorKind::AddrInUse => format!("the {what} address {address} is taken by another program"),
            _ => format!("cannot listen on the {what} address {address}: {error}"),
        };
        Error::unavailable(message, help)
    };
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let address = listener.local_addr().map_err(wrong)?;
    Ok((listener, address))
}
