//! Flow control: how much may be under way, and when to say what has arrived.
//!
//! Credit is absolute: a sender sends nothing at or beyond `acknowledged + window`.

use crate::limits::{LAZY_ALONE_MILLIS, LAZY_RIDE_MILLIS};
use crate::offset::Offset;

/// What a peer did that no honest peer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It acknowledged bytes that it was not sent.
    #[error("acknowledged up to {at}, though only {sent} was sent")]
    AckBeyondSent {
        /// What it claims to have.
        at: Offset,
        /// What it was sent.
        sent: Offset,
    },
    /// It sent beyond its window.
    #[error("sent up to {end}, {over} bytes beyond its window")]
    BeyondWindow {
        /// Where its bytes end.
        end: Offset,
        /// How far too far.
        over: u64,
    },
    /// Its bytes do not follow on those before.
    #[error("sent from {start} where {expected} was next")]
    OutOfOrder {
        /// Where its bytes start.
        start: Offset,
        /// Where they should.
        expected: Offset,
    },
}

/// One direction of one channel, as its sender or whoever watches the sender counts it.
#[derive(Debug, Clone, Copy)]
pub struct Credit {
    acknowledged: Offset,
    sent: Offset,
    window: u64,
}

impl Credit {
    /// Nothing is under way; the first byte to be sent lies at `from`.
    #[must_use]
    pub fn new(from: Offset, window: u64) -> Self {
        Self { acknowledged: from, sent: from, window }
    }

    /// Bytes that may be sent now.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.window.saturating_sub(self.in_flight())
    }

    /// Bytes sent and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.sent.since(self.acknowledged)
    }

    /// The next byte to be sent.
    #[must_use]
    pub fn sent(&self) -> Offset {
        self.sent
    }

    /// Everything before this has arrived.
    #[must_use]
    pub fn acknowledged(&self) -> Offset {
        self.acknowledged
    }

    /// Counts `len` bytes sent from `start`.
    ///
    /// # Errors
    /// Where they don't follow on, or exceed the window. Nothing is counted then.
    pub fn send(&mut self, start: Offset, len: u64) -> Result<(), Violation> {
        if start != self.sent {
            return Err(Violation::OutOfOrder { start, expected: self.sent });
        }
        let end = start.plus(len);
        if end.since(self.acknowledged) > self.window {
            let over = end.since(self.acknowledged) - self.window;
            return Err(Violation::BeyondWindow { end, over });
        }
        self.sent = end;
        Ok(())
    }

    /// Counts an acknowledgement. An old one changes nothing.
    ///
    /// # Errors
    /// Where it speaks of bytes that were not sent.
    pub fn acknowledge(&mut self, at: Offset) -> Result<(), Violation> {
        if at > self.sent {
            return Err(Violation::AckBeyondSent { at, sent: self.sent });
        }
        self.acknowledged = self.acknowledged.max(at);
        Ok(())
    }

    /// Goes on at `to`: what lay before is a gap or stands in a keyframe, and owes no
    /// acknowledgement. Never goes back.
    pub fn skip_to(&mut self, to: Offset) {
        if to > self.sent {
            self.sent = to;
            self.acknowledged = to;
        }
    }
}

/// When an acknowledgement is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// There is nothing to say.
    Never,
    /// Send it, alone if need be.
    Now,
    /// Send it if something else is sent anyway; else ask again after so many milliseconds.
    Ride {
        /// Milliseconds until it is due alone.
        alone_in: u64,
    },
    /// Not yet, not even along with something else; ask again after so many milliseconds.
    Later {
        /// Milliseconds until it is due alone.
        alone_in: u64,
    },
}

/// Decides when to send acknowledgements (kind 3) and `applied` (kind 4): lazily, so that a
/// keystroke does not cost two messages, but never so late that a sender runs out of credit.
#[derive(Debug, Clone, Copy)]
pub struct Lazy {
    told: Offset,
    reached: Offset,
    since: u64,
    at_once: u64,
}

