//! Writes PEM (RFC 7468). Knows not what is in it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Characters on a line.
const LINE: usize = 64;

/// Bytes under a label.
pub(super) fn of(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // All of it is ASCII.
        let (line, more) = rest.split_at(LINE.min(rest.len()));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}
