//! JSON bodies to Arrow rows.
