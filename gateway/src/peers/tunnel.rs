//! The bytes of a client whose session another gateway keeps: from its connection to that gateway's,
//! and back, as they are. Owns a buffer only while it has bytes that the other side does not take.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::transport::{Lent, Transport};

/// How long one side may go on after the other has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What was read from one side and is not yet written to the other.
struct Way {
    held: Option<Lent>,
    is_over: bool,
}

impl Way {
    /// One from which this was read before.
    fn after(read: &[u8]) -> io::Result<Self> {
        let mut held = Lent::new();
        let room = held.room().get_mut(..read.len()).ok_or(io::ErrorKind::OutOfMemory)?;
        room.copy_from_slice(read);
        held.holds(read.len());
        Ok(Self { held: (!read.is_empty()).then_some(held), is_over: false })
    }

    /// Moves what can be moved. Ready once `from` has ended and `to` was told so.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Transport,
        to: &mut Transport,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(held) = &mut self.held {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, held.rest()))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                if held.advance(written) {
                    self.held = None;
                }
            }
            if self.is_over {
                return Pin::new(to).poll_shutdown(cx);
            }
            let mut lent = Lent::new();
            let mut read = ReadBuf::new(lent.room());
            match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) => {
                    let len = read.filled().len();
                    self.is_over = len == 0;
                    if len > 0 {
                        lent.holds(len);
                        self.held = Some(lent);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // What was gathered leaves before this waits.
                    ready!(Pin::new(&mut *to).poll_flush(cx))?;
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Carries bytes both ways until both sides have ended, or one has and the other is not soon to. Of
/// each side some may have been read before.
///
/// # Errors
/// Where a connection breaks.
pub async fn carry(
    (mut client, said): (Transport, Vec<u8>),
    (mut peer, answered): (Transport, Vec<u8>),
) -> io::Result<()> {
    let (mut up, mut down) = (Way::after(&said)?, Way::after(&answered)?);
    let up_ended = poll_fn(|cx| {
        if up.poll(cx, &mut client, &mut peer)?.is_ready() {
            return Poll::Ready(Ok::<_, io::Error>(true));
        }
        down.poll(cx, &mut peer, &mut client).map_ok(|()| false)
    });
    // Neither WebSocket goes on for long after that: what is left is its close.
    let rest = match up_ended.await? {
        true => timeout(LAST_WORDS, poll_fn(|cx| down.poll(cx, &mut peer, &mut client))).await,
        false => timeout(LAST_WORDS, poll_fn(|cx| up.poll(cx, &mut client, &mut peer))).await,
    };
    rest.unwrap_or(Ok(()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn every_byte_comes_out_at_the_other_end_also_where_nobody_reads_for_a_while() {
        let (mut client, ours) = UnixStream::pair().unwrap();
        let (mut gateway, theirs) = UnixStream::pair().unwrap();
        let ours = (Transport::from(ours), b"early ".to_vec());
        let carried = carry(ours, (Transport::from(theirs), Vec::new()));
        let sent: Vec<u8> = (0..500_000u32).flat_map(u32::to_be_bytes).collect();
        let expected = sent.clone();
        let story = async {
            client.write_all(b"GET").await.unwrap();
            let mut heard = [0; 9];
            gateway.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, b"early GET");
            let writes = async {
                gateway.write_all(&sent).await.unwrap();
                gateway.shutdown().await.unwrap();
            };
            let reads = async {
                // The other side has written what fits before anybody reads.
                client.readable().await.unwrap();
                let mut got = Vec::new();
                client.read_to_end(&mut got).await.unwrap();
                client.shutdown().await.unwrap();
                got
            };
            let got = tokio::join!(writes, reads).1;
            assert_eq!(gateway.read(&mut [0]).await.unwrap(), 0);
            got
        };
        let (carried, got) = tokio::join!(carried, story);
        carried.unwrap();
        assert!(got == expected);
    }
}
