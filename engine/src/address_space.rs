//! The limit on the address space of the process (`ulimit -v`, `LimitAS` of systemd). An allocation beyond it ends the process, whatever it is
//! for, so a limit that leaves too little is refused at the start. Linux only.

use std::path::Path;

use crate::error::Error;

/// The least address space to run in, in bytes: the program itself, its threads' stacks and what the allocator sets aside take about a half.
const LEAST: u64 = 2 * 1024 * 1024 * 1024;

/// The limit in bytes. `None` without one, or where the system does not say.
pub(crate) fn limit(root: &Path) -> Option<u64> {
    let limits = std::fs::read_to_string(root.join("proc/self/limits")).ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max address space"))?.split_whitespace().next()?.parse().ok()
}

/// The bytes of a limit that events and views can take, beside what the program takes without them.
pub(crate) fn for_views(limit: u64) -> u64 {
    limit.saturating_sub(LEAST / 2)
}

/// Refuses to run in too little address space.
///
/// # Errors
/// A configuration error below the least that is needed.
pub(crate) fn check(root: &Path) -> Result<(), Error> {
    match limit(root) {
        Some(limit) if limit < LEAST => Err(Error::config(
            format!("the address space of this process is limited to {} MiB, and it needs {} MiB", limit >> 20, LEAST >> 20),
            "raise the limit (`ulimit -v unlimited`, or `LimitAS=infinity` in a systemd unit), and bound memory by `memory_limit` or a cgroup \
             instead: an allocation beyond a limit on address space would end the process",
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_leaves_too_little_is_refused() {
        let root = tempfile::tempdir().unwrap();
        assert!(check(root.path()).is_ok(), "a system that does not say");
        std::fs::create_dir_all(root.path().join("proc/self")).unwrap();
        let set = |text: &str| {
            let text = format!("Limit   Soft Limit   Hard Limit   Units\nMax address space   {text}   unlimited   bytes\n");
            std::fs::write(root.path().join("proc/self/limits"), text).unwrap();
        };
        set("unlimited");
        assert!(check(root.path()).is_ok());
        set("4294967296");
        assert!(check(root.path()).is_ok());
        assert_eq!(limit(root.path()).map(for_views), Some(3 << 30));
        set("1073741824");
        let error = check(root.path()).unwrap_err().to_string();
        assert_eq!(error, "the address space of this process is limited to 1024 MiB, and it needs 2048 MiB");
    }
}
