//! A PostgreSQL server of its own: a new cluster in a temporary folder, on a Unix socket there. Ends with the value.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The user `nobody`: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

pub struct Server {
    programs: PathBuf,
    folder: TempDir,
}

impl Server {
    pub fn start(programs: &Path) -> Server {
        let folder = tempfile::Builder::new().prefix("postgres").tempdir_in("/tmp").unwrap();
        if is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let server = Server { programs: programs.to_owned(), folder };
        let cluster = server.cluster();
        server.run("initdb", &["-D", &cluster, "-U", "judge", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let socket = server.folder.path().display().to_string();
        let options = format!("-k {socket} -c listen_addresses= -c fsync=off -c timezone=UTC");
        server.run("pg_ctl", &["-D", &cluster, "-o", &options, "-l", &format!("{socket}/log"), "-w", "start"]);
        server
    }

    fn cluster(&self) -> String {
        self.folder.path().join("cluster").display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.folder.path()).env_remove("PGOPTIONS");
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        // What the server inherits of a pipe would keep the pipe open.
        let status = self.command(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = status.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(status.success(), "{program} {arguments:?}: {status}");
    }

    /// Runs statements in a session. Returns what the last one, a COPY to STDOUT, gives. None if it fails; the others may.
    pub fn copy(&self, script: &str) -> Option<String> {
        let (before, last) = script.rsplit_once("COPY (").unwrap();
        let script = format!("SET client_min_messages = error;\n{before}\\set ON_ERROR_STOP on\nCOPY ({last}");
        let socket = self.folder.path().display().to_string();
        let mut child = self
            .command("psql")
            .args(["-h", &socket, "-U", "judge", "-d", "postgres", "-X", "-q", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let Output { status, stdout, .. } = child.wait_with_output().unwrap();
        status.success().then(|| String::from_utf8(stdout).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let cluster = self.cluster();
        let stopped = self.command("pg_ctl").args(["-D", &cluster, "-m", "immediate", "-w", "stop"]).output();
        if !stopped.is_ok_and(|output| output.status.success()) {
            eprintln!("PostgreSQL in {cluster} did not stop");
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
