//! Rows whose expressions fail.
