//! A client of a running engine's HTTP server.

use std::time::Duration;

use serde_json::Value;

use crate::error::Error;
use crate::layout::RunInfo;
use crate::serve::http::COMMAND_HEADER;
use crate::status::{SourceHealth, ViewStatus};

/// A connection to a running engine.
pub(super) struct Client {
    base: String,
    agent: ureq::Agent,
}

impl Client {
    /// Makes a client, or returns `None` if the engine's HTTP server is off.
    pub(super) fn of(info: &RunInfo) -> Option<Client> {
        let base = format!("http://{}", info.http.as_ref()?);
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .proxy(None)
            .build();
        Some(Client { base, agent: config.new_agent() })
    }

    pub(super) fn status(&self) -> Result<Vec<ViewStatus>, Error> {
        let mut response = self.agent.get(format!("{}/status", self.base)).call().map_err(|error| self.silent(&error))?;
        response.body_mut().read_json().map_err(|error| self.silent(&error))
    }

    pub(super) fn sources(&self) -> Result<Vec<SourceHealth>, Error> {
        let mut response = self.agent.get(format!("{}/sources", self.base)).call().map_err(|error| self.silent(&error))?;
        response.body_mut().read_json().map_err(|error| self.silent(&error))
    }

    /// Sends the command `rebuild`, `restart` or `drop`.
    pub(super) fn command(&self, command: &str, view: &str) -> Result<(), Error> {
        let url = format!("{}/{command}/{}", self.base, percent_encoded(view));
        let mut response = self.agent.post(url).header(COMMAND_HEADER, "1").send_empty().map_err(|error| self.silent(&error))?;
        let answer: Value = response.body_mut().read_json().map_err(|error| self.silent(&error))?;
        if answer["ok"] == true {
            return Ok(());
        }
        let message = answer["error"].as_str().unwrap_or("the engine refused without a reason").to_owned();
        match answer["help"].as_str() {
            Some(help) => Err(Error::config(message, help)),
            None => Err(Error::config(message, format!("the engine at {} refused the command", self.base))),
        }
    }

    fn silent(&self, error: &ureq::Error) -> Error {
        Error::unavailable(
            format!("the engine at {} does not answer: {error}", self.base),
            "check its log; if it hangs, stop it and start it again",
        )
    }
}

/// Encodes every byte that a path segment may not contain as %XX.
pub(super) fn percent_encoded(name: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(encode).collect()
}
