//! Finds runs of text that JSON does not escape: no quote, backslash or control character.

/// Checks whether JSON can hold a text without escapes.
pub(super) fn is_plain(text: &str) -> bool {
    run_end(text.as_bytes(), 0).is_none()
}

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// Returns the position of the first quote, backslash or control character from `at` on. JSON text contains these only in escapes.
#[inline]
pub(super) fn run_end(bytes: &[u8], at: usize) -> Option<usize> {
    let (words, rest) = bytes.get(at..)?.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let (quote, backslash) = (word ^ (ONES * b'"' as u64), word ^ (ONES * b'\\' as u64));
        // Sets the highest bit of each byte below `limit`. Borrows affect only bytes after the first such byte.
        let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
        let hit = (below(word, 0x20) | below(quote, 1) | below(backslash, 1)) & HIGHS;
        if hit != 0 {
            return Some(at + index * 8 + (hit.trailing_zeros() / 8) as usize);
        }
    }
    let place = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'))?;
    Some(bytes.len() - rest.len() + place)
}
