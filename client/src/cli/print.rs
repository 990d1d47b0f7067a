//! Printing: results on standard output, and words about them on standard error. Knows nothing of
//! what is said.

use std::io::Write;

use serde::Serialize;

use super::Failure;

/// Prints a result for programs.
pub fn json(value: &impl Serialize) -> Result<u8, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(e.to_string()))?;
    print(&format!("{text}\n"))
}

/// Prints a result; a reader who has left is no failure.
pub fn print(text: &str) -> Result<u8, Failure> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(0),
    }
}

/// Says something beside the result. Where nobody can hear it, it is left unsaid: a terminal that
/// is gone must not keep the command from its work, nor change its exit status.
pub fn aside(text: &str) {
    let mut out = std::io::stderr();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
