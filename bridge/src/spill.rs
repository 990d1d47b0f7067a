//! Output that the ring had no room for any more, in a bounded file. Knows nothing of who needs it.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use nix::fcntl::{FallocateFlags, fallocate};
use shellgate_protocol::Offset;

/// A full disk is given space back in pieces of so many bytes. Less than a block frees nothing.
const GRAIN: u64 = 64 * 1024;

/// A run of output in a file that is written round and round.
#[derive(Debug)]
pub struct Spill {
    file: Option<File>,
    capacity: u64,
    start: Offset,
    end: Offset,
}

impl Spill {
    /// Keeps at most `capacity` bytes in `file`; none at all without one.
    #[must_use]
    pub fn new(file: Option<File>, capacity: u64) -> Self {
        Self { file, capacity, start: Offset::ZERO, end: Offset::ZERO }
    }

    /// A file without a name in /tmp, where nobody handed one in and the file system knows how.
    #[must_use]
    pub fn nameless_file() -> Option<File> {
        let mut options = File::options();
        options.read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE);
        options.open("/tmp").ok()
    }

    /// The oldest byte that it holds.
    #[must_use]
    pub fn start(&self) -> Offset {
        self.start
    }

    /// Where what it holds ends.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Adds `bytes` that lie at `at`. Where they don't follow on what it holds, that is dropped
    /// first; where they don't fit, the oldest make room.
    ///
    /// # Errors
    /// Where the disk is full: the oldest made room before their time. Where the file cannot take
    /// them at all (a disk that stays full, none there): it holds nothing then.
    pub fn append(&mut self, at: Offset, bytes: &[u8]) -> io::Result<()> {
        if at != self.end || self.is_empty() {
            (self.start, self.end) = (at, at);
        }
        let Some(file) = &self.file else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there is no spill file"));
        };
        let end = at.plus(bytes.len() as u64);
        if end.since(self.start) > self.capacity {
            self.start = self.start.plus(end.since(self.start) - self.capacity);
        }
        let mut shortage = Ok(());
        for (position, piece) in pieces(at, bytes.len(), self.capacity) {
            while let Err(error) = file.write_all_at(&bytes[piece.clone()], position) {
                let oldest = self.oldest_grain();
                if !is_full(&error)
                    || oldest == 0
                    || give_back(file, self.start.get() % self.capacity, oldest).is_err()
                {
                    self.clear();
                    return Err(error);
                }
                self.start = self.start.plus(oldest);
                shortage = Err(error);
            }
        }
        self.end = end;
        shortage
    }

    /// Appends up to `max` bytes from `from` on to `into`; none where it holds none there.
    ///
    /// # Errors
    /// Where the file cannot be read: it holds nothing then.
    pub fn read(&mut self, from: Offset, max: usize, into: &mut Vec<u8>) -> io::Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| from >= self.start && from < self.end)
        else {
            return Ok(());
        };
        let len = (self.end.since(from)).min(max as u64) as usize;
        let before = into.len();
        into.resize(before + len, 0);
        for (position, piece) in pieces(from, len, self.capacity) {
            if let Err(error) = file.read_exact_at(&mut into[before..][piece], position) {
                into.truncate(before);
                self.clear();
                return Err(error);
            }
        }
        Ok(())
    }

    /// How many of the oldest bytes lie in one grain of the file.
    fn oldest_grain(&self) -> u64 {
        let position = self.start.get() % self.capacity;
        let edge = (position / GRAIN + 1).saturating_mul(GRAIN).min(self.capacity);
        (edge - position).min(self.end.since(self.start))
    }

    /// Drops all that it holds, and gives the disk its space back.
    pub fn clear(&mut self) {
        if let Some(file) = &self.file {
            // What cannot be cut off stays bounded by the capacity, and is overwritten later.
            let _ = file.set_len(0);
        }
        self.start = self.end;
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Gives the disk back what `len` bytes from a position on take.
fn give_back(file: &File, position: u64, len: u64) -> nix::Result<()> {
    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    // No file has more.
    let [position, len] = [position, len].map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    fallocate(file, hole, position, len)
}

/// Where `len` bytes at `at` lie in a file that is written round and round: position, and which of
/// the bytes. The second piece is empty unless they go over the edge. `len` is at most `capacity`.
fn pieces(at: Offset, len: usize, capacity: u64) -> [(u64, std::ops::Range<usize>); 2] {
    let position = at.get() % capacity;
    let first = (capacity - position).min(len as u64) as usize;
    [(position, 0..first), (0, first..len)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    proptest! {
        #[test]
        fn it_gives_back_the_newest_bytes_that_it_was_given(
            sizes in proptest::collection::vec(1usize..100, 1..40), from in 0u64..2000
        ) {
            const CAPACITY: u64 = 256;
            let mut spill = Spill::new(Some(tempfile::tempfile().unwrap()), CAPACITY);
            let mut all = Vec::new();
            for (n, len) in sizes.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..len).map(|i| (i * 3 + n * 11) as u8).collect();
                spill.append(at(all.len() as u64), &bytes).unwrap();
                all.extend(bytes);
            }
            prop_assert_eq!(spill.end().get() as usize, all.len());
            prop_assert_eq!(spill.end().since(spill.start()), CAPACITY.min(all.len() as u64));
            let from = spill.start().get() + from % CAPACITY;
            let mut read = Vec::new();
            spill.read(at(from), 100, &mut read).unwrap();
            let from = (from as usize).min(all.len());
            prop_assert_eq!(&read[..], &all[from..(from + 100).min(all.len())]);
        }
    }

    #[test]
    fn what_does_not_follow_on_replaces_what_it_held() {
        let mut spill = Spill::new(Some(tempfile::tempfile().unwrap()), 256);
        spill.append(at(0), b"old").unwrap();
        spill.append(at(10), b"new").unwrap();
        assert_eq!((spill.start(), spill.end()), (at(10), at(13)));
        spill.clear();
        assert!(spill.is_empty());
        assert_eq!(spill.file.as_ref().unwrap().metadata().unwrap().len(), 0);
    }

    #[test]
    fn a_disk_that_takes_nothing_leaves_it_empty_and_says_so() {
        let full = File::options().read(true).write(true).open("/dev/full").unwrap();
        let mut spill = Spill::new(Some(full), 256);
        assert!(spill.append(at(0), b"bytes").is_err());
        assert!(spill.is_empty());
        assert!(Spill::new(None, 256).append(at(0), b"bytes").is_err());
    }

    #[test]
    fn a_full_disk_costs_the_oldest_bytes_before_their_time_and_no_others() {
        const DISK: usize = 256 * 1024;
        const CAPACITY: u64 = 300_000;
        let place = tempfile::tempdir().unwrap();
        // Mounted for this thread alone, and gone with it.
        let Ok(disk) = mount_for_this_thread(place.path(), DISK) else {
            println!("left out: this process may not mount a small disk");
            return;
        };
        let mut spill = Spill::new(Some(disk), CAPACITY);
        let (mut all, mut shortages) = (Vec::new(), 0);
        for n in 0..200_usize {
            let bytes: Vec<u8> = (0..1 + n * 7919 % 20_000).map(|i| (i * 3 + n) as u8).collect();
            shortages += u32::from(spill.append(at(all.len() as u64), &bytes).is_err());
            all.extend(bytes);
            assert_eq!(spill.end().get() as usize, all.len());
            let (start, mut read) = (spill.start().get() as usize, Vec::new());
            let kept = all.len() - start;
            assert!(kept >= all.len().min(DISK / 2), "{kept} bytes of {} are kept", all.len());
            spill.read(at(start as u64), kept, &mut read).unwrap();
            assert!(read == all[start..], "what is kept is what was given, from {start}");
        }
        assert!(shortages > 10, "the disk was never full");
    }

    fn mount_for_this_thread(place: &std::path::Path, bytes: usize) -> nix::Result<File> {
        use nix::mount::{MsFlags, mount};
        const NONE: Option<&str> = None;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        let size = format!("size={bytes}");
        mount(NONE, place, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()))?;
        let mut options = File::options();
        options.read(true).write(true).custom_flags(libc::O_TMPFILE);
        let file = options.open(place).expect("a file on a disk of its own");
        // Held by the file alone from here on, so that the folder can be removed.
        nix::mount::umount2(place, nix::mount::MntFlags::MNT_DETACH)?;
        Ok(file)
    }
}
