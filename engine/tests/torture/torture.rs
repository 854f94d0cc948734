//! The parts that the driver acts on: server, proxy, publishers, engine, disk and SQL files; and what it knows of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::orders::{Orders, Running};
use crate::proxy::Proxy;
use crate::publishers::Publishers;
use crate::views::{self, View};

/// How long a command may take before it counts as hanging.
const COMMAND_LIMIT: Duration = Duration::from_secs(600);

/// Faults of this round that a fence may name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Expected {
    /// The server has lost the end of the stream.
    pub(crate) lost_tail: bool,
    /// Events were purged that no view had committed yet.
    pub(crate) purged_unread: bool,
    /// The view of which a file was damaged or deleted; an empty name for the database.
    pub(crate) damaged: Option<String>,
    /// The disk was full, so that the engine may not have started.
    pub(crate) full: bool,
    /// The engine runs with a failpoint.
    pub(crate) failpoint: bool,
    /// SQL files were written that the engine has not read.
    pub(crate) edited: bool,
}

pub(crate) struct Torture {
    // In the order in which they go.
    pub(crate) engine: Option<Running>,
    pub(crate) publishers: Publishers,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) orders: Orders,
    pub(crate) proxy: Proxy,
    pub(crate) views: Vec<View>,
    pub(crate) ledger: Ledger,
    pub(crate) expected: Expected,
    /// The sequence at which each view began to read a source, as last compared.
    pub(crate) began: BTreeMap<(String, String), u64>,
    /// Views that may have begun anew from what is left of the stream.
    pub(crate) may_begin_anew: BTreeSet<String>,
    /// By view: events on which a failpoint may have panicked.
    pub(crate) armed: BTreeMap<String, BTreeSet<u64>>,
    /// A copy of the server's store, and a sequence that it surely contains.
    pub(crate) remembered: Option<(PathBuf, u64)>,
    pub(crate) counts: BTreeMap<String, u64>,
    http: String,
}

impl Torture {
    pub(crate) fn new(seed: u64) -> Torture {
        let mut orders = Orders::on("max_payload: 8388608", &[]);
        orders.folder.disable_cleanup(true);
        orders.rng = fastrand::Rng::with_seed(seed);
        let proxy = Proxy::start(orders.server.port());
        std::fs::write(orders.dir().join("sources.sql"), views::SOURCES.replace("$URL", &proxy.url())).unwrap();
        let disk = Disk::mount(orders.dir().join("data"));
        let clock = Clock::new(orders.dir());
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let publishers = Publishers::start(&orders.server.url(), seed);
        let torture = Torture {
            engine: None,
            publishers,
            disk,
            clock,
            orders,
            proxy,
            views: views::all(),
            ledger: Ledger::default(),
            expected: Expected::default(),
            began: BTreeMap::new(),
            may_begin_anew: BTreeSet::new(),
            armed: BTreeMap::new(),
            remembered: None,
            counts: BTreeMap::new(),
            http: format!("127.0.0.1:{port}"),
        };
        for index in 0..torture.views.len() {
            torture.write_view(index);
        }
        torture
    }

    pub(crate) fn count(&mut self, what: &str) {
        *self.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// Writes a line to the log of the run, among those of the engine.
    pub(crate) fn note(&self, text: &str) {
        use std::io::Write as _;
        let log = std::fs::File::options().create(true).append(true).open(self.orders.dir().join("run.log"));
        let _ = writeln!(log.unwrap(), "==== {text}");
    }

    /// Waits a random time.
    pub(crate) fn pause(&mut self, most_ms: u64) {
        std::thread::sleep(Duration::from_millis(self.orders.rng.u64(..most_ms)));
    }

    /// Writes or removes the SQL file of a view.
    pub(crate) fn write_view(&self, index: usize) {
        let view = &self.views[index];
        let path = self.orders.dir().join(format!("{}.sql", view.name));
        match view.variant {
            Some(variant) => std::fs::write(path, view.file(variant)).unwrap(),
            None => drop(std::fs::remove_file(path)),
        }
    }

    pub(crate) fn start_engine(&mut self, failpoint: Option<&str>) {
        assert!(self.engine.is_none(), "the engine runs");
        let program = self.orders.alluvium(&["run", "--http", &self.http]);
        let mut command = match self.disk.is_mounted() {
            true => program,
            // With the signal ignored, a write beyond the limit fails with an error.
            false => {
                let mut command = Command::new("sh");
                command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program.get_program()).args(program.get_args());
                command.env_clear().stdin(std::process::Stdio::null());
                command
            }
        };
        self.clock.lend(&mut command);
        command.env("ALLUVIUM_COMMIT_INTERVAL", "100ms").env("ALLUVIUM_SNAPSHOTS_MIN_AGE", "120s");
        if let Some(failpoint) = failpoint {
            command.env("ALLUVIUM_FAILPOINT", failpoint);
        }
        self.note(&format!("start {}", failpoint.unwrap_or_default()));
        self.engine = Some(Running(self.orders.logging(&mut command).spawn().unwrap()));
        self.expected.edited = false;
        self.expected.failpoint = failpoint.is_some();
    }

