//! Runs independent jobs that wait for the disk on more threads than there are cores. The threads end with the call.

use std::sync::Mutex;
use std::thread;

use crate::Error;

/// Runs `work` on each job with at most `threads` threads. The results are in no particular order. After the first error no new job
/// starts, and the error is returned.
pub(super) fn run<J: Send, R: Send>(
    jobs: Vec<J>,
    threads: usize,
    work: impl Fn(J) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let threads = threads.min(jobs.len());
    if threads <= 1 {
        return jobs.into_iter().map(work).collect();
    }
    let queue = Mutex::new(jobs.into_iter());
    let next = || queue.lock().ok().and_then(|mut jobs| jobs.next());
    let worker = || {
        let mut results = Vec::new();
        while let Some(job) = next() {
            match work(job) {
                Ok(result) => results.push(result),
                Err(error) => {
                    // Empties the queue, so that the other threads stop.
                    if let Ok(mut jobs) = queue.lock() {
                        jobs.by_ref().for_each(drop);
                    }
                    return Err(error);
                }
            }
        }
        Ok(results)
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = worker();
        for other in others {
            let results = other.join().unwrap_or_else(|_| Err(Error::Bug("a thread that writes parts panicked".to_owned())));
            match (&mut all, results) {
                (Ok(all), Ok(results)) => all.extend(results),
                (Ok(_), Err(error)) => all = Err(error),
                (Err(_), _) => {}
            }
        }
        all
    })
}
