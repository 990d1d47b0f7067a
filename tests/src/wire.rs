//! What carries bytes between two ends, and how that breaks: the part which all cables share,
//! whatever their plugs are. Knows nothing of what passes.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::transcript::find;
use crate::{DEADLINE, within};

/// What a wire carries at once, in bytes.
const PIECE: usize = 64 * 1024;

/// No cut is planned.
const NEVER: u64 = u64::MAX;

/// One end of a connection.
pub(crate) trait End: AsyncRead + AsyncWrite + AsFd + Send + 'static {}

impl<E: AsyncRead + AsyncWrite + AsFd + Send + 'static> End for E {}

/// What becomes of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct State {
    /// So many times it was cut: connections of an earlier time end.
    cut: u64,
    /// Nothing passes, and nobody is told.
    stalled: bool,
    /// Connections are taken and broken at once.
    unplugged: bool,
    /// The last cut was a reset.
    resets: bool,
}

/// One direction, and what has passed in it.
#[derive(Debug)]
pub(crate) struct Direction {
    passed: AtomicU64,
    /// So many bytes may still pass before it is cut.
    left: AtomicU64,
    /// The words of a message that is lost, and the connection with it.
    loses: Mutex<Option<&'static str>>,
}

/// The part of a cable that its connections share.
pub(crate) struct Wire {
    state: watch::Sender<State>,
    /// From the side that dials in.
    pub(crate) up: Direction,
    /// To the side that dials in.
    pub(crate) down: Direction,
    /// So many connections were carried.
    carried: AtomicU64,
}

impl Default for Direction {
    fn default() -> Self {
        Self { passed: AtomicU64::new(0), left: AtomicU64::new(NEVER), loses: Mutex::new(None) }
    }
}

impl Default for Wire {
    fn default() -> Self {
        let (up, down) = (Direction::default(), Direction::default());
        Self { state: watch::Sender::default(), up, down, carried: AtomicU64::new(0) }
    }
}

impl Wire {
    /// A wire that carries what is accepted on one side to what is dialled on the other, until the
    /// guard is dropped.
    pub(crate) fn plug_in<N: End, F: End, A, D>(
        accept: impl Fn() -> A + Send + Sync + 'static,
        dial: impl Fn() -> D + Send + Sync + 'static,
        tracker: &TaskTracker,
    ) -> (Arc<Self>, DropGuard)
    where
        A: Future<Output = io::Result<N>> + Send + 'static,
        D: Future<Output = io::Result<F>> + Send + 'static,
    {
        let (wire, pulled_out) = (Arc::new(Self::default()), CancellationToken::new());
        let serving = wire.clone().serve(accept, dial, pulled_out.clone(), tracker.clone());
        tracker.spawn(serving);
        (wire, pulled_out.drop_guard())
    }