    /// Whether the engine runs. It may have ended by itself only where the round explains that.
    pub(crate) fn is_running(&mut self) -> bool {
        let Some(engine) = &mut self.engine else { return false };
        let Some(status) = engine.0.try_wait().unwrap() else { return true };
        let Expected { lost_tail, purged_unread, ref damaged, full, failpoint, .. } = self.expected;
        // A run ends when all of its views have failed.
        let failed = status.code() == Some(1) && (lost_tail || purged_unread || damaged.is_some() || full);
        assert!(failed || failpoint, "the engine has ended by itself: {status}");
        false
    }

    pub(crate) fn kill_engine(&mut self) {
        self.is_running();
        self.note("kill -9");
        if let Some(mut engine) = self.engine.take() {
            engine.kill();
        }
    }

    /// Ends the engine by SIGTERM.
    pub(crate) fn end_engine(&mut self) {
        self.is_running();
        self.note("SIGTERM");
        let Some(mut engine) = self.engine.take() else { return };
        let _ = kill_process(Pid::from_child(&engine.0), Signal::TERM);
        let began = Instant::now();
        while engine.0.try_wait().unwrap().is_none() {
            assert!(began.elapsed() < Duration::from_secs(120), "the engine does not end after SIGTERM");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal to the engine, if it runs.
    pub(crate) fn signal_engine(&self, signal: Signal) {
        if let Some(engine) = &self.engine {
            let _ = kill_process(Pid::from_child(&engine.0), signal);
        }
    }

    pub(crate) fn signal_server(&self, signal: Signal) {
        let pid = self.orders.server.pid().and_then(|pid| Pid::from_raw(pid as i32)).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Runs a command of the program. Fails if it hangs or reports a fault of its own.
    pub(crate) fn ask(&mut self, arguments: &[&str]) -> (Option<i32>, String) {
        self.note(&arguments.join(" "));
        // Into a file: a full pipe would hold it up.
        let path = self.orders.dir().join("said");
        let file = std::fs::File::create(&path).unwrap();
        let mut command = self.orders.alluvium(arguments);
        let mut child = Running(command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap());
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.0.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < COMMAND_LIMIT, "alluvium {} hangs", arguments.join(" "));
            std::thread::sleep(Duration::from_millis(10));
        };
        let said = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        self.note(&format!("{:?}: {said}", status.code()));
        let is_bug = status.code().is_none() || said.contains("internal error") || said.contains("panicked");
        assert!(!is_bug, "alluvium {}: {status}: {said}", arguments.join(" "));
        (status.code(), said)
    }

    /// Asks the engine for the status of all views; `None` while it does not answer.
    pub(crate) fn status(&self) -> Option<Vec<Value>> {
        let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build();
        let agent: ureq::Agent = config.into();
        let mut response = agent.get(format!("http://{}/status", self.http)).call().ok()?;
        serde_json::from_str(&response.body_mut().read_to_string().ok()?).ok()
    }

    /// Waits until the engine takes commands: one that it does not get is carried out beside it, and takes its lock.
    pub(crate) fn wait_until_served(&mut self) {
        let began = Instant::now();
        while self.is_running() && self.status().is_none() {
            assert!(began.elapsed() < COMMAND_LIMIT, "the engine does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether each view is live now.
    pub(crate) fn is_quiet(&self) -> bool {
        let is_live = |status: &[Value], name: &str| status.iter().any(|view| view["view"] == name && view["phase"] == "live");
        self.status().is_some_and(|status| self.declared().iter().all(|name| is_live(&status, name)))
    }

    /// Returns the last commit of a view that readers see, and its record.
    pub(crate) fn committed(&self, view: &str) -> Option<(Value, Value)> {
        let manifest = std::fs::read(self.orders.view(view).join("manifest.json")).ok()?;
        Some((serde_json::from_slice(&manifest).ok()?, serde_json::to_value(self.orders.record(view)?).ok()?))
    }

    /// The names of the views that have a SQL file.
    pub(crate) fn declared(&self) -> Vec<&'static str> {
        self.views.iter().filter(|view| view.variant.is_some()).map(|view| view.name).collect()
    }

    /// What the files of a round are kept for: removes them if all went well.
    pub(crate) fn finish(mut self) {
        self.kill_engine();
        self.orders.folder.disable_cleanup(false);
    }
}
