//! A nats-server that `alluvium demo` and `alluvium dev` start where one is installed: on loopback, with JetStream.
//!
//! A shell stands between us and the server. It ends the server when its standard input closes, so that the server ends with this process even
//! if this process is killed. It has a process group of its own, so that Ctrl-C in a terminal reaches only us: views commit before the server
//! ends.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Starts the server, which logs to the file that is the first argument, says its process id, waits until our end of the pipe is closed, and
/// ends the server.
const SHELL: &str =
    r#"log=$1; shift; "$@" </dev/null >"$log" 2>&1 & server=$!; echo $server; read -r _; kill $server; wait $server"#;
/// What the server logs once it listens.
const READY: &str = "Server is ready";
/// How long the server may take until it listens.
const START: Duration = Duration::from_secs(15);
/// How long it may take to end.
const END: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(10);
/// A server on this machine answers within this time.
const ANSWER: Duration = Duration::from_millis(500);

/// A server that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct NatsServer {
    shell: Child,
    process: String,
    port: u16,
}

/// Finds nats-server on the PATH.
#[must_use]
pub(crate) fn on_path() -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join("nats-server")).find(|path| path.is_file())
}

/// Returns this port of loopback if it is free, or else one that is.
///
/// # Errors
/// No port is free.
pub(crate) fn free_port(wanted: u16) -> Result<u16, Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let address = bound.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|error| Error::unavailable(format!("no port of 127.0.0.1 is free: {error}"), "end programs that listen there"))
}

/// The folder with the streams of the server on a port, in that of a project.
pub(crate) fn store(dir: &Path, port: u16) -> PathBuf {
    dir.join(".nats").join(port.to_string())
}

/// Whether something listens on a port of loopback.
#[must_use]
pub(crate) fn answers(port: u16) -> bool {
    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER).is_ok()
}

impl NatsServer {
    /// Starts a server on a port of 127.0.0.1, with its streams in `folder`, and waits until it listens. It logs to `nats-server.log` there.
    ///
    /// # Errors
    /// It does not start, with what it logged.
    pub(crate) fn start(program: &Path, port: u16, folder: &Path) -> Result<NatsServer, Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io("creating", folder, error))?;
        let log = folder.join("nats-server.log");
        // That of a run before would speak for this one.
        alluvium_connectors::durable::remove_file(&log)?;
        let wrong = |error: std::io::Error| {
            Error::unavailable(format!("starting {}: {error}", program.display()), "see whether nats-server on your PATH runs")
        };
        let mut command = Command::new("sh");
        command.args(["-c", SHELL, "sh"]).arg(&log).arg(program).args(["--jetstream", "--addr", "127.0.0.1", "--port"]);
        command.arg(port.to_string()).arg("--store_dir").arg(folder);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = pipes.process_group(0).spawn().map_err(wrong)?;
        let mut process = String::new();
        if let Some(output) = shell.stdout.take() {
            BufReader::new(output).read_line(&mut process).map_err(wrong)?;
        }
        let server = NatsServer { shell, process: process.trim().to_owned(), port };
        let began = Instant::now();
        loop {
            let has_ended = server.has_ended();
            let logged = std::fs::read_to_string(&log).unwrap_or_default();
            // Another program may listen on the port, and have taken it from ours.
            if logged.contains(READY) && answers(port) {
                return Ok(server);
            }
            if has_ended || began.elapsed() > START {
                let last = logged.lines().last().unwrap_or("it logged nothing");
                return Err(Error::unavailable(
                    format!("{} does not listen on 127.0.0.1:{port}: {last}", program.display()),
                    "see whether it runs on its own, with --jetstream",
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Whether its process has ended, as far as the system tells: the shell takes note of it only at the end.
    fn has_ended(&self) -> bool {
        let state = std::fs::read_to_string(Path::new("/proc").join(&self.process).join("stat"));
        state.is_ok_and(|state| state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
    }

    /// The id of its process.
    #[must_use]
    pub(crate) fn process(&self) -> &str {
        &self.process
    }

    /// Its address, `nats://127.0.0.1:port`.
    #[must_use]
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let began = Instant::now();
        while matches!(self.shell.try_wait(), Ok(None)) {
            if began.elapsed() > END {
                tracing::warn!(process = self.process, "nats-server does not end");
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A program in place of nats-server that says where it was started, and goes on until it is ended.
    fn stand_in(folder: &Path) -> PathBuf {
        let path = folder.join("stand-in");
        let listen = "import signal,socket,sys; s=socket.create_server(('127.0.0.1', int(sys.argv[sys.argv.index('--port')+1]))); print('Server is ready', flush=True); signal.pause()";
        std::fs::write(&path, format!("#!/bin/sh\nexec python3 -c \"{listen}\" \"$@\"\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_server_ends_with_what_started_it() {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port(0).unwrap();
        let server = NatsServer::start(&stand_in(folder.path()), port, &folder.path().join("store")).unwrap();
        let process = server.process().to_owned();
        assert!(answers(port) && Path::new("/proc").join(&process).exists());
        drop(server);
        assert!(!answers(port) && !Path::new("/proc").join(&process).exists());
    }

    #[test]
    fn a_program_that_does_not_run_is_told_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken");
        std::fs::write(&path, "#!/bin/sh\necho no such flag >&2\nexit 1\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Nobody else gets the port meanwhile, and it gives no answer.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let error = NatsServer::start(&path, port.local_addr().unwrap().port(), &folder.path().join("store")).unwrap_err();
        assert!(error.to_string().ends_with(": no such flag"), "{error}");
    }

    #[test]
    fn a_port_that_is_taken_is_not_returned() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free_port(port).unwrap(), port);
    }
}
