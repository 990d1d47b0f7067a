//! The stream of bytes below a link: a Unix socket, or TLS over TCP. Knows nothing of what crosses
//! it, but what tells it from every other stream.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use nix::sys::socket::sockopt::SndBuf;
use nix::sys::socket::{Shutdown, setsockopt, shutdown};
use shellgate_protocol::enrolment::{BINDING_LABEL, Bytes32};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{DialTo, Remote};
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
pub enum Cable {
    /// Within this machine, as it is.
    Bare(Wire),
    /// Over a network, within TLS.
    Sealed(Box<TlsStream<Wire>>),
}

/// A socket.
#[derive(Debug)]
pub struct Wire(Descriptor);

impl Cable {
    /// Connects, however long it takes to be let in. Over a network nothing is sent before the
    /// other end has shown that it is the gateway.
    ///
    /// # Errors
    /// The operating system's, or TLS's.
    pub async fn connect(to: &DialTo) -> io::Result<Self> {
        match to {
            DialTo::Unix(path) => {
                let wire = Wire::new(connect_local(path).await?.into_std()?.into())?;
                Ok(Self::Bare(wire))
            }
            DialTo::Network(Remote { address, name, trust }) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let wire = Wire::new(stream.into_std()?.into())?;
                let tls = TlsConnector::from(trust.clone());
                Ok(Self::Sealed(Box::new(tls.connect(name.clone(), wire).await?)))
            }
        }
    }

    /// What only the two ends of this one channel know; nothing where there is no TLS.
    ///
    /// # Errors
    /// Never once it is connected.
    pub fn binding(&self) -> io::Result<Option<Bytes32>> {
        match self {
            Self::Bare(_) => Ok(None),
            Self::Sealed(tls) => {
                let (_, tls) = tls.get_ref();
                tls.export_keying_material([0; 32], BINDING_LABEL, Some(&[]))
                    .map(|binding| Some(Bytes32(binding)))
                    .map_err(io::Error::other)
            }
        }
    }

    /// Whether something may have arrived.
    pub fn poll_arrival(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Bare(wire) => wire.0.poll_arrival(cx),
            Self::Sealed(tls) => {
                let (wire, tls) = tls.get_ref();
                // It wants nothing where it holds what nobody has taken yet.
                if tls.wants_read() { wire.0.poll_arrival(cx) } else { Poll::Ready(()) }
            }
        }
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

impl Wire {
    fn new(socket: OwnedFd) -> io::Result<Self> {
        setsockopt(&socket, SndBuf, &SEND_BUFFER)?;
        Descriptor::new(socket).map(Self)
    }
}

impl AsyncRead for Wire {
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

impl AsyncWrite for Wire {
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl AsyncRead for Cable {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(wire) => Pin::new(wire).poll_read(cx, into),
            Self::Sealed(tls) => Pin::new(tls).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Cable {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Bare(wire) => Pin::new(wire).poll_write(cx, bytes),
            Self::Sealed(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(wire) => Pin::new(wire).poll_flush(cx),
            // What it has sealed may be with it still.
            Self::Sealed(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Bare(wire) => Pin::new(wire).poll_shutdown(cx),
            Self::Sealed(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests;
