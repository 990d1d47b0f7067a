//! The newest output, in memory. Knows neither who reads it nor what becomes of what it drops.

use shellgate_protocol::Offset;

/// What is dropped at a time, in bytes.
pub const CHUNK: usize = 64 * 1024;

/// A terminal gives so many bytes at a time: with less room each would take two reads.
const SPACE_LEAST: usize = 4096;

/// A task that prints no more than this has memory for what it prints, in small pages; one that prints
/// on gets huge ones, each a page fault instead of 512, and read and written without looking up each.
const IN_SMALL_PAGES: usize = HUGE_PAGE;

/// A huge page, on x86-64 and on aarch64 with pages of 4 KiB.
const HUGE_PAGE: usize = 2 * 1024 * 1024;

/// The smallest page that there is: on a machine with larger ones the kernel refuses the advice.
const PAGE: usize = 4096;

/// The newest bytes of an output stream, by absolute offset.
#[derive(Debug)]
pub struct Ring {
    /// A byte's place follows from its offset. The kernel gives memory as output comes.
    memory: Box<[u8]>,
    /// Where the oldest byte lies: at the beginning of a chunk.
    start: Offset,
    /// Where the next byte will lie.
    end: Offset,
}

impl Ring {
    /// Keeps at least the newest `capacity` bytes.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        // One that is being filled, and the one that is dropped before there is no room in it.
        let chunks = capacity.div_ceil(CHUNK) + 2;
        let memory = vec![0; chunks * CHUNK].into_boxed_slice();
        advise(&memory);
        Self { memory, start: Offset::ZERO, end: Offset::ZERO }
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

    /// Room for the next bytes: never empty, and at least what a terminal gives at a time, but for
    /// where the memory ends. What has to make room for it is shown to `evicted` first, with its
    /// offset.
    pub fn space(&mut self, evicted: impl FnOnce(Offset, &[u8])) -> &mut [u8] {
        let mut free = self.memory.len() - self.kept();
        if free < SPACE_LEAST {
            let oldest = self.place(self.start);
            evicted(self.start, &self.memory[oldest..oldest + CHUNK]);
            self.start = self.start.plus(CHUNK as u64);
            free += CHUNK;
        }
        let at = self.place(self.end);
        let last = self.memory.len().min(at + free);
        &mut self.memory[at..last]
    }

    /// The first `len` bytes of the last [`Ring::space`] are output now.
    pub fn fill(&mut self, len: usize) {
        debug_assert!(self.kept() + len <= self.memory.len());
        self.end = self.end.plus(len as u64);
    }

    /// Bytes from `from` on, as many as lie together, at most `max`; none at the end, and none
    /// outside of what is kept.
    #[must_use]
    pub fn read(&self, from: Offset, max: usize) -> &[u8] {
        if from < self.start || from >= self.end {
            return &[];
        }
        let at = self.place(from);
        let len = (self.end.since(from) as usize).min(self.memory.len() - at).min(max);
        &self.memory[at..at + len]
    }

    /// Where the newest of these bytes lies, among those that are kept.
    #[must_use]
    pub fn last(&self, byte: u8) -> Option<Offset> {
        let older = self.read(self.start, usize::MAX);
        let middle = self.start.plus(older.len() as u64);
        let find = |from: Offset, bytes: &[u8]| {
            Some(from.plus(bytes.iter().rposition(|kept| *kept == byte)? as u64))
        };
        find(middle, self.read(middle, usize::MAX)).or_else(|| find(self.start, older))
    }

    /// How many bytes are kept: no more than there is memory.
    fn kept(&self) -> usize {
        self.end.since(self.start) as usize
    }

    fn place(&self, at: Offset) -> usize {
        // Less than the memory's length, which is a usize.
        (at.get() % self.memory.len() as u64) as usize
    }
}

/// Asks the kernel for pages of the right size. Where it does not listen, nothing but time is lost.
#[allow(unsafe_code)]
fn advise(memory: &[u8]) {
    let range = memory.as_ptr_range();
    let first = (range.start.addr() + IN_SMALL_PAGES).next_multiple_of(HUGE_PAGE);
    let last = range.end.addr() / HUGE_PAGE * HUGE_PAGE;
    let begin = range.start.addr().next_multiple_of(PAGE);
    for (from, to, advice) in
        [(begin, first.min(last), libc::MADV_NOHUGEPAGE), (first, last, libc::MADV_HUGEPAGE)]
    {
        if from < to {
            // SAFETY: the range lies within memory that this process owns, and neither advice
            // changes a byte of it.
            unsafe { libc::madvise(from as *mut libc::c_void, to - from, advice) };
        }
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
                prop_assert!(all.len() - dropped.len() <= capacity + 3 * CHUNK);
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
    fn nothing_outside_of_what_is_kept_is_read() {
        let mut ring = Ring::new(1 << 20);
        assert!(ring.read(Offset::ZERO, 10).is_empty());
        append(&mut ring, b"abc", &mut Vec::new());
        assert_eq!(ring.read(Offset::ZERO, 2), b"ab");
        assert_eq!(ring.read(Offset::new(2).unwrap(), 9), b"c");
        assert!(ring.read(Offset::new(3).unwrap(), 9).is_empty());
        assert!(ring.read(Offset::MAX, 9).is_empty());
    }
}
