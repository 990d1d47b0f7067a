//! SIGTERM, by which whoever runs the task asks for its end. A program inside the task cannot send
//! it. Knows nothing of what follows.

use std::io;
use std::task::{Context, Poll, ready};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Where the signal is read.
#[derive(Debug)]
pub struct Dismissal {
    signals: AsyncFd<SignalFd>,
    /// As pid 1 of a namespace of its own the bridge shares it with nobody who may dismiss it.
    from_outside_only: bool,
}

impl Dismissal {
    /// Takes the signal away from its default, for this thread and those that it starts later.
    ///
    /// # Errors
    /// The kernel's.
    #[allow(unsafe_code)]
    pub fn expected() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGTERM);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        // SAFETY: the `SignalFd` owns its descriptor and never gives it away.
        let signals = unsafe { AsyncFd::register_with_interest(signals, Interest::READABLE) }?;
        Ok(Self { signals, from_outside_only: std::process::id() == 1 })
    }

    /// Whether the end was asked for.
    pub fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Ok(mut ready) = ready!(self.signals.poll_read_ready(cx)) else {
                return Poll::Pending;
            };
            match self.signals.get_ref().read_signal() {
                // Who is not in this namespace has no number in it.
                Ok(Some(signal)) if !self.from_outside_only || signal.ssi_pid == 0 => {
                    return Poll::Ready(());
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => ready.clear_ready(),
            }
        }
    }
}
