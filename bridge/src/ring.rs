//! The newest output, in memory. Knows neither who reads it nor what becomes of what it drops.

use std::collections::VecDeque;

use shellgate_protocol::Offset;

/// Memory is taken in pieces of so many bytes, as output comes: a task that prints little costs
/// little.
pub const CHUNK: usize = 64 * 1024;

/// The newest bytes of an output stream, by absolute offset.
#[derive(Debug)]
pub struct Ring {
    /// Every chunk but the last is full, so a byte's chunk follows from its offset.
    chunks: VecDeque<Box<[u8]>>,
    /// Where the first chunk's first byte lies.
    start: Offset,
    /// Where the next byte will lie.
    end: Offset,
    /// How many chunks there may be.
    most: usize,
}

impl Ring {
    /// Keeps at least the newest `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let most = capacity.div_ceil(CHUNK) + 1;
        Self { chunks: VecDeque::new(), start: Offset::ZERO, end: Offset::ZERO, most }
    }

    /// The oldest byte that is kept.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// Where the next byte will lie.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Room for the next bytes: never empty, at most [`CHUNK`] long. What has to make room for it is
    /// shown to `evicted` first, with its offset.
    pub fn space(&mut self, evicted: impl FnOnce(Offset, &[u8])) -> &mut [u8] {
        let mut filled = self.filled_of_last();
        if self.chunks.is_empty() || filled == CHUNK {
            let oldest =
                if self.chunks.len() >= self.most { self.chunks.pop_front() } else { None };
            let chunk = match oldest {
                Some(chunk) => {
                    evicted(self.start, &chunk);
                    self.start = self.start.plus(CHUNK as u64);
                    chunk
                }
                None => vec![0; CHUNK].into_boxed_slice(),
            };
            self.chunks.push_back(chunk);
            filled = 0;
        }
        match self.chunks.back_mut() {
            Some(chunk) => &mut chunk[filled..],
            None => &mut [],
        }
    }

    /// The first `len` bytes of the last [`Ring::space`] are output now.
    pub fn fill(&mut self, len: usize) {
        debug_assert!(self.filled_of_last() + len <= CHUNK || len == 0);
        self.end = self.end.plus(len as u64);
    }

    /// Bytes from `from` on, as many as lie together, at most `max`; none at the end, and none
    /// outside of what is kept.
    #[must_use]
    pub fn read(&self, from: Offset, max: usize) -> &[u8] {
        if from < self.start || from >= self.end {
            return &[];
        }
        let at = from.since(self.start) as usize;
        let Some(chunk) = self.chunks.get(at / CHUNK) else { return &[] };
        let first = at % CHUNK;
        let len = (self.end.since(from) as usize).min(CHUNK - first).min(max);
        &chunk[first..first + len]
    }

    /// Where the newest of these bytes lies, among those that are kept.
    #[must_use]
    pub fn last(&self, byte: u8) -> Option<Offset> {
        let newest = self.chunks.len().saturating_sub(1);
        self.chunks.iter().enumerate().rev().find_map(|(n, chunk)| {
            let filled = if n == newest { self.filled_of_last() } else { CHUNK };
            let at = chunk[..filled].iter().rposition(|kept| *kept == byte)?;
            Some(self.start.plus((n * CHUNK + at) as u64))
        })
    }

    fn filled_of_last(&self) -> usize {
        let before = self.chunks.len().saturating_sub(1) * CHUNK;
        self.end.since(self.start) as usize - before.min(self.end.since(self.start) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn append(ring: &mut Ring, mut bytes: &[u8], dropped: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let space = ring.space(|at, evicted| {
                assert_eq!(at.get() as usize, dropped.len());
                dropped.extend(evicted);
            });
            let len = space.len().min(bytes.len());
            space[..len].copy_from_slice(&bytes[..len]);
            ring.fill(len);
            bytes = &bytes[len..];
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn every_byte_is_kept_or_was_shown_on_its_way_out(
            sizes in proptest::collection::vec(0usize..200_000, 1..30), capacity in 1usize..400_000
        ) {
            let mut ring = Ring::new(capacity);
            let (mut all, mut dropped) = (Vec::new(), Vec::new());
            for (n, len) in sizes.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + n) as u8).collect();
                append(&mut ring, &bytes, &mut dropped);
                all.extend(bytes);
                prop_assert_eq!(ring.end().get() as usize, all.len());
                prop_assert_eq!(ring.start().get() as usize, dropped.len());
                prop_assert!(all.len() - dropped.len() >= capacity.min(all.len()));
                prop_assert!(all.len() - dropped.len() <= capacity + 2 * CHUNK);
            }
            let mut kept = dropped;
            let mut at = ring.start();
            loop {
                let piece = ring.read(at, 50_000);
                if piece.is_empty() { break }
                kept.extend(piece);
                at = at.plus(piece.len() as u64);
            }
            prop_assert!(kept == all);
        }
    }

    #[test]
    fn the_newest_of_a_byte_is_found_in_whichever_chunk_it_lies() {
        let (mut ring, mut dropped) = (Ring::new(4 * CHUNK), Vec::new());
        assert_eq!(ring.last(b'n'), None);
        append(&mut ring, b"xnxn", &mut dropped);
        assert_eq!(ring.last(b'n'), Offset::new(3));
        append(&mut ring, &vec![b'x'; 2 * CHUNK], &mut dropped);
        assert_eq!(ring.last(b'n'), Offset::new(3));
        append(&mut ring, b"n", &mut dropped);
        assert_eq!(ring.last(b'n'), Offset::new(2 * CHUNK as u64 + 4));
        append(&mut ring, &vec![b'x'; 8 * CHUNK], &mut dropped);
        assert_eq!(ring.last(b'n'), None, "it is not kept any more");
        // Room that is not output yet.
        ring.space(|_, _| ()).fill(b'n');
        assert_eq!(ring.last(b'n'), None);
    }

    #[test]
    fn an_idle_ring_holds_no_memory_and_nothing_outside_it_is_read() {
        let mut ring = Ring::new(1 << 20);
        assert!(ring.chunks.is_empty());
        assert!(ring.read(Offset::ZERO, 10).is_empty());
        append(&mut ring, b"abc", &mut Vec::new());
        assert_eq!(ring.read(Offset::ZERO, 2), b"ab");
        assert_eq!(ring.read(Offset::new(2).unwrap(), 9), b"c");
        assert!(ring.read(Offset::new(3).unwrap(), 9).is_empty());
        assert!(ring.read(Offset::MAX, 9).is_empty());
    }
}
