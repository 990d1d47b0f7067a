//! This process's terminal: raw mode, and back on every way out. Knows no session.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use shellgate_protocol::TerminalSize;

/// The terminal's settings as they were found, while they are changed. A process has one terminal.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// Raw mode for as long as this lives.
pub struct Raw(());

impl Raw {
    /// Switches standard input to raw mode, if it is a terminal.
    pub fn switch() -> Option<Self> {
        static HOOK: std::sync::Once = std::sync::Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                before(panic);
            }));
        });
        again().then_some(Self(()))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

/// Raw mode once more, after [`restore`]. Says whether there is a terminal for it.
pub fn again() -> bool {
    let stdin = std::io::stdin();
    let Ok(found) = tcgetattr(&stdin) else { return false };
    let mut raw = found.clone();
    raw.make_raw();
    FOUND.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
    tcsetattr(&stdin, OptionalActions::Drain, &raw).is_ok()
}

/// The settings as they were found. Does nothing where they are not changed.
pub fn restore() {
    if let Some(found) = FOUND.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs no settings.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &found);
    }
}

/// The size of the terminal that is written to, or typed at.
pub fn size() -> Option<TerminalSize> {
    let of_output = tcgetwinsize(std::io::stdout()).or_else(|_| tcgetwinsize(std::io::stdin()));
    let size = of_output.ok()?;
    TerminalSize::new(size.ws_col.min(1000), size.ws_row.min(1000))
}

/// Stops this process as a person's `^Z` would, until it is continued.
pub fn suspend() {
    restore();
    // A process that cannot stop goes on.
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TSTP);
    again();
}

/// Has reads and writes wait. Whoever shares the terminal or a pipe may have left it otherwise; then
/// output would fail where it cannot go out at once.
pub fn waits() {
    // What is closed, or knows no such setting, waits for nothing.
    let _ = rustix::io::ioctl_fionbio(std::io::stdin(), false);
    let _ = rustix::io::ioctl_fionbio(std::io::stdout(), false);
}

/// Whether a person types.
pub fn is_typed_at() -> bool {
    std::io::stdin().is_terminal()
}

/// Whether a person looks.
pub fn is_looked_at() -> bool {
    std::io::stdout().is_terminal()
}
