//! The paths of the data folder. Each is defined here and nowhere else.

use std::path::{Path, PathBuf};

/// What the names of folders with hard links begin with.
const HELD: &str = ".held-";

/// The paths below a data folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the data folder `root`.
    pub fn new(root: impl Into<PathBuf>) -> Layout {
        Layout { root: root.into() }
    }

    /// The data folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// sled's folder.
    #[must_use]
    pub fn checkpoints(&self) -> PathBuf {
        self.root.join("checkpoints")
    }

    /// The lock file. A running engine keeps it locked, and writes its [`RunInfo`] into it as JSON.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("run.lock")
    }

    /// The folder with the operator state of one incarnation of a view.
    #[must_use]
    pub fn state(&self, view: &str, incarnation: &str) -> PathBuf {
        self.root.join("state").join(view).join(incarnation)
    }

    /// The folder with all operator state of a view.
    #[must_use]
    pub fn states(&self, view: &str) -> PathBuf {
        self.root.join("state").join(view)
    }

    /// The folder of a view's Parquet files.
    #[must_use]
    pub fn view(&self, view: &str) -> PathBuf {
        self.root.join("views").join(view)
    }

    /// The folder of all views.
    #[must_use]
    pub fn views(&self) -> PathBuf {
        self.root.join("views")
    }

    /// The JSON twin of a view's checkpoint record.
    #[must_use]
    pub fn record(&self, view: &str) -> PathBuf {
        self.view(view).join("checkpoint.json")
    }

    /// The file with the errors that stopped views in the last run.
    #[must_use]
    pub fn failures(&self) -> PathBuf {
        self.root.join("failures.json")
    }

    /// Where a process holds files of commits by hard links; removed with what it does.
    #[must_use]
    pub fn held(&self, process: u32, unique: &str) -> PathBuf {
        self.root.join(format!("{HELD}{process}-{unique}"))
    }

    /// Every such folder that is there, with its process.
    #[must_use]
    pub fn all_held(&self) -> Vec<(PathBuf, u32)> {
        let names = std::fs::read_dir(&self.root).into_iter().flatten().flatten();
        let process = |path: &Path| path.file_name()?.to_str()?.strip_prefix(HELD)?.split('-').next()?.parse().ok();
        names.filter_map(|entry| process(&entry.path()).map(|process| (entry.path(), process))).collect()
    }

    /// The folder of dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> PathBuf {
        self.root.join("dead_letters")
    }
}

/// What the lock file says about the process that holds it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RunInfo {
    /// Its process id.
    pub pid: u32,
    /// The address of its HTTP server, such as `127.0.0.1:9464`; `None` if that is off.
    pub http: Option<String>,
}
