//! The output that is kept: the ring, and behind it the spill. Knows what drivers have
//! acknowledged, and nothing else of who reads.

use std::fs::File;

use shellgate_protocol::Offset;

use crate::ring::Ring;
use crate::spill::Spill;

/// Output that stays in memory, in bytes.
pub const RING_BYTES: usize = 8 * 1024 * 1024;

/// Output that goes to the spill file beyond that, in bytes.
pub const SPILL_BYTES: u64 = 64 * 1024 * 1024;

/// The bytes asked for are not kept any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("output before {kept_from} is not kept")]
pub struct Gone {
    /// The oldest byte that is kept.
    pub kept_from: Offset,
}

/// One launch's output, as far as it is kept.
#[derive(Debug)]
pub struct History {
    ring: Ring,
    spill: Spill,
    acknowledged: Offset,
    /// No driver lacks what lies before this, as far as it is kept.
    delivered: Offset,
    trouble: Option<String>,
    trouble_told: bool,
}

impl History {
    /// Keeps [`RING_BYTES`] in memory and [`SPILL_BYTES`] in the file, if there is one.
    #[must_use]
    pub fn new(spill: Option<File>) -> Self {
        Self::with_capacities(RING_BYTES, Spill::new(spill, SPILL_BYTES))
    }

    fn with_capacities(ring: usize, spill: Spill) -> Self {
        Self {
            ring: Ring::new(ring),
            spill,
            acknowledged: Offset::ZERO,
            delivered: Offset::ZERO,
            trouble: None,
            trouble_told: false,
        }
    }

