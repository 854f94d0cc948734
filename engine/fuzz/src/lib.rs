//! What is fuzzed: functions that take any bytes, and must neither panic nor lose a good event.
//!
//! | module | the bytes are |
//! | --- | --- |
//! | [`body`] | bodies of a format, among good ones |
//! | [`message`] | a message's subject, headers and body |
//! | [`sql`] | SQL files of a project |
//! | [`record`] | the record beside a view |
//! | [`state`] | a state file of a view |
//!
//! `make fuzz` builds these with coverage, and has libFuzzer look for inputs. The corpus in `corpus/<target>` is a start for it. A test runs it,
//! and so does each input that once failed.
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used)]

pub mod body;
pub mod message;
pub mod record;
pub mod sql;
pub mod state;

/// Takes one input.
pub type Target = fn(&[u8]);

/// Each target with its name, which is that of its folder in `corpus`.
pub const TARGETS: &[(&str, Target)] =
    &[("body", body::run), ("message", message::run), ("sql", sql::run), ("record", record::run), ("state", state::run)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_passes() {
        for (name, target) in TARGETS {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
            let inputs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!inputs.is_empty(), "{} is empty", folder.display());
            for input in inputs {
                println!("{}", input.display());
                target(&std::fs::read(&input).unwrap());
            }
        }
    }
}
