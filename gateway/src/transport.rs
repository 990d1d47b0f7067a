//! The byte streams below both legs' WebSockets, read through buffers that are lent, not owned.
//! Knows nothing of what the bytes mean.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use nix::sys::socket::sockopt::{
    KeepAlive, RcvBuf, SndBuf, TcpKeepCount, TcpKeepIdle, TcpKeepInterval, TcpUserTimeout,
};
use nix::sys::socket::{SetSockOpt, setsockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{TlsStream, client, server};

/// Size of a lent read buffer, in bytes: two of the largest messages of the link leg.
const LENT: usize = 128 * 1024;

/// Buffers that a worker thread keeps for the next reader. One is in use at a time while messages
/// arrive whole; the others serve connections whose message was cut by a read.
const KEPT: usize = 16;

/// What the kernel may hold for a client in each direction, in bytes; it takes twice as much for its
/// own accounts. What lies there is not in the gateway's, so it is little.
const CLIENT_BUFFER: usize = 256 * 1024;

/// What it may hold of what was written to a bridge, whatever the machine's default
/// (`net.core.wmem_default`) is. The other direction is the bridge's to limit on a Unix socket, which
/// holds everything on the writer's account.
const LINK_BUFFER: usize = 128 * 1024;

thread_local! {
    static POOL: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer that is lent while it holds bytes.
#[derive(Debug)]
pub(crate) struct Lent {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Lent {
    pub fn new() -> Self {
        let kept = POOL.with_borrow_mut(Vec::pop);
        let buffer = kept.unwrap_or_else(|| vec![0; LENT].into_boxed_slice());
        Self { buffer, from: 0, to: 0 }
    }

    /// Where bytes may be read into.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// So many bytes were.
    pub fn holds(&mut self, len: usize) {
        (self.from, self.to) = (0, len);
    }

    /// The bytes that are left.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    /// So many of them were taken: whether none is left.
    pub fn advance(&mut self, len: usize) -> bool {
        self.from += len;
        self.from >= self.to
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        POOL.with_borrow_mut(|pool| {
            if pool.len() < KEPT {
                pool.push(buffer);
            }
        });
    }
}

/// What the operating system carries the bytes over.
#[derive(Debug)]
enum Carrier {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// Within TLS, which asks for a few KiB at a time: what is below reads in large pieces, too.
    Tls(Box<TlsStream<Transport>>),
}

/// A connection that reads from the system in large pieces without owning a large buffer: an idle
/// one costs nothing, and a flood takes one system call for 128 KiB.
#[derive(Debug)]
pub struct Transport {
    carrier: Carrier,
    lent: Option<Lent>,
}

impl From<TcpStream> for Transport {
    fn from(stream: TcpStream) -> Self {
        limit(&stream, SndBuf, CLIENT_BUFFER);
        limit(&stream, RcvBuf, CLIENT_BUFFER);
        Self { carrier: Carrier::Tcp(stream), lent: None }
    }
}

impl From<UnixStream> for Transport {
    fn from(stream: UnixStream) -> Self {
        limit(&stream, SndBuf, LINK_BUFFER);
        Self { carrier: Carrier::Unix(stream), lent: None }
    }
}

impl From<server::TlsStream<Transport>> for Transport {
    fn from(stream: server::TlsStream<Transport>) -> Self {
        Self { carrier: Carrier::Tls(Box::new(stream.into())), lent: None }
    }
}

impl From<client::TlsStream<Transport>> for Transport {
    fn from(stream: client::TlsStream<Transport>) -> Self {
        Self { carrier: Carrier::Tls(Box::new(stream.into())), lent: None }
    }
}

/// Has the kernel find out that another machine is gone where nothing is said for a while: a minute
/// later the connection breaks.
pub fn keep_alive(stream: &TcpStream) {
    let set = setsockopt(stream, KeepAlive, &true)
        .and_then(|()| setsockopt(stream, TcpKeepIdle, &20))
        .and_then(|()| setsockopt(stream, TcpKeepInterval, &10))
        .and_then(|()| setsockopt(stream, TcpKeepCount, &4));
    if let Err(error) = set {
        tracing::debug!(%error, "a connection keeps its timeouts");
    }
}

fn limit(stream: &impl AsFd, which: impl SetSockOpt<Val = usize>, buffer: usize) {
    if let Err(error) = setsockopt(stream, which, &buffer) {
        tracing::debug!(%error, "a connection keeps its buffers");
    }
}

impl Transport {
    /// A connection over a network to a bridge, or to another gateway, before it is within TLS.
    #[must_use]
    pub fn of_link(stream: TcpStream) -> Self {
        limit(&stream, SndBuf, LINK_BUFFER);
        limit(&stream, RcvBuf, LINK_BUFFER);
        Self { carrier: Carrier::Tcp(stream), lent: None }
    }

    /// Breaks the connection once what was written has lain unread for so long: by then the peer is
    /// gone, or does not read. On one machine it can't be gone, and its socket's buffer is small.
    pub fn give_up_after(&self, unread: Duration) {
        let stream = match &self.carrier {
            Carrier::Tcp(stream) => stream,
            Carrier::Unix(_) => return,
            Carrier::Tls(stream) => return stream.get_ref().0.give_up_after(unread),
        };
        let millis = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
        let set = setsockopt(stream, TcpUserTimeout, &millis);
        if let Err(error) = set {
            tracing::debug!(%error, "a connection keeps its timeouts");
        }
    }

    /// Hands out what the lent buffer still has; gives the buffer back once it is empty.
    fn serve(&mut self, out: &mut ReadBuf<'_>) -> bool {
        let Some(lent) = &mut self.lent else { return false };
        let rest = lent.rest();
        let len = out.remaining().min(rest.len());
        out.put_slice(&rest[..len]);
        if lent.advance(len) {
            self.lent = None;
        }
        true
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.serve(out) {
            return Poll::Ready(Ok(()));
        }
        // A reader with room of its own needs none of ours.
        if out.remaining() >= LENT {
            return poll_carrier(&mut this.carrier, cx, out);
        }
        let mut lent = Lent::new();
        let mut read = ReadBuf::new(lent.room());
        let polled = poll_carrier(&mut this.carrier, cx, &mut read);
        let len = read.filled().len();
        if len > 0 && matches!(polled, Poll::Ready(Ok(()))) {
            lent.holds(len);
            this.lent = Some(lent);
            this.serve(out);
        }
        polled
    }
}

fn poll_carrier(
    carrier: &mut Carrier,
    cx: &mut Context<'_>,
    out: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match carrier {
        Carrier::Tcp(stream) => Pin::new(stream).poll_read(cx, out),
        Carrier::Unix(stream) => Pin::new(stream).poll_read(cx, out),
        Carrier::Tls(stream) => Pin::new(stream).poll_read(cx, out),
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Carrier::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Carrier::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Carrier::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.carrier {
            Carrier::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Carrier::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Carrier::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn small_reads_see_every_byte_of_a_large_one() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let sent: Vec<u8> = (0..100_000u32).flat_map(u32::to_be_bytes).collect();
        let expected = sent.clone();
        let writer = async {
            theirs.write_all(&sent).await.expect("written");
            drop(theirs);
        };
        let reader = async {
            let mut transport = Transport::from(ours);
            let (mut got, mut piece) = (Vec::new(), [0; 777]);
            loop {
                match transport.read(&mut piece).await.expect("read") {
                    0 => return (got, transport.lent.is_none()),
                    n => got.extend_from_slice(&piece[..n]),
                }
            }
        };
        let ((), (got, given_back)) = tokio::join!(writer, reader);
        assert!(got == expected);
        assert!(given_back);
    }

    #[tokio::test]
    async fn what_the_kernel_holds_is_little_whatever_the_machines_default_is() {
        // More than any machine gives: it gives its most.
        let large = 1 << 30;
        let (ours, _theirs) = UnixStream::pair().expect("a pair of sockets");
        setsockopt(&ours, SndBuf, &large).expect("set");
        let Carrier::Unix(ours) = &Transport::from(ours).carrier else { panic!("not the link") };
        assert!(getsockopt(ours, SndBuf).expect("known") <= 2 * LINK_BUFFER);

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let there = TcpStream::connect(listener.local_addr().expect("an address"));
        let (ours, _theirs) = tokio::join!(there, listener.accept());
        let ours = ours.expect("connected");
        setsockopt(&ours, SndBuf, &large).expect("set");
        setsockopt(&ours, RcvBuf, &large).expect("set");
        let Carrier::Tcp(ours) = &Transport::from(ours).carrier else { panic!("not a client") };
        assert!(getsockopt(ours, SndBuf).expect("known") <= 2 * CLIENT_BUFFER);
        assert!(getsockopt(ours, RcvBuf).expect("known") <= 2 * CLIENT_BUFFER);
    }
}