impl Lazy {
    /// The peer knows about everything before `from`; a quarter of `window` goes out at once.
    #[must_use]
    pub fn new(from: Offset, window: u64) -> Self {
        Self { told: from, reached: from, since: 0, at_once: (window / 4).max(1) }
    }

    /// Everything before `at` has been taken, at `now` (milliseconds of any steady clock).
    pub fn reach(&mut self, at: Offset, now: u64) {
        if at > self.reached {
            if self.reached == self.told {
                self.since = now;
            }
            self.reached = at;
        }
    }

    /// Whether to say so, at `now`.
    #[must_use]
    pub fn due(&self, now: u64) -> Due {
        let owed = self.reached.since(self.told);
        let waited = now.saturating_sub(self.since);
        if owed == 0 {
            Due::Never
        } else if owed >= self.at_once || waited >= LAZY_ALONE_MILLIS {
            Due::Now
        } else if waited >= LAZY_RIDE_MILLIS {
            Due::Ride { alone_in: LAZY_ALONE_MILLIS - waited }
        } else {
            Due::Later { alone_in: LAZY_ALONE_MILLIS - waited }
        }
    }

    /// What to say; from now on the peer knows.
    pub fn tell(&mut self) -> Offset {
        self.told = self.reached;
        self.told
    }

    /// How far it has got.
    #[must_use]
    pub fn reached(&self) -> Offset {
        self.reached
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset).unwrap()
    }

    #[test]
    fn nothing_is_sent_beyond_the_window() {
        let mut credit = Credit::new(at(10), 100);
        assert_eq!(credit.send(at(10), 100), Ok(()));
        assert_eq!(credit.room(), 0);
        assert_eq!(credit.send(at(110), 1), Err(Violation::BeyondWindow { end: at(111), over: 1 }));
        assert_eq!(credit.acknowledge(at(60)), Ok(()));
        assert_eq!(credit.room(), 50);
        assert_eq!(credit.acknowledge(at(20)), Ok(()));
        assert_eq!(credit.room(), 50);
        assert!(credit.acknowledge(at(111)).is_err());
        assert!(credit.send(at(111), 1).is_err());
        credit.skip_to(at(500));
        assert_eq!((credit.sent(), credit.room()), (at(500), 100));
    }

    proptest! {
        #[test]
        fn a_watcher_agrees_with_an_honest_sender(
            window in 1u64..200, steps in proptest::collection::vec((any::<bool>(), 0u64..100), 1..100)
        ) {
            let mut sender = Credit::new(Offset::ZERO, window);
            let mut watcher = sender;
            for (sends, n) in steps {
                if sends {
                    let len = n.min(sender.room());
                    let start = sender.sent();
                    prop_assert_eq!(sender.send(start, len), Ok(()));
                    prop_assert_eq!(watcher.send(start, len), Ok(()));
                } else {
                    let ack = sender.acknowledged().plus(n.min(sender.in_flight()));
                    prop_assert_eq!(sender.acknowledge(ack), Ok(()));
                    prop_assert_eq!(watcher.acknowledge(ack), Ok(()));
                }
                prop_assert!(sender.in_flight() <= window);
            }
        }
    }

    #[test]
    fn an_acknowledgement_waits_rides_and_goes() {
        let mut lazy = Lazy::new(Offset::ZERO, 400);
        assert_eq!(lazy.due(5), Due::Never);
        lazy.reach(at(1), 1000);
        assert_eq!(lazy.due(1000), Due::Later { alone_in: LAZY_ALONE_MILLIS });
        lazy.reach(at(2), 1100);
        let ride = 1000 + LAZY_RIDE_MILLIS;
        assert_eq!(lazy.due(ride), Due::Ride { alone_in: LAZY_ALONE_MILLIS - LAZY_RIDE_MILLIS });
        assert_eq!(lazy.due(1000 + LAZY_ALONE_MILLIS), Due::Now);
        assert_eq!(lazy.tell(), at(2));
        assert_eq!(lazy.due(9000), Due::Never);
        lazy.reach(at(102), 9000);
        assert_eq!(lazy.due(9000), Due::Now);
    }
}
