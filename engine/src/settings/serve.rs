//! `[serve]` of alluvium.toml: the servers beside HTTP.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use config::{Map, Value, ValueKind};

use super::keys;

/// The servers beside HTTP. `Debug` leaves out the password and the token.
#[derive(Clone, Default)]
pub struct Serve {
    /// The address of the Postgres protocol; `None` if it is off.
    pub postgres: Option<SocketAddr>,
    /// The user that may connect.
    pub user: String,
    /// Its password; without one, everyone on this machine may connect.
    pub password: Option<String>,
    /// What requests for views over HTTP have to carry.
    pub http_token: Option<String>,
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.is_some();
        f.debug_struct("Serve").field("postgres", &self.postgres).field("user", &self.user).field("password", &password).finish()
    }
}

impl Serve {
    /// Reads the table and the environment, which goes before it. An error is the key that is wrong, and what to do.
    pub(super) fn read(
        merged: &Map<String, Value>,
        environment: &BTreeMap<String, String>,
        dir: &Path,
    ) -> Result<Serve, (&'static str, String)> {
        let of_file = match merged.get("serve").map(|value| &value.kind) {
            Some(ValueKind::Table(table)) => Some(table),
            _ => None,
        };
        let text = |key: &str| -> Option<String> {
            let variable = format!("{}{}", keys::SERVE_PREFIX, key.to_ascii_uppercase());
            let of_environment = environment.get(&variable).filter(|value| !value.is_empty()).cloned();
            of_environment.or_else(|| of_file?.get(key).map(ToString::to_string))
        };
        let postgres = match text("postgres") {
            None => None,
            Some(off) if off.eq_ignore_ascii_case("off") => None,
            Some(address) => {
                let found = address.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
                Some(found.ok_or(("postgres", "write an address and a port, \"127.0.0.1:5433\", or \"off\"".to_owned()))?)
            }
        };
        let password = match (text("postgres_password"), text("postgres_password_file")) {
            (Some(password), _) => Some(password),
            (None, None) => None,
            (None, Some(file)) => {
                let path = dir.join(file);
                let read = std::fs::read_to_string(&path);
                let read = read.map_err(|error| ("postgres_password_file", format!("reading {}: {error}", path.display())))?;
                Some(read.trim_end_matches(['\r', '\n']).to_owned())
            }
        };
        if password.as_ref().is_some_and(String::is_empty) {
            return Err(("postgres_password", "the password is empty".to_owned()));
        }
        Ok(Serve {
            postgres,
            user: text("postgres_user").unwrap_or_else(|| "alluvium".to_owned()),
            password,
            http_token: text("http_token"),
        })
    }
}
