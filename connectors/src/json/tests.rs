//! The rules of decoding.
