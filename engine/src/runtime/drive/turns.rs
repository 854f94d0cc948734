//! Who is asked first: among several that have something to give, each in its turn.

use futures::future::{BoxFuture, select_all};

/// What the first of `entries` gives that has something, and its index; never returns where there is none. The one after the last
/// that gave is asked first, so that one that always has something does not starve the others.
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

    /// Counts down when it is asked, and waits for ever at 0.
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
