//! Pins one commit of each view: copies its rows, so that a running engine cannot change them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use alluvium_connectors::sink::parquet::{Manifest, ParquetSink, PartLayout, Retention, token_of};
use alluvium_sql::View;

use super::spool::{Spool, SpoolFolder};
use super::unknown::Unknown;
use crate::error::Error;
use crate::project::Project;
use crate::query::snapshot::Snapshots;
use crate::record::{Record, newest_records};

/// How often to start over because the engine removed a file or swapped in a rebuilt view meanwhile.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(20);

/// A pinned commit of a view.
#[derive(Debug)]
pub(super) struct Pinned {
    /// By source of its rows: the committed offset.
    pub(super) offsets: BTreeMap<String, u64>,
    pub(super) rows: Arc<Spool>,
}

/// By view name: its pinned commit.
type Commits = BTreeMap<String, Result<Pinned, Unknown>>;

/// Pins views, and returns the last record of each view in the data folder. A record belongs to the same incarnation as the pinned rows,
/// and is not older than they are.
pub(super) async fn pin(
    project: &Project,
    views: &[&View],
    folder: &SpoolFolder,
) -> Result<(Commits, BTreeMap<String, Record>), Error> {
    for _ in 0..TRIES {
        let before = newest_records(&project.layout())?;
        let pinned = match once(project, views, folder).await {
            // A part that a later commit has replaced is kept only for a while.
            Err(Error::Connector(alluvium_connectors::Error::Io { error, .. })) if error.kind() == ErrorKind::NotFound => None,
            pinned => Some(pinned?),
        };
        let after = newest_records(&project.layout())?;
        let runs = |records: &BTreeMap<String, Record>| -> Vec<String> {
            records.values().map(|record| record.incarnation.clone()).collect()
        };
        match pinned {
            Some(pinned) if runs(&before) == runs(&after) => return Ok((pinned, after)),
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    Err(Error::unavailable("the engine commits or swaps views faster than they can be read", "try again"))
}

async fn once(project: &Project, views: &[&View], folder: &SpoolFolder) -> Result<Commits, Error> {
    let names: BTreeSet<String> = views.iter().map(|view| view.name.clone()).collect();
    let (snapshots, _open) = Snapshots::take(&project.layout(), &names).await?;
    let manifests: BTreeMap<&str, &Manifest> =
        snapshots.manifests().iter().map(|manifest| (manifest.view.as_str(), manifest)).collect();
    let mut commits = Commits::new();
    for view in views {
        let commit = match manifests.get(view.name.as_str()) {
            None => Err(Unknown("it has not been committed yet".to_owned())),
            Some(manifest) if manifest.fingerprint != view.plan.fingerprint => {
                Err(Unknown("its last commit has another version of its SQL; `alluvium run` rebuilds it".to_owned()))
            }
            Some(manifest) => {
                let rows = Arc::new(copy(project, view, manifest, folder)?);
                Ok(Pinned { offsets: manifest.offsets.clone(), rows })
            }
        };
        commits.insert(view.name.clone(), commit);
    }
    Ok(commits)
}

fn copy(project: &Project, view: &View, manifest: &Manifest, folder: &SpoolFolder) -> Result<Spool, Error> {
    // The sink only reads here, so its retention does not matter.
    let sink = ParquetSink::new(project.layout().view(&view.name), Retention { kept: usize::MAX, min_age: Duration::MAX });
    let (token, _) = token_of(PartLayout::Append, manifest.parts.clone())?;
    let mut spool = folder.writer(&view.plan.schema)?;
    for rows in sink.rows(view.plan.schema.clone(), &token)? {
        spool.write(&rows?)?;
    }
    spool.finish()
}
