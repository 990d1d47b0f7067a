//! What was typed and waits for room in the session's input. Knows no terminal and no connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// What is held at most, in bytes: besides what the library keeps until it is applied.
pub const HELD_MAX: usize = 4 * 1024 * 1024;

/// What is taken out at once, in bytes: little enough to go into the session whole or not at all.
const PIECE: usize = 16 * 1024;

/// Typing from a keyboard waits so long for room. A session that takes a paste at all has made room
/// by then; one that is stopped must not keep the keyboard from being read, because the escape that
/// leaves it comes from there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Typed bytes in their order, between who reads the keyboard and who fills the session's input.
pub struct Held {
    line: Mutex<Line>,
    /// There is something to take.
    filled: Notify,
    /// There is room again.
    emptied: Notify,
    /// Whether bytes are dropped where there is no room for too long.
    drops: bool,
}

#[derive(Default)]
struct Line {
    bytes: VecDeque<u8>,
    /// Something was dropped: until all before it is taken, so is what follows. A paste may lose its
    /// end, which is said, but never its middle.
    overflowed: bool,
    /// Bytes that were taken last, while who took them has not come back for more.
    in_hand: usize,
}

/// There was no room, and the bytes are dropped.
#[derive(Debug, PartialEq, Eq)]
pub struct Dropped;

impl Held {
    /// For a keyboard, where bytes are rather dropped than not looked at.
    pub fn from_keyboard() -> Self {
        Self::new(true)
    }

    /// For a pipe or a file, which waits.
    pub fn from_pipe() -> Self {
        Self::new(false)
    }

    fn new(drops: bool) -> Self {
        let line = Mutex::default();
        Self { line, filled: Notify::new(), emptied: Notify::new(), drops }
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes typed bytes, all or none, when there is room for them.
    pub async fn put(&self, bytes: &[u8]) -> Result<(), Dropped> {
        let room = self.until(|line| line.bytes.len() + bytes.len() <= HELD_MAX);
        if !self.drops {
            room.await;
        } else if self.line().overflowed || timeout(PATIENCE, room).await.is_err() {
            self.line().overflowed = true;
            return Err(Dropped);
        }
        self.line().bytes.extend(bytes);
        self.filled.notify_one();
        Ok(())
    }

    /// The next piece, when there is one. Asking says that the one before is done with.
    pub async fn take(&self) -> Vec<u8> {
        loop {
            let piece = self.line().take();
            self.emptied.notify_waiters();
            if !piece.is_empty() {
                return piece;
            }
            // Put since then, it has left a permit: nobody else takes.
            self.filled.notified().await;
        }
    }

    /// Bytes that are not done with.
    pub fn len(&self) -> u64 {
        let line = self.line();
        (line.bytes.len() + line.in_hand) as u64
    }

    /// Waits until all that was put is done with.
    pub async fn drained(&self) {
        self.until(|line| line.bytes.is_empty() && line.in_hand == 0).await;
    }

    async fn until(&self, is_so: impl Fn(&Line) -> bool) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if is_so(&self.line()) {
                return;
            }
            emptied.await;
        }
    }
}

impl Line {
    fn take(&mut self) -> Vec<u8> {
        let len = self.bytes.len().min(PIECE);
        self.in_hand = len;
        let piece = self.bytes.drain(..len).collect();
        self.overflowed &= !self.bytes.is_empty();
        piece
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use tokio::time::{Instant, sleep};

    use super::*;

    async fn fill(held: &Held) {
        for _ in 0..HELD_MAX / PIECE {
            held.put(&[b'x'; PIECE]).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_finds_no_room_for_too_long_is_dropped_and_so_is_all_behind_it() {
        let held = Held::from_keyboard();
        fill(&held).await;
        let began = Instant::now();
        assert_eq!(held.put(b"lost").await, Err(Dropped));
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(held.take().await.len(), PIECE);
        // There is room now, and yet there must be no hole in the middle.
        assert_eq!(held.put(b"lost, too").await, Err(Dropped));
        assert_eq!(began.elapsed(), PATIENCE, "nobody waits a second time");
        for _ in 1..HELD_MAX / PIECE {
            held.take().await;
        }
        assert_eq!(held.put(b"typed").await, Ok(()));
        assert_eq!(held.take().await, b"typed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_slow_is_given_all_of_a_paste() {
        let held = Held::from_keyboard();
        let pastes = async {
            for n in 0..2 * HELD_MAX / PIECE {
                held.put(&[n as u8; PIECE]).await.unwrap();
            }
        };
        let reads = async {
            for n in 0..2 * HELD_MAX / PIECE {
                sleep(PATIENCE / 2).await;
                assert_eq!(held.take().await, [n as u8; PIECE]);
            }
        };
        tokio::join!(pastes, reads);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_waits_for_as_long_as_it_takes() {
        let held = Held::from_pipe();
        fill(&held).await;
        let mut waits = pin!(held.put(b"patient"));
        assert!(timeout(PATIENCE * 100, &mut waits).await.is_err());
        held.take().await;
        assert_eq!(waits.await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_drained_when_the_last_piece_is_done_with() {
        let held = Held::from_keyboard();
        held.put(b"typed").await.unwrap();
        let mut drained = pin!(held.drained());
        assert!(timeout(PATIENCE, &mut drained).await.is_err());
        held.take().await;
        assert!(timeout(PATIENCE, &mut drained).await.is_err(), "it is on its way");
        assert!(timeout(PATIENCE, held.take()).await.is_err());
        drained.await;
    }
}
