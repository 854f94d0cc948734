//! The errors that stopped views, saved for `alluvium status` after the run has ended. Nothing depends on the file: without it only the
//! reasons are lost.

use std::collections::BTreeMap;
use std::fs;

use alluvium_connectors::durable;

use super::{Phase, ViewStatus};
use crate::layout::Layout;

/// Reads, by view, the errors of the last run. Returns nothing if the file cannot be read.
#[must_use]
pub fn read(layout: &Layout) -> BTreeMap<String, String> {
    let bytes = fs::read(layout.failures()).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Saves the errors of those of `views` that have failed, and removes the saved errors of the others. Errors of views not in `views` stay.
pub fn keep<'a>(layout: &Layout, views: impl IntoIterator<Item = &'a ViewStatus>) {
    let before = read(layout);
    let mut failures = before.clone();
    for status in views {
        match (&status.error, status.phase) {
            (Some(error), Phase::Failed) => failures.insert(status.view.clone(), error.clone()),
            _ => failures.remove(&status.view),
        };
    }
    if failures == before {
        return;
    }
    let written = serde_json::to_vec_pretty(&failures)
        .map_err(|error| error.to_string())
        .and_then(|bytes| durable::write_atomically(&layout.failures(), &bytes).map_err(|error| error.to_string()));
    if let Err(error) = written {
        tracing::warn!(error, "the errors that stopped views cannot be saved for `alluvium status`");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::status::Board;

    #[test]
    fn the_reasons_of_the_last_run_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let board = Board::default();
        for view in ["a", "b", "c"] {
            board.failed(view, &format!("{view} is broken"));
        }
        keep(&layout, &board.all());
        assert_eq!(read(&layout).len(), 3);

        board.live("a");
        let run: Vec<ViewStatus> = board.all().into_iter().filter(|status| status.view != "c").collect();
        keep(&layout, &run);
        let kept = read(&layout);
        assert_eq!(kept.keys().collect::<Vec<_>>(), ["b", "c"], "a goes, and c was not part of the run");
        assert_eq!(kept["b"], "b is broken");

        fs::write(layout.failures(), "no JSON").unwrap();
        assert!(read(&layout).is_empty());
    }
}
