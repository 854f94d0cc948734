//! Reports a driver's progress to the board and the metrics.

use super::{Driver, Role};
use crate::metrics;
use crate::status::{Board, Committed};

impl Driver {
    fn each_view(&self, tell: impl Fn(&Board, &str)) {
        for view in self.pipeline.views() {
            tell(self.pipeline.shared().board(), view);
        }
    }

    fn serves(&self) -> bool {
        matches!(self.role, Role::Main)
    }

    pub(super) fn show_catching_up(&self) {
        if self.serves() {
            self.each_view(Board::catching_up);
        }
    }

    pub(super) fn show_live(&self) {
        self.each_view(Board::live);
    }

    pub(super) fn show_retrying(&self, reason: &str) {
        if self.serves() {
            self.each_view(|board, view| board.retrying(view, reason));
        } else {
            self.each_view(|board, view| board.rebuild_retrying(view, reason));
        }
    }

    pub(super) fn show_applied(&self, source: &str, offset: u64, end: Option<u64>) {
        if self.serves() {
            self.each_view(|board, view| board.applied(view, source, offset, end));
        } else {
            self.each_view(|board, view| board.rebuild_applied(view, source, offset, end));
        }
    }

    /// Shows that everything before `end` is applied and that the source has nothing after it at present.
    pub(super) fn show_at_end(&self, source: &str, end: u64) {
        if self.serves() {
            self.each_view(|board, view| board.at_end(view, source, end));
        } else {
            self.each_view(|board, view| board.rebuild_applied(view, source, end, Some(end)));
        }
    }

    pub(super) fn show_committed(&self, committed: &Committed) {
        for view in committed.views.iter().filter(|view| view.left_out.rows > 0) {
            let (name, rows) = (&view.view, view.left_out.rows);
            let error = view.left_out.first_error.as_deref().unwrap_or_default();
            tracing::warn!(view = name, rows, error, "an expression fails on rows, which are left out");
        }
        self.pipeline.shared().board().committed(committed);
        metrics::committed(committed);
    }
}
