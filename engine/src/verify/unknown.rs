//! The finding of any part of a verification that it cannot tell whether a view is right.

/// The reason, in words.
#[derive(Debug, Clone)]
pub(super) struct Unknown(pub(super) String);
