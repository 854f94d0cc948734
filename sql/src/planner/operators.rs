//! Which operators a plan may have: those of this release, or those that a version of a view has its state for.

/// What the fingerprint of a view says that has such operators.
pub(super) const OUTER: &str = "-outer";
pub(super) const RUNNING: &str = "-running";

/// Which operators a plan may have. A version of a view that goes on keeps those whose state it has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operators {
    /// For left, right and full joins.
    pub(crate) outer: bool,
    /// For window functions whose frame begins with the partition.
    pub(crate) running: bool,
}

impl Operators {
    pub(crate) const NEWEST: Operators = Operators { outer: true, running: true };

    /// Those of the view that had this fingerprint.
    pub(crate) fn of(fingerprint: &str) -> Operators {
        Operators { outer: fingerprint.contains(OUTER), running: fingerprint.contains(RUNNING) }
    }
}
