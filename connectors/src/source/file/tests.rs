//! Files read whole, in parts, and while they change.
