//! The verdict of whatever part of a verification finds that it cannot be told whether a view is right.

/// Why it cannot be told, in words.
#[derive(Debug, Clone)]
pub(super) struct Unknown(pub(super) String);
