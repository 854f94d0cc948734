//! Writes texts and numbers as JSON, for values that are decoded by the rules of JSON or kept as JSON text.

use std::fmt::Arguments;

/// Writes a text as a JSON string. If the text is not UTF-8, what is written is not either.
pub(crate) fn write_text(text: &[u8], json: &mut Vec<u8>) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    json.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        json.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'"' => json.extend_from_slice(b"\\\""),
            b'\\' => json.extend_from_slice(b"\\\\"),
            b'\n' => json.extend_from_slice(b"\\n"),
            b'\r' => json.extend_from_slice(b"\\r"),
            b'\t' => json.extend_from_slice(b"\\t"),
            byte => {
                json.extend_from_slice(b"\\u00");
                json.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
        }
        rest = &rest[at + 1..];
    }
    json.extend_from_slice(rest);
    json.push(b'"');
}

/// Writes a floating-point number with all its digits. NaN and infinities are text.
pub(crate) fn write_float(value: f64, json: &mut Vec<u8>) {
    let size = value.abs();
    if value.is_nan() {
        json.extend_from_slice(b"\"NaN\"");
    } else if value.is_infinite() {
        json.extend_from_slice(if value > 0.0 { b"\"Infinity\"" } else { b"\"-Infinity\"" });
    } else if size != 0.0 && !(1e-5..1e16).contains(&size) {
        write_as(json, format_args!("{value:e}"));
    } else {
        write_as(json, format_args!("{value}"));
    }
}

/// Writes what needs no escapes in JSON: numbers and times.
pub(crate) fn write_as(json: &mut Vec<u8>, value: Arguments<'_>) {
    struct Bytes<'v>(&'v mut Vec<u8>);
    impl std::fmt::Write for Bytes<'_> {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0.extend_from_slice(text.as_bytes());
            Ok(())
        }
    }
    // Writing to memory cannot fail.
    let _ = std::fmt::Write::write_fmt(&mut Bytes(json), value);
}
