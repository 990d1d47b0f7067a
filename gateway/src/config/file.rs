//! Small files that settings name: read whole, and only where they are what they should be. Knows
//! not what is in them.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Largest file with a key or with certificates, in bytes: a certificate chain is smaller.
const LARGEST: u64 = 64 * 1024;

/// Reads a key's or a certificate's file; a `secret` one only where it is closed to others. Its
/// content is in no message.
pub(crate) fn read(path: &Path, secret: bool) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    let file = std::fs::File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if secret && mode & 0o077 != 0 {
        return Err(format!("{} is open to others (mode {:04o})", path.display(), mode & 0o7777));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("{} is larger than any key", path.display()));
    }
    Ok(bytes)
}
