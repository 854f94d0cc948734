//! Records beside views: they are read, or are damaged in words.

use std::sync::LazyLock;

use alluvium::layout::Layout;
use alluvium::record::{newest_records, records_beside};

static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));

/// The bytes of `checkpoint.json`, also with the checksum that they should have.
pub fn run(bytes: &[u8]) {
    let layout = Layout::new(FOLDER.path());
    std::fs::create_dir_all(layout.view("fuzzed")).expect("a folder");
    let mut with_checksum = format!("{{\"crc32\":{},\"commit\":", crc32fast::hash(bytes)).into_bytes();
    with_checksum.extend_from_slice(bytes);
    with_checksum.push(b'}');
    for bytes in [bytes, &with_checksum] {
        std::fs::write(layout.record("fuzzed"), bytes).expect("a file");
        if let Err(reason) = &records_beside(&layout).expect("the disk is whole")["fuzzed"] {
            assert!(!reason.is_empty(), "damage without a reason");
        }
        newest_records(&layout).expect("the disk is whole");
    }
}
