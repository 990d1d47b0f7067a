//! A descriptor that is read as bytes arrive, and written to without waiting. Knows nothing of what
//! crosses it.
//!
//! It is registered for arrivals only. Registered for room as well, all that the other side takes
//! would be an event: a wake-up with nothing to do, twice for each key. Room is waited for only
//! where the kernel has said that there is none.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::uio::writev;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The most that Linux gives of a terminal in one read.
const TERMINAL_READ_MAX: usize = 4095;

/// A descriptor to read from, and perhaps to write to.
#[derive(Debug)]
pub struct Descriptor {
    arrivals: AsyncFd<OwnedFd>,
    room: Room,
}

impl Descriptor {
    /// Takes a descriptor, which does not block from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        never_blocks(&descriptor)?;
        let arrivals = registered(descriptor, Interest::READABLE)?;
        Ok(Self { arrivals, room: Room::default() })
    }

    /// Whether something may have arrived.
    pub fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.arrivals.poll_read_ready(cx).map(|_| ())
    }

    /// Reads; 0 bytes at the end.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.arrivals.poll_read_ready(cx))?;
            match nix::unistd::read(self.arrivals.get_ref(), into) {
                Ok(read) => {
                    // That was all. What arrives from now on is a new event, so there is no need to
                    // be told by another read that there is nothing.
                    if 0 < read && read < into.len().min(TERMINAL_READ_MAX) {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(read));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let was_closed = ready.ready().is_read_closed();
                    ready.clear_ready();
                    if was_closed {
                        // A terminal that everybody had closed is open again. A registration never
                        // forgets that its other side was closed, and calls it ready for good.
                        let again = self.arrivals.get_ref().try_clone()?;
                        self.arrivals = registered(again, Interest::READABLE)?;
                    }
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Writes; tells how much of it the kernel took.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.room.poll_write(cx, self.arrivals.get_ref(), bytes)
    }

    /// Writes pieces that belong together; tells how much of them the kernel took.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let len = pieces.iter().map(|piece| piece.len()).sum();
        self.room.poll(cx, self.arrivals.get_ref(), len, |to| writev(to, pieces))
    }
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.arrivals.get_ref().as_fd()
    }
}

/// A descriptor that is only written to.
#[derive(Debug)]
pub struct Outlet {
    descriptor: OwnedFd,
    room: Room,
}

impl Outlet {
    /// Takes a descriptor, which does not block from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        never_blocks(&descriptor)?;
        Ok(Self { descriptor, room: Room::default() })
    }

    /// Writes; tells how much of it the kernel took.
    ///
    /// # Errors
    /// The kernel's.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.room.poll_write(cx, &self.descriptor, bytes)
    }
}

/// Where a writer waits while its descriptor takes no more.
#[derive(Debug, Default)]
struct Room(Option<AsyncFd<OwnedFd>>);

impl Room {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        to: &OwnedFd,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(cx, to, bytes.len(), |to| nix::unistd::write(to, bytes))
    }

    /// Writes `len` bytes by `write`.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        to: &OwnedFd,
        len: usize,
        write: impl Fn(&OwnedFd) -> nix::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = match &self.0 {
                Some(waiting) => Some(ready!(waiting.poll_write_ready(cx))?),
                None => None,
            };
            match write(to) {
                Ok(written) => {
                    // A writer that goes on asks anew, and finds out as it did before.
                    if written == len {
                        self.0 = None;
                    }
                    return Poll::Ready(Ok(written));
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => match &mut ready {
                    Some(ready) => ready.clear_ready(),
                    // A number of its own: no descriptor can be registered twice under one.
                    None => self.0 = Some(registered(to.try_clone()?, Interest::WRITABLE)?),
                },
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

fn never_blocks(descriptor: &OwnedFd) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(descriptor, FcntlArg::F_GETFL)?);
    fcntl(descriptor, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[allow(unsafe_code)]
fn registered(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` stays the same open descriptor until it is dropped, and the `AsyncFd` is
    // its only owner.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, interest) }?)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use nix::pty::openpty;

    use super::*;

    async fn read(descriptor: &mut Descriptor) -> Vec<u8> {
        let mut into = [0; 64 * 1024];
        let len = poll_fn(|cx| descriptor.poll_read(cx, &mut into)).await.unwrap();
        into[..len].to_vec()
    }

    fn pending(descriptor: &mut Descriptor) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        descriptor.poll_read(&mut cx, &mut [0; 16]).is_pending()
    }

    #[tokio::test]
    async fn what_arrives_after_a_short_read_is_seen() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let mut ours = Descriptor::new(ours.into()).unwrap();
        for n in 0..100_u8 {
            theirs.write_all(&[n; 3]).unwrap();
            assert_eq!(read(&mut ours).await, [n; 3]);
            assert!(pending(&mut ours));
        }
        drop(theirs);
        assert_eq!(read(&mut ours).await, b"");
    }

    #[tokio::test]
    async fn a_full_descriptor_is_written_on_when_there_is_room() {
        let (mut theirs, ours) = UnixStream::pair().unwrap();
        let mut ours = Descriptor::new(ours.into()).unwrap();
        let all = vec![b'x'; 4 << 20];
        let reader = std::thread::spawn(move || {
            let mut read = vec![0; 4 << 20];
            theirs.read_exact(&mut read).unwrap();
            (theirs, read)
        });
        let mut left = &all[..];
        while !left.is_empty() {
            let taken = poll_fn(|cx| ours.poll_write(cx, left)).await.unwrap();
            left = &left[taken..];
        }
        let (theirs, read) = reader.join().unwrap();
        assert!(read == all);
        assert!(ours.room.0.is_none(), "nobody waits for room that is there");
        drop(theirs);
        let broken = poll_fn(|cx| ours.poll_write(cx, b"x")).await.unwrap_err();
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_terminal_that_is_opened_again_is_not_ready_for_good() {
        let pty = openpty(None, None).unwrap();
        let name = nix::unistd::ttyname(&pty.slave).unwrap();
        let mut master = Descriptor::new(pty.master).unwrap();
        drop(pty.slave);
        let closed = poll_fn(|cx| master.poll_read(cx, &mut [0; 16])).await.unwrap_err();
        assert_eq!(closed.raw_os_error(), Some(libc::EIO));
        let mut slave = std::fs::File::options().read(true).write(true).open(name).unwrap();
        assert!(pending(&mut master));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(master.poll_arrival(&mut cx).is_pending());
        slave.write_all(b"back").unwrap();
        assert_eq!(read(&mut master).await, b"back");
    }
}
