//! Runs one target under libFuzzer: that of `ALLUVIUM_FUZZ_TARGET`.
#![no_main]
#![allow(missing_docs, clippy::panic)]

use std::sync::LazyLock;

use alluvium_fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("ALLUVIUM_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(name, _)| *name == wanted);
    found
        .unwrap_or_else(|| {
            panic!("ALLUVIUM_FUZZ_TARGET={wanted} is none of {:?}", TARGETS.iter().map(|(name, _)| name).collect::<Vec<_>>())
        })
        .1
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
