//! Waits for sled to write what it holds, and not for ever where the disk refuses.
//!
//! sled writes a batch in several buffers, on threads of its own. Where the disk refuses the first of them, sled notes the error and does not wake
//! those that wait for that buffer (sled 0.34.7, `pagecache/logger.rs`, `exit_reservation`). It wakes them when the next call meets the error. So one
//! thread waits here, and another makes that call.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use super::value::with_checksum;

/// Written where a flush takes long. Nobody reads it.
const PROBE: &str = "probe";

/// How long a flush takes before the database is probed, and again after each probe.
const PATIENCE: Duration = Duration::from_secs(1);

/// Does what [`sled::Db::flush`] does.
///
/// # Errors
/// The first write that the disk has refused since the database was opened.
pub(super) fn flush(db: &sled::Db) -> sled::Result<()> {
    thread::scope(|scope| {
        let (flushed, end) = sync_channel(1);
        let wait = move || {
            // The other end waits until this one ends.
            let _ = flushed.send(db.flush());
        };
        let Ok(waiting) = thread::Builder::new().name("flush".to_owned()).spawn_scoped(scope, wait) else {
            // No thread is to be had: this one waits, and nobody probes.
            return db.flush().map(drop);
        };
        loop {
            match end.recv_timeout(PATIENCE) {
                Ok(result) => return result.map(drop),
                // The error is the flush's to return.
                Err(RecvTimeoutError::Timeout) => drop(db.insert(PROBE, with_checksum(b"null"))),
                Err(RecvTimeoutError::Disconnected) => {
                    // Joined here, a panic is this error and no other one.
                    let _ = waiting.join();
                    return Err(sled::Error::ReportableBug("a thread that flushes has panicked".to_owned()));
                }
            }
        }
    })
}
