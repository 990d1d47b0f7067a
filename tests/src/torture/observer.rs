//! An observer of the torture: checks each byte that it sees, from wherever it comes in. Knows no
//! other one.

use shellgate_client::attach::Why;
use shellgate_client::{AttachOptions, Input};
use shellgate_protocol::TerminalSize;
use shellgate_protocol::client_leg::Role;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::{Place, attach};
use super::seen::Seen;
use crate::within;

/// An observer.
pub struct Observer {
    input: Input,
    seen: watch::Receiver<Seen>,
    reader: JoinHandle<()>,
}

impl Observer {
    /// Begins to attach: where the driver is that has seen this, or, `anew`, at the screen as it is
    /// by then.
    #[must_use]
    pub fn comes(place: &Place, driver: &Seen, anew: bool) -> Self {
        let known = if anew { driver.watched_anew() } else { driver.watched_from_here() };
        let options = AttachOptions {
            role: Role::Observer,
            output: (!anew).then_some(known.next),
            launch: known.launch,
            ..AttachOptions::default()
        };
        let (input, seen, reader) = attach(place, options, known);
        Self { input, seen, reader }
    }

    /// Waits until it sees what comes next, in a terminal of this size, and leaves.
    pub async fn leaves(mut self, size: TerminalSize) -> Seen {
        let before = self.seen.borrow().bytes;
        let goes_on = self.seen.wait_for(|seen| seen.bytes > before && seen.size == Some(size));
        within("an observer sees more", goes_on).await.expect("its reader tells");
        self.input.leave();
        let closed = self.seen.wait_for(|seen| seen.closed.is_some());
        let seen = within("an observer leaves", closed).await.expect("its reader tells").clone();
        let why = seen.closed.as_ref().map(|closed| closed.why);
        assert_eq!(why, Some(Why::Left), "{:?}", seen.closed);
        within("its last socket closes", self.reader).await.expect("a reader");
        seen
    }

    /// Is gone from one instant to the next.
    pub async fn vanishes(self) -> Seen {
        self.reader.abort();
        // It was aborted, or has just come to its end.
        let _ = within("its reader is gone", self.reader).await;
        let seen = self.seen.borrow().clone();
        assert!(seen.closed.is_none(), "an observer is closed: {:?}", seen.closed);
        seen
    }
}
