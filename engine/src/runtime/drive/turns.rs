//! Fair polling: of several entries that are ready, each has its turn.

use futures::future::{BoxFuture, select_all};

/// Waits until one of `entries` is ready, and returns its index and its result. Never returns if there are no entries. Polls the entry
/// after the last winner first, so that one that is always ready does not starve the others.
pub(super) async fn next_in_turn<'a, T, R>(
    entries: &'a mut [T],
    turn: &mut usize,
    next: impl Fn(&'a mut T) -> BoxFuture<'a, R>,
) -> (usize, R) {
    if entries.is_empty() {
        return std::future::pending().await;
    }
    let count = entries.len();
    let first = *turn % count;
    let (early, late) = entries.split_at_mut(first);
    let (given, index, _) = select_all(late.iter_mut().chain(early).map(next)).await;
    let index = (first + index) % count;
    *turn = index + 1;
    (index, given)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// Counts down when polled, and never completes at 0.
    fn next(left: &mut u32) -> BoxFuture<'_, ()> {
        async move {
            if *left == 0 {
                std::future::pending::<()>().await;
            }
            *left -= 1;
        }
        .boxed()
    }

    #[tokio::test]
    async fn a_busy_entry_does_not_starve_the_others() {
        let mut left: [u32; 4] = [100, 3, 0, 5];
        let mut turn = 0;
        let mut given = Vec::new();
        for _ in 0..12 {
            given.push(next_in_turn(&mut left, &mut turn, next).await.0);
        }
        assert_eq!(given, [0, 1, 3, 0, 1, 3, 0, 1, 3, 0, 3, 0]);
    }
}
