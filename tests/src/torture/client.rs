//! A client process of the torture: types its own stream of records, and checks what it sees. Knows
//! how such a process begins and how it can end; an observer is one that does not type.

use std::time::Duration;

use shellgate_client::attach::{Closed, Why};
use shellgate_client::{AttachOptions, Input};
use shellgate_protocol::client_leg::Signal;
use shellgate_protocol::{CloseCode, SessionId, TerminalSize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::record::{Direction, HEADER, Script};
use super::seen::Seen;
use crate::{Cable, User, within};

/// What is typed at once, in bytes: less than what goes in whole or not at all.
const TYPED: std::ops::RangeInclusive<u64> = 1..=32 * 1024;

/// Between one piece of typing and the next, in milliseconds.
const PAUSE: std::ops::RangeInclusive<u64> = 0..=30;

/// What one client process has typed when it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Typed {
    /// Its stream.
    pub stream: u32,
    /// The program has taken so much of it at least, in bytes.
    pub least: u64,
    /// The program has taken no more of it than this, in bytes.
    pub most: u64,
}

/// How many signals of one client process arrived when it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Signals {
    /// So many at least: they were answered.
    pub least: u64,
    /// No more than this: they were asked for.
    pub most: u64,
}

/// What a client leaves when it is gone.
pub struct Left {
    /// Its input.
    pub typed: Typed,
    /// Its signals.
    pub signals: Signals,
    /// All that it saw.
    pub seen: Seen,
}

/// Where a run's clients attach.
#[derive(Clone)]
pub struct Place {
    /// As whom, and through which cable.
    pub user: User,
    /// To what.
    pub session: SessionId,
    /// From which their input follows.
    pub seed: u64,
    /// The size that the one who drives wants the terminal to have.
    pub size: TerminalSize,
}

/// A client process.
pub struct Client {
    stream: u32,
    input: Input,
    seen: watch::Receiver<Seen>,
    reader: JoinHandle<()>,
    typist: JoinHandle<Pen>,
    stop_typing: CancellationToken,
    /// Those that were asked for and, of them, those that were answered.
    signals: Signals,
    /// The one that was asked for last, while it is not known to be answered.
    asked: Option<u64>,
}

/// Where a typist is in its script.
struct Pen {
    script: Script,
    number: u64,
    /// Of the record before `number`, and not typed yet.
    rest: Vec<u8>,
}

impl Client {
    /// Begins where `known` ends, and types the stream with this number. Without a `takeover` it
    /// asks again while another client drives.
    pub async fn start(place: &Place, stream: u32, known: &Seen, takeover: bool) -> Self {
        within("a client attaches", async {
            loop {
                let mut client = Self::attach(place, stream, known, takeover);
                let stands = client
                    .seen
                    .wait_for(|seen| seen.attached > 0 || seen.closed.is_some())
                    .await
                    .expect("its reader tells")
                    .clone();
                match stands.closed {
                    Some(Closed { why: Why::Stopped, .. }) if !takeover && refused(&stands) => {
                        client.stop_typing.cancel();
                    }
                    Some(closed) => panic!("client {stream} may not attach: {closed:?}"),
                    None => return client,
                }
            }
        })
        .await
    }

    fn attach(place: &Place, stream: u32, known: &Seen, takeover: bool) -> Self {
        let options = AttachOptions {
            takeover,
            output: Some(known.next),
            launch: known.launch,
            size: place.size,
            // Not more than the least that a client must be ready for, so that it often waits.
            window: 256 * 1024,
            ..AttachOptions::default()
        };
        let (input, seen, reader) = attach(place, options, known.handed_on());
        let stop_typing = CancellationToken::new();
        let script = Script::new(place.seed, Direction::Input, stream);
        let typing = type_on(
            Pen { script, number: 0, rest: Vec::new() },
            Dice::of(place.seed, &[5, u64::from(stream)]),
            input.clone(),
            seen.clone(),
            stop_typing.clone(),
        );
        let typist = place.user.world.tracker.spawn(typing);
        let signals = Signals::default();
        Self { stream, input, seen, reader, typist, stop_typing, signals, asked: None }
    }

    /// What it has seen, now.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// How often its attachment has stood.
    #[must_use]
    pub fn attached(&self) -> u64 {
        self.seen.borrow().attached
    }

    /// Waits until its attachment has stood more often than `before`, and says since when.
    pub async fn stands_again(&mut self, before: u64) -> Instant {
        let stands = self.seen.wait_for(|seen| seen.attached > before || seen.closed.is_some());
        let seen =
            within("the client stands again", stands).await.expect("its reader tells").clone();
        assert!(seen.closed.is_none(), "client {} is closed: {:?}", self.stream, seen.closed);
        seen.attached_at.expect("it stands")
    }

    /// Wants the terminal to have this size.
    pub fn resizes(&self, size: TerminalSize) {
        self.input.resize(size);
    }

    /// Waits until the terminal has this size.
    pub async fn sees_size(&mut self, size: TerminalSize) {
        let has = self.seen.wait_for(|seen| seen.size == Some(size));
        within("the terminal has its size", has).await.expect("its reader tells");
    }

    /// Asks for a signal to the program. The one before has been answered.
    pub fn signals(&mut self) {
        let id = self.input.signal(Signal::Usr1).expect("one at a time is taken");
        self.asked = Some(id);
        self.signals.most += 1;
    }

