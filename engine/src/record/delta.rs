//! The difference between two texts, as what is copied from the first one and what is new. The records of consecutive commits are nearly
//! equal, whatever they list, so a delta costs what changed. Knows nothing of records; the texts are JSON of one line.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// A copy of fewer bytes is not worth the numbers that describe it.
const SHORTEST_COPY: usize = 16;
/// Pieces with fewer bytes are not looked up elsewhere in the first text: there are many equal ones.
const SHORTEST_PIECE: usize = 8;

/// What makes one text of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delta {
    /// The CRC-32 of the text that it makes.
    crc32: u32,
    edits: Vec<Edit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Edit {
    /// Bytes of the text before: where they begin, and how many.
    Copy(usize, usize),
    /// New text.
    Text(String),
}

impl Delta {
    /// Computes what makes `after` of `before`, in one pass over each. Cuts at commas: what stands between two of them is looked up as a
    /// piece of `before`.
    pub(super) fn between(before: &str, after: &str) -> Delta {
        let mut places: HashMap<&str, usize> = HashMap::new();
        let mut start = 0;
        for piece in before.split_inclusive(',') {
            if piece.len() >= SHORTEST_PIECE {
                places.entry(piece).or_insert(start);
            }
            start += piece.len();
        }
        let mut edits = Edits::default();
        // The place in `before` that should come next, and the place in `after`.
        let (mut next, mut at) = (0, 0);
        while at < after.len() {
            let rest = &after[at..];
            let piece = &rest[..rest.find(',').map_or(rest.len(), |comma| comma + 1)];
            let copied = [Some(next), places.get(piece).copied()].into_iter().flatten().find_map(|place| {
                let equal = equal_bytes(&before[place..], rest);
                (equal >= SHORTEST_COPY).then_some((place, equal))
            });
            if let Some((place, length)) = copied {
                edits.0.push(Edit::Copy(place, length));
                (next, at) = (place + length, at + length);
            } else {
                edits.text(piece);
                at += piece.len();
                // A piece is mostly replaced by one.
                next = before[next..].find(',').map_or(before.len(), |comma| next + comma + 1);
            }
        }
        Delta { crc32: crc32fast::hash(after.as_bytes()), edits: edits.0 }
    }

    /// Makes the text.
    ///
    /// # Errors
    /// Says what is wrong if `before` is not the text that the delta was computed from, or the delta is damaged.
    pub(super) fn apply(&self, before: &str) -> Result<String, String> {
        let mut after = String::with_capacity(before.len());
        for edit in &self.edits {
            match edit {
                Edit::Text(text) => after.push_str(text),
                Edit::Copy(start, length) => {
                    let copied = start.checked_add(*length).and_then(|end| before.get(*start..end));
                    after.push_str(copied.ok_or("a change copies what the record before it does not hold")?);
                }
            }
        }
        if crc32fast::hash(after.as_bytes()) == self.crc32 {
            Ok(after)
        } else {
            Err("a change does not make the record that it should".to_owned())
        }
    }
}

#[derive(Default)]
struct Edits(Vec<Edit>);

impl Edits {
    fn text(&mut self, piece: &str) {
        match self.0.last_mut() {
            Some(Edit::Text(text)) => text.push_str(piece),
            _ => self.0.push(Edit::Text(piece.to_owned())),
        }
    }
}

/// The length in bytes of what two texts have in common at their start. It ends between two characters.
fn equal_bytes(one: &str, other: &str) -> usize {
    let mut equal = one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    while !other.is_char_boundary(equal) {
        equal -= 1;
    }
    equal
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A list of parts as a record has it: `of` gives the epoch at which each was written.
    fn parts(count: u64, of: impl Fn(u64) -> u64) -> String {
        let part = |index: u64| {
            let epoch = of(index);
            let digest = (index << 20 | epoch).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            format!(
                r#"{{"file":"{epoch:010}-{digest:016x}-{index}.parquet","rows":{},"bytes":{},"prefix":{index},"bits":10,"crc32":[{}]}}"#,
                900 + epoch % 90,
                20_000 + digest % 1_000,
                digest >> 32
            )
        };
        let parts: Vec<String> = (0..count).map(part).collect();
        let checksums: Vec<String> = (0..count).map(|index| (of(index) * 77_777_777 % 4_294_967_291).to_string()).collect();
        format!(r#"{{"epoch":{},"checksums":[{}],"parts":[{}]}}"#, of(0), checksums.join(","), parts.join(","))
    }

    fn made(before: &str, after: &str) -> usize {
        let delta = Delta::between(before, after);
        let json = serde_json::to_string(&delta).unwrap();
        assert_eq!(serde_json::from_str::<Delta>(&json).unwrap().apply(before).unwrap(), after);
        json.len()
    }

    #[test]
    fn a_delta_costs_what_changed_and_not_what_is_listed() {
        let mut costs = Vec::new();
        for count in [100, 1_000, 10_000] {
            let before = parts(count, |_| 7);
            // Five replaced, one removed from the middle, one more at the end.
            let replaced = parts(count, |index| if index % (count / 5) == 3 { 8 } else { 7 });
            costs.push(made(&before, &replaced));
            made(&before, &parts(count + 1, |_| 7));
            made(&parts(count + 1, |_| 7), &before);
        }
        assert!(costs.iter().all(|cost| *cost < 2_000) && costs[2] < costs[0] + 300, "{costs:?}");
    }

    #[test]
    fn any_text_makes_any_other() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let words = [
                "\"größe\":",
                "é",
                ",",
                ",,",
                "[1,2",
                "}",
                "\"epoch\":17,",
                "abcdefghijklmnopqrstuvwxyz,",
                "日本語日本語日本語",
                "",
            ];
            let mut text =
                |most: usize| -> String { (0..random.usize(..most)).map(|_| words[random.usize(..words.len())]).collect() };
            let (one, middle, other) = (text(30), text(10), text(30));
            let before = format!("{one}{middle}{other}");
            for after in [format!("{one}{other}"), format!("{other}{one}"), text(40), before.clone()] {
                made(&before, &after);
            }
        }
    }

    #[test]
    fn a_delta_of_another_text_is_refused() {
        let (before, after) = (parts(50, |_| 7), parts(50, |index| 7 + index % 2));
        let delta = Delta::between(&before, &after);
        assert!(delta.apply(&before.replace("\"rows\":907", "\"rows\":908")).is_err());
        assert!(delta.apply("").is_err());
        let far = r#"{"crc32":1,"edits":[[18446744073709551615,1],[0,18446744073709551615]]}"#;
        assert!(serde_json::from_str::<Delta>(far).unwrap().apply("text").is_err());
    }
}
