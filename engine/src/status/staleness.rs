//! How far a view may be behind its sources in time.

use super::SourceStatus;

/// Returns an upper bound on the age, in seconds, of the oldest event of a source that a view has not committed: 0 if there is none,
/// `None` if the source does not say when its events were stored.
///
/// An uncommitted event was stored after the last committed one, and after the last moment without uncommitted events.
pub(super) fn staleness(place: &SourceStatus, now_ns: i64) -> Option<f64> {
    if place.end <= place.offset {
        return Some(0.0);
    }
    let since = place.newest_ns.max(place.current_ns)?;
    Some(now_ns.saturating_sub(since).max(0) as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn staleness_is_zero_at_the_end_and_unknown_without_times() {
        let place = |offset, end, newest_ns, current_ns| SourceStatus {
            offset,
            applied: offset,
            end,
            newest_ns,
            current_ns,
            ..SourceStatus::default()
        };
        let now = 5_000_000_000;
        assert_eq!(staleness(&place(10, 10, None, None), now), Some(0.0));
        assert_eq!(staleness(&place(9, 10, Some(2_000_000_000), None), now), Some(3.0));
        assert_eq!(
            staleness(&place(9, 10, Some(2_000_000_000), Some(4_000_000_000)), now),
            Some(1.0),
            "the last one was long ago"
        );
        assert_eq!(staleness(&place(9, 10, None, None), now), None);
    }
}