    /// Waits until the last signal is answered, and until the program says that it arrived, after
    /// so many of earlier clients. Two that it has not seen look like one to it.
    pub async fn has_signalled(&mut self, earlier: u64) {
        let Some(asked) = self.asked.take() else { return };
        let answered = self.seen.wait_for(|seen| seen.signalled == Some(asked));
        within("a signal is answered", answered).await.expect("its reader tells");
        self.signals.least += 1;
        let all = earlier + self.signals.least;
        let arrived = self.seen.wait_for(|seen| seen.checker.report().signals >= all);
        within("a signal arrives", arrived).await.expect("its reader tells");
    }

    /// Waits until the program has begun.
    pub async fn sees_it_begin(&mut self) {
        let begun = self.seen.wait_for(|seen| seen.checker.has_begun());
        within("the program begins", begun).await.expect("its reader tells");
    }

    /// Waits until it has seen more output than `before`, in bytes.
    pub async fn sees_more(&mut self, before: u64) {
        let sees = self.seen.wait_for(|seen| seen.bytes > before);
        within("the client sees more", sees).await.expect("its reader tells");
    }

    /// Leaves once all that it typed is applied.
    pub async fn leaves(mut self) -> Left {
        self.stop_typing.cancel();
        within("typing stops", &mut self.typist).await.expect("a typist");
        within("all is applied", self.input.flush()).await.expect("applied");
        let (applied, _) = self.input.position();
        self.input.leave();
        let closed = self.seen.wait_for(|seen| seen.closed.is_some());
        let seen = within("the client leaves", closed).await.expect("its reader tells").clone();
        within("its last socket closes", &mut self.reader).await.expect("a reader");
        let exactly = applied.get();
        self.left(exactly, exactly, seen)
    }

    /// Is gone, as a process that is killed: its cable with it.
    pub async fn is_killed(mut self, cable: &Cable) -> Left {
        self.stop_typing.cancel();
        within("typing stops", &mut self.typist).await.expect("a typist");
        let (applied, typed) = self.input.position();
        cable.cut();
        self.reader.abort();
        // It was aborted, or has just come to its end.
        let _ = within("its reader is gone", &mut self.reader).await;
        let seen = self.seen.borrow().clone();
        self.left(applied.get(), typed.get(), seen)
    }

    /// Waits until another client has taken over.
    pub async fn is_taken_over(mut self) -> Left {
        let closed = self.seen.wait_for(|seen| seen.closed.is_some());
        let seen =
            within("the client is replaced", closed).await.expect("its reader tells").clone();
        let code = seen.closed.as_ref().and_then(Closed::code);
        assert_eq!(code, Some(CloseCode::AnotherDriver), "{:?}", seen.closed);
        within("its last socket closes", &mut self.reader).await.expect("a reader");
        let exactly = seen.taken_over.expect("it was told what was applied").get();
        self.left(exactly, exactly, seen)
    }

    /// Tells the program to end, and waits until it has.
    pub async fn ends(mut self) -> Left {
        self.stop_typing.cancel();
        let mut pen = within("typing stops", &mut self.typist).await.expect("a typist");
        pen.rest.extend(pen.script.end(pen.number, &[]));
        within("the end is typed", self.input.send(&pen.rest)).await.expect("typed");
        let (_, typed) = self.input.position();
        let closed = self.seen.wait_for(|seen| seen.closed.is_some());
        let seen = within("the program ends", closed).await.expect("its reader tells").clone();
        within("its last socket closes", &mut self.reader).await.expect("a reader");
        let exactly = typed.get();
        self.left(exactly, exactly, seen)
    }

    fn left(&self, least: u64, most: u64, seen: Seen) -> Left {
        let mut signals = self.signals;
        signals.least += u64::from(self.asked.is_some() && self.asked == seen.signalled);
        Left { typed: Typed { stream: self.stream, least, most }, signals, seen }
    }
}

/// Attaches, and checks what is seen.
pub(super) fn attach(
    place: &Place,
    options: AttachOptions,
    known: Seen,
) -> (Input, watch::Receiver<Seen>, JoinHandle<()>) {
    let (input, mut events) = place.user.api().attach(place.session, options);
    let (told, seen) = watch::channel(known);
    let reader = place.user.world.tracker.spawn(async move {
        while let Some(event) = events.next().await {
            let now = Instant::now();
            told.send_modify(|seen| seen.take(event, now));
        }
        events.finished().await;
    });
    (input, seen, reader)
}

fn refused(seen: &Seen) -> bool {
    seen.closed.as_ref().and_then(Closed::code) == Some(CloseCode::AnotherDriver)
}

/// Types until it is told to stop, or cannot.
async fn type_on(
    mut pen: Pen,
    mut dice: Dice,
    input: Input,
    mut seen: watch::Receiver<Seen>,
    stop: CancellationToken,
) -> Pen {
    let typing = async {
        // Before it prints the program's terminal is not as it will be.
        if seen.wait_for(|seen| seen.checker.has_begun() && seen.attached > 0).await.is_err() {
            return;
        }
        loop {
            // Less than a header would not say which stream it is of, if nothing came after it.
            let least = if pen.number == 0 { HEADER } else { 1 };
            // A size fits into memory.
            let size = (dice.size(TYPED) as usize).max(least);
            while pen.rest.len() < size {
                pen.rest.extend(pen.script.record(pen.number));
                pen.number += 1;
            }
            if input.send(&pen.rest[..size]).await.is_err() {
                return;
            }
            pen.rest.drain(..size);
            sleep(Duration::from_millis(dice.roll(PAUSE))).await;
        }
    };
    tokio::select! {
        () = typing => {}
        () = stop.cancelled() => {}
    }
    pen
}
