//! Checks a data folder: every file that a record names against its checksum, the records against each other and against the files. Says what
//! would be done about each fault, and does it where it is told to.
//!
//! It mends what another copy says (a record, a manifest, links), and has a view rebuilt whose rows or state are damaged. It never guesses.

mod examine;
mod repair;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

pub use examine::examine;
pub use repair::mend;

use crate::record::Record;

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// The last record of each view.
    pub records: BTreeMap<String, Record>,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is wrong.
    pub faults: Vec<Fault>,
    /// Files among them that an earlier release wrote without a checksum: they were read, not compared.
    pub without_checksum: u64,
    /// Files and folders that nothing names any more, as a crash leaves them: the next start removes them.
    pub unnamed: u64,
}

impl Report {
    /// The faults that a repair would have mended at once. Damaged rows and state stay until the next run has replaced them.
    pub fn unmended(&self) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(|fault| !matches!(fault.remedy, Remedy::Rebuild(_)))
    }

    /// Replaces rebuilds of views that no SQL file declares: no run would do them.
    pub fn take_declared(&mut self, declared: &BTreeSet<String>) {
        for fault in &mut self.faults {
            if let Remedy::Rebuild(view) = &fault.remedy
                && !declared.contains(view)
            {
                fault.remedy = Remedy::Leave(view.clone());
            }
        }
    }
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What, with its file.
    pub what: String,
    /// What is to be done.
    pub remedy: Remedy,
}

/// What is done about a fault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Remedy {
    /// The checkpoint database is set aside and made anew from the records beside the views.
    RestoreDatabase,
    /// The record beside a view is written again from the checkpoint database.
    WriteRecord(String),
    /// The manifest and the links of a view are made again from its record.
    Show(String),
    /// A view is made anew from the first event, by the next run.
    Rebuild(String),
    /// Nothing can be done about a view that no SQL file declares.
    Leave(String),
    /// A file is moved away.
    MoveAway(PathBuf),
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::RestoreDatabase => f.write_str("set the database aside and make it anew from the records beside the views"),
            Remedy::WriteRecord(view) => write!(f, "write the record of {view} again from the checkpoint database"),
            Remedy::Show(view) => write!(f, "make the manifest and the links of {view} again from its record"),
            Remedy::Rebuild(view) => write!(
                f,
                "have {view} rebuilt by the next run, from what its sources still hold (where they hold less than it was made from, restore a backup)"
            ),
            Remedy::Leave(view) => write!(
                f,
                "leave it: no SQL file declares {view}, so that no run rebuilds it (`alluvium drop {view}` removes it; to keep it, restore a backup)"
            ),
            Remedy::MoveAway(_) => f.write_str("move the file to dead_letters/.damaged"),
        }
    }
}
