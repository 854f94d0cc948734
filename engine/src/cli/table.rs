//! Tables and sizes for people.

use comfy_table::{ContentArrangement, Table, presets};

/// Makes a table without lines between its rows.
pub(super) fn plain(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(header.to_vec());
    table
}

/// Formats a number of bytes, such as `1.5 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}