    /// Where the next byte will lie.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.ring.end()
    }

    /// Where the newest line begins: at the end, unless it is being printed. At the end, too, where
    /// its beginning is not in memory any more.
    #[must_use]
    pub fn newest_line(&self) -> Offset {
        match self.ring.last(b'\n') {
            Some(end_of_last) => end_of_last.plus(1),
            None if self.ring.start() == Offset::ZERO => Offset::ZERO,
            None => self.end(),
        }
    }

    /// The oldest byte that is kept.
    #[must_use]
    pub fn kept_from(&self) -> Offset {
        if self.spill.is_empty() { self.ring.start() } else { self.spill.start() }
    }

    /// Everything before this has been acknowledged by some driver.
    #[must_use]
    pub fn acknowledged(&self) -> Offset {
        self.acknowledged
    }

    /// A driver has everything from `from` to before `at`. Where that leaves no hole behind it, it
    /// need not go to the spill file any more: who was shown a keyframe has nothing of what was
    /// printed before, and somebody else may come for that.
    pub fn acknowledge(&mut self, from: Offset, at: Offset) {
        self.acknowledged = self.acknowledged.max(at);
        if from <= self.delivered.max(self.kept_from()) {
            self.delivered = self.delivered.max(at);
        }
        if !self.spill.is_empty() && self.delivered >= self.spill.end() {
            self.spill.clear();
        }
    }

    /// Room for the next bytes, never empty. What the ring drops for it goes to the spill file,
    /// unless no driver lacks it.
    pub fn space(&mut self) -> &mut [u8] {
        let Self { ring, spill, delivered, trouble, .. } = self;
        ring.space(|at, bytes| {
            if at.plus(bytes.len() as u64) <= *delivered {
                return;
            }
            if let Err(error) = spill.append(at, bytes) {
                *trouble = Some(format!("output is lost, because the spill file fails: {error}"));
            }
        })
    }

    /// The first `len` bytes of the last [`History::space`] are output now.
    pub fn fill(&mut self, len: usize) {
        self.ring.fill(len);
    }

    /// Appends output that the bridge itself writes.
    pub fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let space = self.space();
            let len = space.len().min(bytes.len());
            space[..len].copy_from_slice(&bytes[..len]);
            self.fill(len);
            bytes = &bytes[len..];
        }
    }

    /// Appends `max` bytes from `from` on to `into`, or as many as there are.
    ///
    /// # Errors
    /// Where the byte at `from` is not kept any more, or cannot be read back. `into` is unchanged.
    pub fn read(&mut self, mut from: Offset, max: usize, into: &mut Vec<u8>) -> Result<(), Gone> {
        if from < self.kept_from() {
            return Err(Gone { kept_from: self.kept_from() });
        }
        let wanted = into.len() + max;
        if from < self.ring.start() {
            let before = into.len();
            if let Err(error) = self.spill.read(from, max, into) {
                self.trouble =
                    Some(format!("output is lost, because the spill file cannot be read: {error}"));
                return Err(Gone { kept_from: self.kept_from() });
            }
            from = from.plus((into.len() - before) as u64);
        }
        while into.len() < wanted {
            let piece = self.ring.read(from, wanted - into.len());
            if piece.is_empty() {
                break;
            }
            into.extend_from_slice(piece);
            from = from.plus(piece.len() as u64);
        }
        Ok(())
    }

    /// Bytes in memory from `from` on, as many as lie together; none where they are not there.
    #[must_use]
    pub fn peek(&self, from: Offset, max: usize) -> &[u8] {
        self.ring.read(from, max)
    }

    /// The oldest byte in memory.
    #[must_use]
    pub fn in_memory_from(&self) -> Offset {
        self.ring.start()
    }

    /// What an operator should know about the spill file: once.
    pub fn take_trouble(&mut self) -> Option<String> {
        let trouble = self.trouble.take().filter(|_| !self.trouble_told)?;
        self.trouble_told = true;
        Some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ring::CHUNK;

    fn at(offset: usize) -> Offset {
        Offset::new(offset as u64).unwrap()
    }

    fn history(file: Option<File>) -> History {
        History::with_capacities(2 * CHUNK, Spill::new(file, 4 * CHUNK as u64))
    }

    fn bytes(n: usize, len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 13 + n * 5) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn what_is_read_is_what_was_printed_and_what_is_gone_is_said_to_be(
            steps in proptest::collection::vec((0usize..150_000, 0usize..1_000_000, 0usize..1_000_000), 1..30),
            has_file in any::<bool>(),
        ) {
            let mut history = history(has_file.then(|| tempfile::tempfile().unwrap()));
            let mut all = Vec::new();
            for (n, (len, acknowledged, from)) in steps.into_iter().enumerate() {
                let more = bytes(n, len);
                history.append(&more);
                all.extend(more);
                prop_assert_eq!(history.end(), at(all.len()));
                history.acknowledge(Offset::ZERO, at(acknowledged.min(all.len())));
                let kept = history.kept_from();
                prop_assert!(history.end().since(kept) >= (2 * CHUNK).min(all.len()) as u64);
                if has_file {
                    let unseen = history.end().since(history.acknowledged());
                    prop_assert!(history.end().since(kept) >= unseen.min(6 * CHUNK as u64));
                }
                let from = from % (all.len() + 1);
                let mut read = Vec::new();
                match history.read(at(from), 70_000, &mut read) {
                    Ok(()) => prop_assert!(read == all[from..(from + 70_000).min(all.len())]),
                    Err(gone) => prop_assert!(at(from) < gone.kept_from && read.is_empty()),
                }
            }
        }
    }

    #[test]
    fn a_full_disk_loses_only_what_memory_cannot_hold_and_is_told_once() {
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        let mut history = history(Some(full));
        history.append(&bytes(0, 10 * CHUNK));
        assert!(history.kept_from() <= at(8 * CHUNK));
        assert!(history.take_trouble().unwrap().contains("spill file"));
        history.append(&bytes(1, 10 * CHUNK));
        assert_eq!(history.take_trouble(), None);
        let mut read = Vec::new();
        assert!(history.read(Offset::ZERO, 10, &mut read).is_err());
        history.read(at(19 * CHUNK), CHUNK, &mut read).unwrap();
        assert_eq!(read, bytes(1, 10 * CHUNK)[9 * CHUNK..]);
    }

    #[test]
    fn the_file_is_empty_once_a_driver_has_all_of_it() {
        let mut history = history(Some(tempfile::tempfile().unwrap()));
        history.append(&bytes(0, 6 * CHUNK));
        assert_eq!(history.kept_from(), Offset::ZERO);
        history.acknowledge(Offset::ZERO, at(5 * CHUNK));
        assert!(history.spill.is_empty());
        history.append(&bytes(0, CHUNK));
        assert!(history.kept_from() >= at(3 * CHUNK));
    }

    #[test]
    fn what_lies_before_a_keyframe_is_kept_for_who_lacks_it() {
        let mut history = history(Some(tempfile::tempfile().unwrap()));
        history.append(&bytes(0, CHUNK));
        history.acknowledge(Offset::ZERO, at(1000));
        history.append(&bytes(1, 4 * CHUNK));
        // Another driver comes, and is shown the newest screen.
        history.acknowledge(at(5 * CHUNK), at(5 * CHUNK));
        assert!(history.kept_from() <= at(1000));
        // It goes on, until what the first one lacks is too old to be kept.
        history.append(&bytes(2, 4 * CHUNK));
        history.acknowledge(at(5 * CHUNK), at(9 * CHUNK));
        assert!(!history.spill.is_empty());
        history.append(&bytes(3, 4 * CHUNK));
        history.acknowledge(at(5 * CHUNK), at(13 * CHUNK));
        assert!(history.spill.is_empty());
    }
}
