//! What can happen to a file: one list for all kinds of files.

use std::path::Path;

/// The bytes that are taken as one block.
const BLOCK: usize = 512;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// One bit of it is another one.
    Flipped,
    /// Its end is lost.
    CutOff,
    /// All of it is lost but its name.
    Emptied,
    /// It has bytes behind its end.
    Extended,
    /// It holds what another file of its kind holds.
    Swapped,
    /// Two of its blocks have changed their places.
    Exchanged,
    /// A block of it is zero.
    Zeroed,
    /// It holds what it, or one of its kind, held at an earlier commit.
    Older,
}

impl Damage {
    pub(crate) const ALL: [Damage; 8] = [
        Damage::Flipped,
        Damage::CutOff,
        Damage::Emptied,
        Damage::Extended,
        Damage::Swapped,
        Damage::Exchanged,
        Damage::Zeroed,
        Damage::Older,
    ];

    /// Damages a file. `other` is what another one of its kind holds, `older` what one of its kind held. Returns whether it holds something
    /// else then.
    pub(crate) fn apply(self, path: &Path, (other, older): (&[u8], &[u8]), rng: &mut fastrand::Rng) -> bool {
        let before = std::fs::read(path).unwrap();
        let mut bytes = before.clone();
        // A small file has smaller blocks.
        let block = BLOCK.min(bytes.len() / 4).max(1);
        let at = rng.usize(..bytes.len() / block) * block;
        match self {
            Damage::Flipped => {
                let at = rng.usize(..bytes.len());
                bytes[at] ^= 1 << rng.u8(..8);
            }
            Damage::CutOff => bytes.truncate(rng.usize(..bytes.len())),
            Damage::Emptied => bytes.clear(),
            Damage::Extended => {
                let more = rng.usize(1..2 * BLOCK);
                bytes.extend((0..more).map(|_| rng.u8(..)));
            }
            Damage::Swapped => bytes = other.to_vec(),
            Damage::Exchanged => {
                let to = rng.usize(..bytes.len() / block) * block;
                (0..block).for_each(|byte| bytes.swap(at + byte, to + byte));
            }
            Damage::Zeroed => bytes[at..at + block].fill(0),
            Damage::Older => bytes = older.to_vec(),
        }
        println!("{self:?}: {} of {} bytes, now {}", path.display(), before.len(), bytes.len());
        std::fs::write(path, &bytes).unwrap();
        bytes != before
    }
}
