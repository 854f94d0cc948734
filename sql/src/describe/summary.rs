//! What `check` says about a view as a whole, without its tree.

use super::warnings::{Warning, warnings};
use super::words::{key_names, state};
use crate::catalog::View;
use crate::plan::{Class, Node};

/// What `check` says about a view.
#[derive(Debug, Clone)]
pub struct ViewSummary {
    /// The class of its most expensive operator; constant rows count as linear.
    pub class: Class,
    /// The names of the columns that identify a row, if known. Empty for a view of at most one row.
    pub key: Option<Vec<String>>,
    /// What its nodes store, in words, from the root down, each once. Empty if they store nothing.
    pub state: Vec<String>,
    /// The sources and views that it reads, by name.
    pub reads: Vec<String>,
    /// Whether it can retract rows that it has shown.
    pub retracts: bool,
    /// What a user should know.
    pub warnings: Vec<Warning>,
}

/// Returns what `check` says about a view.
#[must_use]
pub fn summary(view: &View) -> ViewSummary {
    let root = &view.plan.root;
    let mut state = Vec::new();
    states(root, &mut state);
    ViewSummary {
        class: root.most_expensive_class(),
        key: key_names(root),
        state,
        reads: view.plan.reads.iter().map(|(_, name)| name.clone()).collect(),
        retracts: root.retracts,
        warnings: warnings(view),
    }
}

/// Adds what each node stores, in words, from the root down.
fn states(node: &Node, found: &mut Vec<String>) {
    if let Some(kept) = state(node).filter(|kept| !node.is_constant() && !found.contains(kept)) {
        found.push(kept);
    }
    node.inputs.iter().for_each(|input| states(input, found));
}
