//! The lock of the data folder, which lets one process at a time write there. The lock file names that process and the address of its
//! HTTP server. Readers of views take no lock.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use alluvium_connectors::durable;

use crate::error::{Error, Kind};
use crate::layout::{Layout, RunInfo};

/// How often, and how far apart, to try for a lock. A command that checks whether an engine runs holds the lock for an instant, and a
/// process that has just locked the file may not have written it yet.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// Holds the lock. Dropping it empties the file and releases the lock. If the process dies, the system releases the lock.
#[derive(Debug)]
pub struct Guard {
    file: File,
    layout: Layout,
}

impl Guard {
    /// Writes into the file which process holds the lock and where its HTTP server listens.
    ///
    /// # Errors
    /// The disk fails.
    pub fn announce(&mut self, http: Option<SocketAddr>) -> Result<(), Error> {
        let info = RunInfo { pid: std::process::id(), http: http.map(|address| reachable(address).to_string()) };
        let text = serde_json::to_vec(&info).map_err(|error| Error::bug(format!("writing the lock: {error}")))?;
        self.replace(&text).map_err(|error| Error::io("writing", self.layout.lock(), error))
    }

    fn replace(&mut self, text: &[u8]) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // If this fails, the old text does no harm: it counts only while the lock is held.
        if let Err(error) = self.replace(b"") {
            tracing::debug!(%error, "emptying the lock's file");
        }
    }
}

/// Takes the lock of the data folder, and creates the folder if it is missing.
///
/// # Errors
/// [`Kind::Unavailable`] if another process holds the lock, with its process id.
pub fn lock(layout: &Layout, http: Option<SocketAddr>) -> Result<Guard, Error> {
    durable::create_folder(layout.root())?;
    let path = layout.lock();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| Error::io("opening", &path, error))?;
    for _ in 0..TRIES {
        match file.try_lock() {
            Ok(()) => {
                let mut guard = Guard { file, layout: layout.clone() };
                guard.announce(http)?;
                return Ok(guard);
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(Error::io("locking", &path, error)),
        }
    }
    Err(held(layout))
}

/// Returns the engine that runs on this data folder, if there is one.
///
/// # Errors
/// The disk fails.
pub fn running(layout: &Layout) -> Result<Option<RunInfo>, Error> {
    let path = layout.lock();
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("opening", &path, error)),
    };
    for _ in 0..TRIES {
        match file.try_lock_shared() {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(Error::io("locking", &path, error)),
        }
        let mut text = String::new();
        let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut text));
        read.map_err(|error| Error::io("reading", &path, error))?;
        if let Ok(info) = serde_json::from_str(&text) {
            return Ok(Some(info));
        }
        std::thread::sleep(PAUSE);
    }
    Err(Error::unavailable(format!("another process holds {} and does not say which", path.display()), "try again in a moment"))
}

fn held(layout: &Layout) -> Error {
    let data = layout.root().display();
    let (who, help) = match running(layout) {
        Ok(Some(info)) => (
            format!("process {}", info.pid),
            format!(
                "`alluvium status` and `alluvium query` work beside it; stop it with `kill {}` (it commits and ends), or choose another data \
                 folder with --data",
                info.pid
            ),
        ),
        _ => (
            "another process".to_owned(),
            "wait until it has ended, or choose another data folder for this process with --data".to_owned(),
        ),
    };
    Error::Other { kind: Kind::Unavailable, message: format!("{who} already works on the data folder {data}"), help: Some(help) }
}

/// Returns the address at which a client on this machine reaches a server that listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_says_who_holds_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("data"));
        assert!(running(&layout).unwrap().is_none());
        let mut guard = lock(&layout, None).unwrap();
        guard.announce(Some("0.0.0.0:9464".parse().unwrap())).unwrap();

        let info = running(&layout).unwrap().expect("an engine runs");
        assert_eq!((info.pid, info.http.as_deref()), (std::process::id(), Some("127.0.0.1:9464")));
        let error = lock(&layout, None).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.help().is_some_and(|help| help.contains("kill")), "{error:?}");

        drop(guard);
        assert!(running(&layout).unwrap().is_none());
        lock(&layout, None).unwrap();
    }

    #[test]
    fn what_a_dead_process_left_in_the_file_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        std::fs::write(layout.lock(), r#"{"pid":1,"http":null}"#).unwrap();
        assert!(running(&layout).unwrap().is_none());
        lock(&layout, None).unwrap();
    }
}
