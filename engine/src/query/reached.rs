//! Whether a view has committed an event, and waiting until it has: what a client asks to read its own writes.

use std::time::Duration;

use alluvium_connectors::sink::parquet::{Manifest, read_manifest};
use alluvium_sql::{listed, nearest};
use tokio::time::Instant;

use super::newest::ManifestFile;
use crate::error::{Error, Kind};
use crate::layout::Layout;

/// How often to look for a newer manifest. A commit takes longer.
const PAUSE: Duration = Duration::from_millis(10);

/// An event that a view has to have committed: `N`, or `SOURCE:N` for a view of several sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// The source; `None` for the only one of the view.
    pub source: Option<String>,
    /// The sequence of the event in it.
    pub sequence: u64,
}

impl std::str::FromStr for Awaited {
    type Err = String;

    fn from_str(text: &str) -> Result<Awaited, String> {
        let (source, number) = match text.rsplit_once(':') {
            Some((source, number)) if !source.is_empty() => (Some(source.to_owned()), number),
            Some(_) => return Err(wrong(text)),
            None => (None, text),
        };
        let sequence = number.parse().map_err(|_| wrong(text))?;
        Ok(Awaited { source, sequence })
    }
}

fn wrong(text: &str) -> String {
    format!("'{text}' is not the sequence of an event: write N, or SOURCE:N")
}

impl Awaited {
    /// Whether the commit of a manifest holds the event.
    ///
    /// # Errors
    /// The source has to be named, or the view does not read the one that is named.
    pub fn is_in(&self, manifest: &Manifest) -> Result<bool, Error> {
        let sources = || manifest.offsets.keys().map(String::as_str);
        let there = || listed(manifest.offsets.keys());
        let offset = match &self.source {
            Some(source) => manifest.offsets.get(source).ok_or_else(|| {
                let help = match nearest(source, sources()) {
                    Some(near) => format!("did you mean {near}:{}?", self.sequence),
                    None => format!("it reads {}", there()),
                };
                Error::config(format!("view {} does not read source {source}", manifest.view), help)
            })?,
            None if manifest.offsets.len() == 1 => manifest.offsets.values().next().unwrap_or(&0),
            None => {
                return Err(Error::config(
                    format!("view {} reads several sources, so the sequence {} needs its source", manifest.view, self.sequence),
                    format!("write SOURCE:{}, with one of {}", self.sequence, there()),
                ));
            }
        };
        Ok(*offset > self.sequence)
    }

    /// Waits until the view has committed the event.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if it has not at `deadline`; those of [`Awaited::is_in`]; the disk fails.
    pub async fn wait(&self, layout: &Layout, view: &str, deadline: Instant) -> Result<Manifest, Error> {
        let (mut seen, mut newest) = (None, None);
        loop {
            let file = ManifestFile::of(layout, view)?;
            if file != seen {
                (seen, newest) = (file, read_manifest(&layout.view(view))?);
                if let Some(manifest) = &newest
                    && self.is_in(manifest)?
                {
                    return Ok(manifest.clone());
                }
            }
            if Instant::now() >= deadline {
                return Err(self.missed(view, newest.as_ref()));
            }
            tokio::time::sleep_until((Instant::now() + PAUSE).min(deadline)).await;
        }
    }

    fn missed(&self, view: &str, newest: Option<&Manifest>) -> Error {
        let source = self.source.as_ref().map_or_else(String::new, |source| format!("{source}:"));
        let reached = match newest {
            None => "it has no commit yet".to_owned(),
            Some(manifest) => {
                let offsets = manifest.offsets.iter().map(|(source, offset)| format!("{source} before {offset}"));
                format!("its commit {} holds the events of {}", manifest.epoch, offsets.collect::<Vec<_>>().join(", "))
            }
        };
        Error::Other {
            kind: Kind::Unavailable,
            message: format!("view {view} has not committed sequence {source}{} in time: {reached}", self.sequence),
            help: Some(
                "wait longer (`timeout`); `alluvium status` shows whether the view is behind, failed or cut off".to_owned(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_sequence_may_name_its_source() {
        assert_eq!("7".parse(), Ok(Awaited { source: None, sequence: 7 }));
        assert_eq!("a:b:7".parse(), Ok(Awaited { source: Some("a:b".into()), sequence: 7 }));
        for wrong in ["", "x", ":7", "orders:", "-1"] {
            assert!(wrong.parse::<Awaited>().unwrap_err().contains("SOURCE:N"), "{wrong}");
        }
    }
}
