//! The measures, one file each.

pub(crate) mod commit;
pub(crate) mod delay;
pub(crate) mod files;
pub(crate) mod live;
pub(crate) mod memory;
pub(crate) mod nexmark;
pub(crate) mod steps;
