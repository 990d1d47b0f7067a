//! The stream of bytes below a link: a Unix socket, or TCP. Knows nothing of what crosses it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{Shutdown, setsockopt, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use crate::config::DialTo;
use crate::descriptor::Descriptor;

/// What the kernel may hold of what was written to the gateway, in bytes; it takes twice as much for
/// its own accounts. A network would let it grow to megabytes, and a machine's default for Unix
/// sockets (`net.core.wmem_default`) may be as large.
const SEND_BUFFER: usize = 128 * 1024;

/// Before a socket at which too many wait is tried again. A place is free for microseconds only, as
/// long as somebody fights for it.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// A connection to a gateway.
#[derive(Debug)]
pub struct Cable(Descriptor);

impl Cable {
    /// Connects, however long it takes to be let in.
    ///
    /// # Errors
    /// The operating system's.
    pub async fn connect(to: &DialTo) -> io::Result<Self> {
        let socket: OwnedFd = match to {
            DialTo::Unix(path) => connect_local(path).await?.into_std()?.into(),
            DialTo::Tcp(host) => {
                let stream = TcpStream::connect(host).await?;
                stream.set_nodelay(true)?;
                stream.into_std()?.into()
            }
        };
        setsockopt(&socket, SndBuf, &SEND_BUFFER)?;
        Descriptor::new(socket).map(Self)
    }

    /// Whether something may have arrived.
    pub fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_arrival(cx)
    }
}

/// Connects to a socket of this machine. Where too many wait there already (a program inside may see
/// to that), the kernel says so at once instead of waiting, as it would on a network.
async fn connect_local(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(FULL_PAUSE).await,
            connected => return connected,
        }
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = ready!(self.0.poll_read(cx, into.initialize_unfilled()))?;
        into.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(shutdown(self.0.as_fd().as_raw_fd(), Shutdown::Write)?))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use nix::sys::socket::getsockopt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn what_the_kernel_holds_of_a_cable_is_little_over_either_kind_of_socket() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("dial.sock");
        let _local = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let network = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = network.local_addr().unwrap().to_string();
        let local = Cable::connect(&DialTo::Unix(path)).await.unwrap();
        let network = Cable::connect(&DialTo::Tcp(address)).await.unwrap();
        // The kernel may allow less, and counts double.
        let most: usize =
            std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap().trim().parse().unwrap();
        for cable in [local, network] {
            let buffer = getsockopt(&cable.0, SndBuf).unwrap();
            assert_eq!(buffer, 2 * SEND_BUFFER.min(most));
        }
    }

    #[tokio::test]
    async fn where_too_many_wait_to_be_let_in_a_cable_waits_too() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("dial.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            match UnixStream::connect(&path).await {
                Ok(one) => waiting.push(one),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let dial = DialTo::Unix(path);
        let mut cable = Box::pin(Cable::connect(&dial));
        assert!(futures_util::poll!(&mut cable).is_pending());
        listener.accept().unwrap();
        cable.await.unwrap();
    }

    #[tokio::test]
    async fn a_cable_over_a_network_carries_both_ways_and_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let peer = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = [0; 5];
            stream.read_exact(&mut heard).unwrap();
            stream.write_all(&heard).unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap()
        });
        let mut cable = Cable::connect(&DialTo::Tcp(address.to_string())).await.unwrap();
        cable.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        cable.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
        cable.shutdown().await.unwrap();
        assert_eq!(cable.read(&mut heard).await.unwrap(), 0);
        assert_eq!(peer.join().unwrap(), 0);
    }
}
