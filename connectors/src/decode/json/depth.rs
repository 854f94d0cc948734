//! Checks the nesting depth of a body.

/// The maximum nesting depth of a body, including the body itself: the limit of serde_json.
pub(crate) const MAX_DEPTH: usize = 127;

/// Checks whether a value is an object or an array.
#[inline]
pub(super) fn is_nested(raw: &str) -> bool {
    matches!(raw.as_bytes().first(), Some(b'{' | b'['))
}

/// Checks whether a member of the body exceeds [`MAX_DEPTH`].
pub(super) fn is_too_deep(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    if bytes.len() < 2 * MAX_DEPTH || bytes.iter().filter(|byte| **byte | 0x20 == b'{').count() < MAX_DEPTH {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (1, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return true;
                }
            }
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    false
}
