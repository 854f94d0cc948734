//! How deep statements may nest, and the stack that this takes: parsing and planning call themselves for each level.

/// How often the parser may call itself. A level of a query takes two to three calls.
pub(crate) const CALLS: usize = 2_000;

/// The stack that the deepest statement takes, in bytes. Only what is used of it takes memory.
const STACK: usize = 256 << 20;

/// Runs some work with enough stack for the deepest statement.
pub(crate) fn deep<T>(work: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(STACK / 2, STACK, work)
}
