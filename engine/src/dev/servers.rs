//! Starts the nats-server that a project declares on this machine, where none answers and one is installed, and makes the streams that its
//! sources read. A server that answers is left alone, and so are its streams.

use alluvium_connectors::source::SourceConfig;
use async_nats::jetstream::{self, stream};
use std::collections::{BTreeMap, BTreeSet};
use url::{Host, Url};

use crate::error::Error;
use crate::nats_server::{self, NatsServer};
use crate::project::Project;
use crate::record::{Record, newest_records};

/// The servers that were started, by port. They end when this is dropped.
#[derive(Debug, Default)]
pub struct Servers {
    started: BTreeMap<u16, NatsServer>,
}

/// A stream of a server on this machine.
#[derive(Debug, PartialEq, Eq)]
struct Declared {
    port: u16,
    stream: String,
    subjects: BTreeSet<String>,
    /// The sources that read it.
    sources: BTreeSet<String>,
}

impl Servers {
    /// Starts what the sources of a project lack. Returns what was done, a line each.
    ///
    /// No server is started in place of one whose events views hold: to them, its streams would be other ones.
    ///
    /// # Errors
    /// A server does not start, or makes no stream.
    pub async fn start(&mut self, project: &Project) -> Result<Vec<String>, Error> {
        let mut done = Vec::new();
        // One that has ended is started again.
        self.started.retain(|port, _| nats_server::answers(*port));
        let records = newest_records(&project.layout())?;
        for declared in declared(project.sources.values()) {
            if !self.started.contains_key(&declared.port)
                && let Some(server) = missing(&declared, project, &records, &mut done)?
            {
                self.started.insert(declared.port, server);
            }
            let Some(server) = self.started.get(&declared.port) else { continue };
            if make_stream(&server.url(), &declared).await? {
                let subjects = declared.subjects.into_iter().collect::<Vec<_>>().join(", ");
                done.push(format!("made the stream {} with the subjects {subjects}", declared.stream));
            }
        }
        Ok(done)
    }
}

/// Starts the server of a stream, if none answers and that is safe. Adds what was done or not done.
fn missing(
    declared: &Declared,
    project: &Project,
    records: &BTreeMap<String, Record>,
    done: &mut Vec<String>,
) -> Result<Option<NatsServer>, Error> {
    let port = declared.port;
    if nats_server::answers(port) {
        return Ok(None);
    }
    let store = nats_server::store(&project.dir, port);
    let held = records.values().flat_map(|record| record.positions.keys()).find(|name| declared.sources.contains(*name));
    if let Some(source) = held.filter(|_| !store.exists()) {
        done.push(format!(
            "nothing answers at 127.0.0.1:{port}; views hold events of {source} from there, so no server is started in its place"
        ));
        return Ok(None);
    }
    let Some(program) = nats_server::on_path() else {
        done.push(format!("nothing answers at 127.0.0.1:{port}, and no nats-server is on the PATH"));
        return Ok(None);
    };
    let server = NatsServer::start(&program, port, &store)?;
    let (url, process) = (server.url(), server.process());
    done.push(format!("started nats-server at {url}, process {process}, with its streams in {}", store.display()));
    Ok(Some(server))
}

/// The streams on this machine that sources read over plain connections.
fn declared<'s>(sources: impl Iterator<Item = &'s SourceConfig>) -> Vec<Declared> {
    let mut found: Vec<Declared> = Vec::new();
    for source in sources.filter(|source| source.stored_as.eq_ignore_ascii_case("NATS")) {
        let Some((port, stream)) = here(&source.location) else { continue };
        let subjects = source.options.get("subject").map_or_else(
            || vec![format!("{}.>", stream.to_ascii_lowercase())],
            |subjects| subjects.split(',').map(|subject| subject.trim().to_owned()).collect(),
        );
        match found.iter_mut().find(|one| one.port == port && one.stream == stream) {
            Some(one) => {
                one.subjects.extend(subjects);
                one.sources.insert(source.name.clone());
            }
            None => found.push(Declared {
                port,
                stream,
                subjects: subjects.into_iter().collect(),
                sources: [source.name.clone()].into(),
            }),
        }
    }
    found
}

/// The port and the stream of a location, if it is one server on loopback.
fn here(location: &str) -> Option<(u16, String)> {
    let url = Url::parse(location).ok().filter(|url| url.scheme() == "nats")?;
    let is_here = match url.host()? {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1",
        Host::Ipv4(address) => address == std::net::Ipv4Addr::LOCALHOST,
        // The server listens on 127.0.0.1 alone.
        Host::Ipv6(_) => false,
    };
    let stream = url.path().trim_start_matches('/');
    (is_here && !stream.is_empty()).then(|| (url.port().unwrap_or(4222), stream.to_owned()))
}

/// Makes a stream. Returns `false` if it is there.
async fn make_stream(url: &str, declared: &Declared) -> Result<bool, Error> {
    let wrong = |error: &dyn std::fmt::Display| {
        let help = "make it with the subjects that its events have: `nats stream add`";
        Error::unavailable(format!("making the stream {}: {error}", declared.stream), help)
    };
    let context = jetstream::new(async_nats::connect(url).await.map_err(|error| wrong(&error))?);
    if context.get_stream(&declared.stream).await.is_ok() {
        return Ok(false);
    }
    let subjects = declared.subjects.iter().cloned().collect();
    let config = stream::Config { name: declared.stream.clone(), subjects, ..Default::default() };
    context.create_stream(config).await.map_err(|error| wrong(&error))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_servers_on_this_machine_are_ours_to_start() {
        let orders = || Some((4333, "ORDERS".to_owned()));
        assert_eq!(here("nats://127.0.0.1:4333/ORDERS"), orders());
        assert_eq!(here("nats://localhost:4333/ORDERS"), orders());
        assert_eq!(here("nats://127.0.0.1/ORDERS"), Some((4222, "ORDERS".to_owned())));
        for other in [
            "nats://nats.example:4222/ORDERS",
            "nats://[::1]/ORDERS",
            "tls://127.0.0.1/ORDERS",
            "nats://a:1,b:2/ORDERS",
            "events.jsonl",
            "nats://127.0.0.1:4222",
        ] {
            assert_eq!(here(other), None, "{other}");
        }
    }
}
