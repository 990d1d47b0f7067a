//! A task's log: what bwrap and the bridge wrote to stdout and stderr. Knows no processes.
//!
//! The file is written by somebody who does not know that it is bounded, perhaps without a gateway
//! to look after it. Whoever looks gives all but its end back to the filesystem, as a hole.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};

/// Room on disk at which a log is cut, in bytes.
const CUT_AT: u64 = 1 << 20;
/// What is left of it then.
const KEPT: u64 = 64 << 10;
/// What a caller is shown.
const TAIL: u64 = 4 << 10;

/// Opens a log for its writer: whatever is written goes to its end.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)
}

/// The last lines of a log, at most 4 KiB; empty where there is none.
pub(super) fn tail(path: &Path) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        file.seek(SeekFrom::Start(size.saturating_sub(TAIL)))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    // Control characters of a hostile task are no business of an operator's terminal.
    let shown: String = String::from_utf8_lossy(&bytes)
        .chars()
        .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
        .collect();
    let cut = shown.len().saturating_sub(TAIL as usize);
    let start = (cut..=shown.len()).find(|&at| shown.is_char_boundary(at)).unwrap_or(0);
    shown[start..].trim_end().to_owned()
}

/// Gives back the room of all but the newest part of a log that has grown large.
pub(super) fn cut(path: &Path) -> io::Result<()> {
    let file = match OpenOptions::new().write(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let found = file.metadata()?;
    if found.blocks().saturating_mul(512) <= CUT_AT {
        return Ok(());
    }
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(&file, hole, 0, found.size().saturating_sub(KEPT)) {
        // A filesystem without holes: everything goes.
        Err(rustix::io::Errno::OPNOTSUPP) => file.set_len(0),
        result => result.map_err(io::Error::from),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_that_was_cut_keeps_its_end_and_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut writer = open(&path).unwrap();
        writer.write_all(&vec![b'x'; 3 << 20]).unwrap();
        writer.write_all(b"\nthe end\n").unwrap();
        cut(&path).unwrap();
        assert!(tail(&path).ends_with("\nthe end"));
        assert!(std::fs::metadata(&path).unwrap().blocks() * 512 <= CUT_AT);
        writer.write_all(b"and on\n").unwrap();
        assert!(tail(&path).ends_with("\nthe end\nand on"));
    }

    #[test]
    fn a_tail_is_short_and_has_no_control_characters() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        open(&path).unwrap().write_all(&b"\x1b]0;x\xff\x07".repeat(2000)).unwrap();
        let tail = tail(&path);
        assert!(tail.len() <= TAIL as usize && !tail.contains('\x1b'), "{tail}");
        assert_eq!(super::tail(&directory.path().join("none")), "");
    }
}