    /// Breaks all connections. New ones pass.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| {
            state.cut += 1;
            state.resets = false;
        });
    }

    /// Breaks all connections with a reset.
    pub(crate) fn reset(&self) {
        self.state.send_modify(|state| {
            state.cut += 1;
            state.resets = true;
        });
    }

    /// Nothing passes any more in either direction, and neither end is told.
    pub(crate) fn stall(&self) {
        self.state.send_modify(|state| state.stalled = true);
    }

    /// Breaks all connections, and every new one at once.
    pub(crate) fn unplug(&self) {
        self.state.send_modify(|state| {
            state.unplugged = true;
            state.cut += 1;
        });
    }

    /// Everything passes again.
    pub(crate) fn heal(&self) {
        self.state.send_modify(|state| {
            state.stalled = false;
            state.unplugged = false;
        });
    }

    /// How often it was cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.state.borrow().cut
    }

    /// Waits until it has been cut more often than `before`.
    pub(crate) async fn is_cut(&self, before: u64) {
        let mut state = self.state.subscribe();
        let cut = state.wait_for(|state| state.cut > before);
        within("a cable is cut", cut).await.expect("it is there");
    }

    /// How many connections it has carried.
    pub(crate) fn carried(&self) -> u64 {
        self.carried.load(Ordering::SeqCst)
    }

    async fn serve<N: End, F: End, A, D>(
        self: Arc<Self>,
        accept: impl Fn() -> A + Send + Sync,
        dial: impl Fn() -> D + Send + Sync,
        pulled_out: CancellationToken,
        tracker: TaskTracker,
    ) where
        A: Future<Output = io::Result<N>> + Send,
        D: Future<Output = io::Result<F>> + Send + 'static,
    {
        loop {
            let accepted = tokio::select! {
                accepted = accept() => accepted,
                () = pulled_out.cancelled() => return,
            };
            let Ok(near) = accepted else { return };
            let (wire, pulled_out, dialled) = (self.clone(), pulled_out.clone(), dial());
            tracker.spawn(async move {
                // Nobody there: whoever dialled in sees a connection that breaks.
                let Ok(Ok(far)) = tokio::time::timeout(DEADLINE, dialled).await else { return };
                tokio::select! {
                    () = wire.carry(near, far) => {}
                    () = pulled_out.cancelled() => {}
                }
            });
        }
    }

    /// Carries one connection until it ends or is cut.
    async fn carry(&self, near: impl End, far: impl End) {
        let before = *self.state.borrow();
        if before.unplugged {
            return;
        }
        self.carried.fetch_add(1, Ordering::SeqCst);
        // Kept to be closed last: how, is known by then.
        let ends = [near.as_fd().try_clone_to_owned(), far.as_fd().try_clone_to_owned()];
        let mut now = self.state.subscribe();
        let (near_out, near_in) = split(near);
        let (far_out, far_in) = split(far);
        let carried = async move {
            // One direction's end is not the other's, but nobody here half-closes for long.
            tokio::select! {
                () = self.pass(near_out, far_in, &self.up) => {}
                () = self.pass(far_out, near_in, &self.down) => {}
            }
        };
        tokio::select! {
            () = carried => {}
            _ = now.wait_for(|now| now.cut > before.cut) => {}
        }
        let now = *self.state.borrow();
        if now.resets && now.cut > before.cut {
            for end in ends.iter().flatten() {
                // Where that fails both ends see an end instead.
                let _ = set_socket_linger(end, Some(Duration::ZERO));
            }
        }
    }

    async fn pass(
        &self,
        mut from: ReadHalf<impl AsyncRead>,
        mut to: WriteHalf<impl AsyncWrite>,
        way: &Direction,
    ) {
        let mut state = self.state.subscribe();
        let mut piece = vec![0; PIECE];
        loop {
            if state.wait_for(|state| !state.stalled).await.is_err() {
                return;
            }
            let Ok(read @ 1..) = from.read(&mut piece).await else { return };
            // What was read before it stalled waits, too.
            if state.wait_for(|state| !state.stalled).await.is_err() {
                return;
            }
            if way.is_lost(&piece[..read]) {
                return self.cut();
            }
            let passes = way.take(read);
            if to.write_all(&piece[..passes]).await.is_err() || to.flush().await.is_err() {
                return;
            }
            way.passed.fetch_add(passes as u64, Ordering::SeqCst);
            let is_due = way.left.compare_exchange(0, NEVER, Ordering::SeqCst, Ordering::SeqCst);
            // Whoever was cut short passes nothing more: no network has holes.
            if is_due.is_ok() || passes < read {
                return self.cut();
            }
        }
    }
}

impl Direction {
    /// Cuts the wire once so many more bytes have passed.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
    }

    /// Loses the next piece that has these words in it.
    pub(crate) fn lose(&self, words: &'static str) {
        *self.loses.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
    }

    /// Bytes that have passed, on all connections.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    fn is_lost(&self, piece: &[u8]) -> bool {
        let mut loses = self.loses.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = loses.is_some_and(|words| find(piece, words.as_bytes(), 0).is_some());
        if lost {
            *loses = None;
        }
        lost
    }

    /// How many of so many bytes may pass.
    fn take(&self, wanted: usize) -> usize {
        let mut passes = wanted;
        // Never fails: the closure always gives a value.
        let _ = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            if left == NEVER {
                passes = wanted;
                return Some(NEVER);
            }
            passes = wanted.min(usize::try_from(left).unwrap_or(usize::MAX));
            Some(left - passes as u64)
        });
        passes
    }
}
