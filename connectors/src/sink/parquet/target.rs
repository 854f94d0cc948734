//! [`ParquetSink`] implements [`Sink`] on a view's folder of parts and snapshots.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::SystemTime;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};

use super::checked::CheckedFile;
use super::part_file::PARTS;
use super::parts::{Part, PartLayout, Snapshot};
use super::snapshots::{CURRENT, Manifest, publish, read_manifest};
use super::sweep::{Retention, sweep, sweep_orphans};
use super::writer::{PartRows, ViewWriter, read_parts};
use crate::Error;
use crate::durable;
use crate::sink::contract::{CommitFacts, Delta, Sink, SinkWriter, Size, Staged, Token, ViewRows};

/// The sink of one view's folder.
#[derive(Debug, Clone)]
pub struct ParquetSink {
    root: PathBuf,
    retention: Retention,
}

/// The content of a token.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    layout: PartLayout,
    parts: Vec<Part>,
}

impl ParquetSink {
    /// Creates the sink for a view's folder. Opening a writer creates a missing folder.
    #[must_use]
    pub fn new(root: PathBuf, retention: Retention) -> ParquetSink {
        ParquetSink { root, retention }
    }

    /// Returns the rows of the parts that a token names, part by part.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a token of another sink; [`Error::Config`] for a column that Parquet cannot hold. The iterator returns
    /// [`Error::Io`] and [`Error::Corrupt`].
    pub fn rows(&self, schema: SchemaRef, token: &Token) -> Result<PartRows, Error> {
        read_parts(&self.root, schema, &self.named(token)?.parts)
    }

    /// The files that a token names.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a token that is not ours.
    pub fn files(&self, token: &Token) -> Result<Vec<PathBuf>, Error> {
        Ok(self.named(token)?.parts.iter().map(|part| self.root.join(PARTS).join(&part.file)).collect())
    }

    /// Reads all files that a token names, and compares them with their checksums. Gives the files and bytes that were read, and what is
    /// wrong.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a token that is not ours.
    pub fn check(&self, token: &Token) -> Result<(Size, Vec<Error>), Error> {
        let mut wrong = Vec::new();
        let parts = self.named(token)?.parts;
        for part in &parts {
            let path = self.root.join(PARTS).join(&part.file);
            wrong.extend(CheckedFile::open(&path, part).and_then(|file| file.check()).err());
        }
        Ok((size(&parts), wrong))
    }

    /// How many of the files that a token names have no checksum, since an earlier release wrote them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a token that is not ours.
    pub fn without_checksum(&self, token: &Token) -> Result<u64, Error> {
        Ok(self.named(token)?.parts.iter().filter(|part| part.crc32.is_empty()).count() as u64)
    }

    /// Whether readers see a commit: its manifest, `current` and the links in it. `anywhere`: the manifest may name the files by paths of
    /// a folder that this one was copied from.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Corrupt`] for a token that is not ours.
    pub fn is_shown(&self, commit: &CommitFacts, token: &Token, anywhere: bool) -> Result<bool, Error> {
        let snapshot = snapshot(commit, self.named(token)?);
        let shown = match read_manifest(&self.root) {
            Err(Error::Corrupt { .. }) => None,
            shown => shown?,
        };
        // The folder may also have been moved, or a link been lost.
        let links: HashSet<String> = durable::names(&self.root.join(CURRENT))?.into_iter().collect();
        let is_whole = snapshot.parts.iter().all(|part| links.contains(&part.file));
        let mut expected = Manifest::of(&self.root, &snapshot)?;
        if let Some(shown) = shown.as_ref().filter(|_| anywhere) {
            expected.files.clone_from(&shown.files);
            // An earlier release wrote none.
            expected.hashed_by = expected.hashed_by.filter(|_| shown.hashed_by.is_some());
        }
        Ok(is_whole && shown == Some(expected))
    }

    fn named(&self, token: &Token) -> Result<Named, Error> {
        token.content().map_err(|error| Error::Corrupt {
            path: self.root.clone(),
            message: format!("its token in the record of the last commit cannot be read: {error}"),
        })
    }
}

/// Returns the token and the size of a view with these parts. The records of the first release hold no token, only layout and parts.
///
/// # Errors
/// Only [`Error::Bug`].
pub fn token_of(layout: PartLayout, parts: Vec<Part>) -> Result<(Token, Size), Error> {
    let size = size(&parts);
    Ok((Token::new(&Named { layout, parts })?, size))
}

fn size(parts: &[Part]) -> Size {
    Size {
        rows: parts.iter().map(|part| part.rows).sum(),
        parts: parts.len() as u64,
        bytes: parts.iter().map(|part| part.bytes).sum(),
    }
}

fn snapshot(commit: &CommitFacts, named: Named) -> Snapshot {
    Snapshot { commit: commit.clone(), layout: named.layout, parts: named.parts }
}

impl Sink for ParquetSink {
    fn writer(&self, rows: &ViewRows, last: Option<&Token>) -> Result<Box<dyn SinkWriter>, Error> {
        let Named { layout, parts } = match last {
            Some(token) => self.named(token)?,
            None if rows.retracts => Named { layout: PartLayout::Hashed { columns: rows.key.clone() }, parts: Vec::new() },
            None => Named { layout: PartLayout::Append, parts: Vec::new() },
        };
        let writer = ViewWriter::open(&self.root, rows.schema.clone(), layout.clone(), parts)?;
        Ok(Box::new(Stager { writer, layout }))
    }

    fn publish(&self, commit: &CommitFacts, token: &Token) -> Result<(), Error> {
        publish(&self.root, &snapshot(commit, self.named(token)?))
    }

    fn recover(&self, commit: &CommitFacts, token: &Token) -> Result<(), Error> {
        let snapshot = snapshot(commit, self.named(token)?);
        // A damaged manifest is rewritten like a missing one, from the token.
        if !self.is_shown(commit, token, false)? {
            publish(&self.root, &snapshot)?;
        }
        sweep_orphans(&self.root, &snapshot.parts).map(drop)
    }

    fn sweep(&self, kept: &[&Token], now: SystemTime) -> Result<(), Error> {
        let mut parts = Vec::new();
        for token in kept {
            parts.extend(self.named(token)?.parts);
        }
        sweep(&self.root, &parts, self.retention, now).map(drop)
    }
}

/// A [`ViewWriter`] that returns tokens.
#[derive(Debug)]
struct Stager {
    writer: ViewWriter,
    layout: PartLayout,
}

impl SinkWriter for Stager {
    fn prepare(&mut self, epoch: u64, deltas: &[Delta]) -> Result<Staged, Error> {
        let before: HashSet<String> = self.writer.parts().iter().map(|part| part.file.clone()).collect();
        let parts = self.writer.write(epoch, deltas)?;
        let written_bytes = parts.iter().filter(|part| !before.contains(&part.file)).map(|part| part.bytes).sum();
        let (token, size) = token_of(self.layout.clone(), parts)?;
        Ok(Staged { token, size, written_bytes })
    }
}
