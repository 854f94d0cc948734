//! Files of JSON lines as a source.
