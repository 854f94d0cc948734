//! The paths of the data folder: each stands here and nowhere else.

use std::path::{Path, PathBuf};

/// Where everything lies below the data folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// Of the data folder `root`.
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

    /// Held locked by the one `alluvium run`; its text says which process that is and where its HTTP server listens ([`RunInfo`] as JSON).
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.root.join("run.lock")
    }

    /// Operator state of one incarnation of a view.
    #[must_use]
    pub fn state(&self, view: &str, incarnation: &str) -> PathBuf {
        self.root.join("state").join(view).join(incarnation)
    }

    /// All operator state of a view.
    #[must_use]
    pub fn states(&self, view: &str) -> PathBuf {
        self.root.join("state").join(view)
    }

    /// A view's Parquet files.
    #[must_use]
    pub fn view(&self, view: &str) -> PathBuf {
        self.root.join("views").join(view)
    }

    /// All views.
    #[must_use]
    pub fn views(&self) -> PathBuf {
        self.root.join("views")
    }

    /// The JSON twin of a view's checkpoint record.
    #[must_use]
    pub fn record(&self, view: &str) -> PathBuf {
        self.view(view).join("checkpoint.json")
    }

    /// What stopped the views that failed in the last run.
    #[must_use]
    pub fn failures(&self) -> PathBuf {
        self.root.join("failures.json")
    }

    /// Dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> PathBuf {
        self.root.join("dead_letters")
    }
}

/// What the lock file says of the process that holds it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct RunInfo {
    /// Its process id.
    pub pid: u32,
    /// `127.0.0.1:9464`; none where the HTTP server is off.
    pub http: Option<String>,
}
