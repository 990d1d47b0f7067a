//! The start queue: sessions wait here for their turn to be started, a few at a time, users in
//! turns. Knows no task: whoever holds a ticket whose turn it is starts what it wants.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::UserKey;
use super::denied::{Denied, Reason};
use super::line::{Line, Number};

/// Where a ticket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the line.
    Waiting {
        /// From 1.
        position: u32,
        /// How long it usually takes from here; zero where nobody knows yet.
        expected: Duration,
    },
    /// It is its turn, until the ticket is dropped.
    Turn,
}

/// The queue. Cheap to clone; all clones are the same queue.
#[derive(Clone)]
pub struct StartQueue {
    parallel_starts: u32,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    line: Line,
    places: HashMap<Number, watch::Sender<Place>>,
}

/// A place in the queue, or a turn. Leaves when it is dropped.
pub struct Ticket {
    inner: Arc<Mutex<Inner>>,
    user: UserKey,
    number: Number,
    place: watch::Receiver<Place>,
    /// Whether its holder has heard of its first place.
    told: bool,
}

impl StartQueue {
    /// A queue with so many starts at one time, and places for so many to wait.
    #[must_use]
    pub fn new(parallel_starts: u32, places: u32) -> Self {
        let line = Line::new(parallel_starts as usize, places as usize);
        let inner = Arc::new(Mutex::new(Inner { line, places: HashMap::new() }));
        Self { parallel_starts, inner }
    }

    /// So many gateways share the starts at one time, this one being one of them.
    pub fn share(&self, among: u32) {
        let mut inner = lock(&self.inner);
        inner.line.set_turns((self.parallel_starts / among.max(1)) as usize);
        inner.tell();
    }

    /// Joins the queue.
    pub fn enter(&self, user: &str) -> Result<Ticket, Denied> {
        let mut inner = lock(&self.inner);
        let number = inner.line.enter(user).ok_or_else(|| Denied::new(Reason::GatewayFull))?;
        Ok(self.ticket(&mut inner, user, number))
    }

    /// Joins the queue as one whom it has let in before: nobody stands before it, and it is not
    /// refused.
    #[must_use]
    pub fn enter_again(&self, user: &str) -> Ticket {
        let mut inner = lock(&self.inner);
        let number = inner.line.enter_again(user);
        self.ticket(&mut inner, user, number)
    }

    fn ticket(&self, inner: &mut Inner, user: &str, number: Number) -> Ticket {
        let (sender, place) = watch::channel(Place::Turn);
        inner.places.insert(number, sender);
        inner.tell();
        let (inner, user) = (Arc::clone(&self.inner), user.into());
        Ticket { inner, user, number, place, told: false }
    }

    /// Those who wait and those who have a turn.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let inner = lock(&self.inner);
        let running = inner.line.running().count();
        (inner.places.len() - running, running)
    }
}

impl fmt::Debug for StartQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, running) = self.counts();
        write!(f, "StartQueue({waiting} waiting, {running} running)")
    }
}

impl Inner {
    /// Tells everybody whose place has changed.
    fn tell(&self) {
        let tell = |number: Number, place: Place| {
            if let Some(sender) = self.places.get(&number) {
                sender.send_if_modified(|known| {
                    let changed = *known != place;
                    *known = place;
                    changed
                });
            }
        };
        for number in self.line.running() {
            tell(number, Place::Turn);
        }
        for (position, number) in (1..).zip(self.line.order()) {
            let expected = self.line.estimate(position).unwrap_or_default();
            tell(number, Place::Waiting { position, expected });
        }
    }
}

impl Ticket {
    /// Where it stands: at once the first time, then at each change. Safe to drop and call again.
    pub async fn moved(&mut self) -> Place {
        if std::mem::replace(&mut self.told, true) {
            // The sender lives in the queue until this ticket is dropped: no error comes.
            let _ = self.place.changed().await;
        }
        *self.place.borrow_and_update()
    }

    /// Gives the turn back after a start that came to a good end, and lets estimates know how long
    /// it took.
    pub fn finish(self, took: Duration) {
        lock(&self.inner).line.remember(took);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut inner = lock(&self.inner);
        inner.places.remove(&self.number);
        inner.line.leave(&self.user, self.number);
        inner.tell();
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({:?} of {:?}, {:?})", self.number, self.user, *self.place.borrow())
    }
}

/// The queue is whole after every change, so a panic elsewhere leaves nothing half done in it.
fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_ticket_hears_of_its_place_until_it_is_its_turn() {
        let queue = StartQueue::new(1, 10);
        let mut first = queue.enter("ada").unwrap();
        let second = queue.enter("bob").unwrap();
        let mut third = queue.enter("cyd").unwrap();
        assert_eq!(first.moved().await, Place::Turn);
        let waiting = |position, expected| Place::Waiting { position, expected };
        assert_eq!(third.moved().await, waiting(2, Duration::ZERO));
        drop(second);
        assert_eq!(third.moved().await, waiting(1, Duration::ZERO));
        first.finish(SECOND);
        assert_eq!(third.moved().await, Place::Turn);
        let mut fourth = queue.enter("ada").unwrap();
        assert_eq!(fourth.moved().await, waiting(1, SECOND));
        drop(third);
        assert_eq!(fourth.moved().await, Place::Turn);
        drop(fourth);
        assert_eq!(queue.counts(), (0, 0));
    }

    #[tokio::test]
    async fn whoever_is_gone_before_its_turn_takes_none() {
        let queue = StartQueue::new(2, 10);
        let tickets: Vec<_> = (0..6).map(|_| queue.enter("ada").unwrap()).collect();
        assert_eq!(queue.counts(), (4, 2));
        let mut last = queue.enter("bob").unwrap();
        drop(tickets);
        assert_eq!(last.moved().await, Place::Turn);
        assert_eq!(queue.counts(), (0, 1));
    }

    #[tokio::test]
    async fn gateways_share_the_starts_at_one_time() {
        let queue = StartQueue::new(4, 10);
        let tickets: Vec<_> = (0..6).map(|_| queue.enter("ada").unwrap()).collect();
        assert_eq!(queue.counts(), (2, 4));
        queue.share(2);
        assert_eq!(queue.counts(), (2, 4), "whoever has a turn keeps it");
        let mut tickets = tickets.into_iter();
        tickets.next();
        tickets.next();
        assert_eq!(queue.counts(), (2, 2));
        tickets.next();
        assert_eq!(queue.counts(), (1, 2));
        queue.share(1);
        assert_eq!(queue.counts(), (0, 3));
        queue.share(100);
        drop(tickets);
        let mut last = queue.enter("bob").unwrap();
        assert_eq!(last.moved().await, Place::Turn);
    }

    #[test]
    fn a_full_queue_says_so() {
        let queue = StartQueue::new(1, 1);
        let _held = [queue.enter("ada").unwrap(), queue.enter("ada").unwrap()];
        let denied = queue.enter("bob").unwrap_err();
        assert_eq!(denied.code, "gateway_full");
    }
}
