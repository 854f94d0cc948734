//! Decides whether a commit writes a text whole or as a [`Delta`] of the text that the commit before it wrote. The last whole text and the
//! deltas after it are a chain, from which the last text is made again.

use super::delta::Delta;

/// Deltas of a chain at most: reading it applies each.
const MOST_DELTAS: u32 = 128;
/// Bytes of deltas up to which a chain goes on, however small its whole text is.
const FEW_BYTES: usize = 8 << 10;

/// What has been written of a text that changes with each commit.
#[derive(Debug)]
pub(super) struct Chain {
    /// The text as of the last write.
    last: String,
    /// The length in bytes of the whole text, and of all deltas after it.
    whole_bytes: usize,
    delta_bytes: usize,
    deltas: u32,
}

impl Chain {
    /// Begins a chain with a text that is written whole.
    pub(super) fn new(whole: String) -> Chain {
        Chain { whole_bytes: whole.len(), last: whole, delta_bytes: 0, deltas: 0 }
    }

    /// Returns the JSON of the delta to write for the next text. Returns `None` if that text is to be written whole: the deltas have come to
    /// as much as the whole text, so that it is read as fast as it is written, and a commit costs about twice what it changes.
    pub(super) fn next(&self, text: &str) -> serde_json::Result<Option<String>> {
        if self.deltas == MOST_DELTAS || self.delta_bytes > self.whole_bytes.max(FEW_BYTES) {
            return Ok(None);
        }
        let json = serde_json::to_string(&Delta::between(&self.last, text))?;
        Ok((json.len() < text.len()).then_some(json))
    }

    /// Continues with a text of which this delta has been written.
    pub(super) fn continued(self, text: String, delta: &str) -> Chain {
        Chain { last: text, delta_bytes: self.delta_bytes + delta.len(), deltas: self.deltas + 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn commits_write_about_twice_what_changes() {
        let text = |epoch: usize| {
            let part = |part: usize| format!("{{\"file\":\"{:010}-part-{part:06}\"}}", (epoch + 1_000 - part) / 1_000);
            (0..1_000).map(part).collect::<Vec<_>>().join(",")
        };
        let (mut chain, mut written, mut whole) = (Chain::new(text(0)), 0, 0);
        for epoch in 1..1_000 {
            let text = text(epoch);
            chain = match chain.next(&text).unwrap() {
                Some(delta) => {
                    written += delta.len();
                    chain.continued(text, &delta)
                }
                None => {
                    (written, whole) = (written + text.len(), whole + 1);
                    Chain::new(text)
                }
            };
        }
        assert!(whole == 999 / (MOST_DELTAS as usize + 1), "{whole}");
        assert!(written < 999 * 500, "{written}");
    }
}
