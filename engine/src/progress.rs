//! Shows how views catch up: bars with rate and time left on a terminal, log lines elsewhere. It reads only the board.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tokio_util::sync::CancellationToken;

use crate::status::{Board, Phase, ViewStatus};

/// How often bars are updated.
const BARS_EVERY: Duration = Duration::from_millis(200);
/// How often log lines are written.
const LINES_EVERY: Duration = Duration::from_secs(10);
/// The largest number of bars. If there are more views, the last bar stands for the rest.
const BARS: usize = 12;
const TEMPLATE: &str = "{msg:24} {wide_bar} {percent:>3}%  {human_pos} of {human_len}  {rate}  {eta} left";
/// For a source whose end is not known: the lines of a file are not counted beforehand.
const OPEN_TEMPLATE: &str = "{msg:24} {spinner} {human_pos} read  {rate}";

/// Shows progress.
#[derive(Debug, Clone)]
pub struct Progress {
    bars: MultiProgress,
    on_terminal: bool,
}

impl Progress {
    /// Shows bars on a terminal, log lines elsewhere.
    #[must_use]
    pub fn new(bars: MultiProgress, on_terminal: bool) -> Progress {
        Progress { bars, on_terminal }
    }

    /// Shows the progress on the board until `done` is cancelled.
    pub async fn follow(&self, board: Arc<Board>, done: CancellationToken) {
        if self.on_terminal {
            self.follow_with_bars(&board, &done).await;
        } else {
            follow_with_lines(&board, &done).await;
        }
    }

    async fn follow_with_bars(&self, board: &Board, done: &CancellationToken) {
        let (style, open_style) = (style(TEMPLATE), style(OPEN_TEMPLATE));
        let mut shown: BTreeMap<String, ProgressBar> = BTreeMap::new();
        loop {
            let wanted = rows(&board.all());
            shown.retain(|name, bar| {
                let keep = wanted.contains_key(name);
                if !keep {
                    bar.finish_and_clear();
                }
                keep
            });
            for (name, way) in wanted {
                let bar = shown.entry(name.clone()).or_insert_with(|| {
                    let bar = self.bars.add(ProgressBar::new(way.end).with_style(style.clone()).with_message(name));
                    // The events of an earlier run do not count for this run's rate.
                    bar.set_position(way.offset);
                    bar.reset_eta();
                    bar
                });
                bar.set_style(if way.end > way.offset { style.clone() } else { open_style.clone() });
                bar.set_length(way.end);
                bar.set_position(way.offset.min(way.end));
            }
            tokio::select! {
                () = done.cancelled() => break,
                () = tokio::time::sleep(BARS_EVERY) => {}
            }
        }
        for bar in shown.values() {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
        // A terminal that accepts no text cannot be helped.
        let _ = write!(text, "{}/s", HumanCount(state.per_sec() as u64));
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
        .with_key("rate", rate)
}

async fn follow_with_lines(board: &Board, done: &CancellationToken) {
    let mut before: BTreeMap<String, (Instant, u64)> = BTreeMap::new();
    loop {
        tokio::select! {
            () = done.cancelled() => return,
            () = tokio::time::sleep(LINES_EVERY) => {}
        }
        let now = Instant::now();
        for status in board.all() {
            let Some(way) = Way::of(&status) else {
                before.remove(&status.view);
                continue;
            };
            let rate = before.insert(status.view.clone(), (now, way.offset)).map(|(then, offset)| {
                way.offset.saturating_sub(offset) as f64 / now.duration_since(then).as_secs_f64().max(1e-3)
            });
            let left = rate.filter(|rate| *rate > 0.0).map(|rate| way.end.saturating_sub(way.offset) as f64 / rate);
            tracing::info!(
                view = status.view,
                offset = way.offset,
                end = way.end,
                events_per_second = rate.map(|rate| rate.round() as u64),
                seconds_left = left.map(|left| left.ceil() as u64),
                "{}",
                if status.phase == Phase::Rebuilding { "rebuilding" } else { "catching up" }
            );
        }
    }
}

/// A view's progress, summed over its sources.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Way {
    offset: u64,
    end: u64,
}

impl Way {
    /// Returns the progress of a view, or `None` if it is not catching up.
    fn of(status: &ViewStatus) -> Option<Way> {
        let sources = match status.phase {
            Phase::CatchingUp => &status.sources,
            Phase::Rebuilding => &status.rebuild,
            _ => return None,
        };
        let (offset, end) = sources.values().fold((0, 0), |(offset, end), place| {
            // An offset is the next sequence, so the number of events read is one less.
            let applied = place.applied.max(place.offset);
            (offset + applied.saturating_sub(1), end + place.end.max(applied).saturating_sub(1))
        });
        Some(Way { offset, end })
    }
}

/// Returns the bars to show, by name: one for each view that is behind. If there are too many, the last one stands for the rest.
fn rows(views: &[ViewStatus]) -> BTreeMap<String, Way> {
    let behind: Vec<(String, Way)> = views.iter().filter_map(|status| Some((status.view.clone(), Way::of(status)?))).collect();
    if behind.len() <= BARS {
        return behind.into_iter().collect();
    }
    let (own, rest) = behind.split_at(BARS - 1);
    let sum = rest.iter().fold(Way::default(), |sum, (_, way)| Way { offset: sum.offset + way.offset, end: sum.end + way.end });
    // Sorts behind every name.
    let name = format!("~ {} more", rest.len());
    own.iter().cloned().chain(std::iter::once((name, sum))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(count: usize, phase: Phase) -> Vec<ViewStatus> {
        let board = Board::default();
        for index in 0..count {
            let view = format!("v{index:02}");
            board.applied(&view, "orders", 11, Some(101));
            if phase == Phase::Live {
                board.live(&view);
            }
        }
        board.all()
    }

    #[test]
    fn only_views_that_are_behind_have_a_bar() {
        assert!(rows(&board(3, Phase::Live)).is_empty());
        let shown = rows(&board(3, Phase::CatchingUp));
        assert_eq!(shown.get("v01"), Some(&Way { offset: 10, end: 100 }));
    }

    #[test]
    fn many_views_share_the_last_bar() {
        let shown = rows(&board(50, Phase::CatchingUp));
        assert_eq!(shown.len(), BARS);
        let (name, way) = shown.last_key_value().unwrap_or_else(|| unreachable!());
        assert_eq!((name.as_str(), *way), ("~ 39 more", Way { offset: 390, end: 3900 }));
    }
}
