//! Attaching to a session: one attachment that outlives its connections. Knows the public
//! WebSocket and nothing of REST.
//!
//! `connection` is the pure core; `pump` drives it over sockets that `dial` gets.

mod backoff;
mod connection;
mod dial;
mod event;
mod pump;
mod reader;
mod unapplied;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shellgate_protocol::client_leg::{Role, Signal};
use shellgate_protocol::limits::WINDOW_DEFAULT;
use shellgate_protocol::{ClientId, InputStream, Launch, Offset, SessionId, TerminalSize};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use connection::Connection;
pub use event::{Attached, Break, Closed, Event, Violation, Why};

use crate::endpoint::Endpoint;
use crate::token::TokenSource;

/// A send of at most this much goes in whole or not at all, in bytes.
const WHOLE_MAX: usize = 64 * 1024;

/// What an attachment asks for. Start from [`AttachOptions::default`].
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// Drive or observe.
    pub role: Role,
    /// Who this is: one page load or process. The same client replaces its own older socket.
    pub client: ClientId,
    /// Where this attachment's input offsets count. Never used twice.
    pub input_stream: InputStream,
    /// Take the session from another driver. Asked for once, never by a reconnect.
    pub takeover: bool,
    /// Where output starts. Absent: a keyframe, then live. [`Offset::ZERO`]: all that is kept.
    pub output: Option<Offset>,
    /// The launch that `output` speaks of, as an earlier process was told by [`Event::Attached`]:
    /// output goes on exactly there, or from the beginning where another launch runs by now. Not
    /// needed for [`Offset::ZERO`].
    pub launch: Option<Launch>,
    /// The caller's terminal.
    pub size: TerminalSize,
    /// Output that may be under way and not consumed, in bytes; held within the wire's limits.
    pub window: u32,
    /// How long to go on while no gateway answers. Absent: as long as it takes.
    pub patience: Option<Duration>,
}

impl Default for AttachOptions {
    fn default() -> Self {
        Self {
            role: Role::Driver,
            client: ClientId::random(),
            input_stream: InputStream::random(),
            takeover: false,
            output: None,
            launch: None,
            size: TerminalSize::DEFAULT,
            window: WINDOW_DEFAULT,
            patience: None,
        }
    }
}

/// Attaches to a session: at once in the background, again and again until it ends, is left, or
/// may not be. Must be called within a Tokio runtime.
#[must_use]
pub fn attach(
    endpoint: &Endpoint,
    tokens: TokenSource,
    session: SessionId,
    options: AttachOptions,
) -> (Input, Events) {
    let started = Instant::now();
    // The dice only spread clients over time: an address-free hash of the process's random keys
    // is random enough.
    let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), session);
    let shared = Arc::new(Shared {
        core: Mutex::new(Core { connection: Connection::new(options, seed, 0), armed: u64::MAX }),
        started,
        driver: Notify::new(),
        caller: Notify::new(),
        room: Notify::new(),
    });
    let tasks = TaskTracker::new();
    tasks.spawn(pump::run(shared.clone(), dial::Dialler::new(endpoint, session), tokens));
    tasks.close();
    (Input { shared: shared.clone() }, Events { shared, tasks })
}

/// The core, and who waits for what.
struct Shared {
    core: Mutex<Core>,
    started: Instant,
    /// The pump waits here for work from the caller.
    driver: Notify,
    /// The caller waits here for events.
    caller: Notify,
    /// Callers wait here for room, and for their input to be applied.
    room: Notify,
}

struct Core {
    connection: Connection,
    /// When the pump wakes up by itself, in milliseconds since the start.
    armed: u64,
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        // A panic under the lock would be a bug here; the caller's terminal is worth more than it.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        // 2^64 milliseconds do not come to pass.
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The attachment cannot take this any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is over, its program has ended, or it only observes.
    #[error("the attachment takes no input (any more)")]
    NoInput,
    /// What was typed is dropped: the program that it was meant for has ended.
    #[error("the input is dropped: the program that it was meant for has ended")]
    Dropped,
    /// Too many requests wait for their answers.
    #[error("too many requests wait for their answers")]
    Busy,
}

/// The typing hand of an attachment. Clones type into the same stream.
#[derive(Clone)]
pub struct Input {
    shared: Arc<Shared>,
}

impl Input {
    /// Types. Waits while a mebibyte is not applied yet, and also takes what is typed while the
    /// connection is down: it is sent when it stands again, unless another program runs by then.
    ///
    /// When cancelled, up to 64 KiB have gone in whole or not at all; of more, a beginning may have.
    ///
    /// # Errors
    /// [`NotTaken::NoInput`].
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> Result<(), NotTaken> {
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let has_room = self.shared.room.notified();
            tokio::pin!(has_room);
            has_room.as_mut().enable();
            let taken = {
                let mut core = self.shared.core();
                // What goes in whole waits for its room; typing nothing asks whether it may hope.
                let waits = rest.len() <= WHOLE_MAX && core.connection.room() < rest.len();
                let now = if waits { &[] } else { rest };
                core.connection.type_in(now).ok_or(NotTaken::NoInput)?
            };
            if taken > 0 {
                self.shared.driver.notify_one();
                rest = &rest[taken..];
            } else {
                has_room.await;
            }
        }
        Ok(())
    }

    /// Waits until the program's terminal has taken all that was typed so far.
    ///
    /// # Errors
    /// [`NotTaken::Dropped`] where it never will, [`NotTaken::NoInput`] where the attachment ends
    /// before it is known.
    pub async fn flush(&self) -> Result<(), NotTaken> {
        let (drops, (_, typed)) = {
            let core = self.shared.core();
            (core.connection.input_drops(), core.connection.input_position())
        };
        loop {
            let applied = self.shared.room.notified();
            tokio::pin!(applied);
            applied.as_mut().enable();
            {
                let core = self.shared.core();
                if core.connection.input_drops() != drops {
                    return Err(NotTaken::Dropped);
                }
                if core.connection.input_position().0 >= typed {
                    return Ok(());
                }
                if core.connection.is_over() {
                    return Err(NotTaken::NoInput);
                }
            }
            applied.await;
        }
    }

    /// How far the program's terminal has taken this stream's input, and where that ends so far.
    #[must_use]
    pub fn position(&self) -> (Offset, Offset) {
        self.shared.core().connection.input_position()
    }

    /// Tells the size of the caller's terminal.
    pub fn resize(&self, size: TerminalSize) {
        self.shared.core().connection.resize(size);
        self.shared.driver.notify_one();
    }

    /// Tells whether anybody can see the terminal. A hidden driver does not slow its program.
    pub fn visible(&self, yes: bool) {
        self.shared.core().connection.visible(yes);
        self.shared.driver.notify_one();
    }

    /// Sends a signal to the foreground processes, exactly once however often the connection
    /// breaks. [`Event::Notice`] brings the answer with the id that this returns.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn signal(&self, name: Signal) -> Result<u64, NotTaken> {
        self.request(|connection| connection.signal(name))
    }

    /// Puts off the idle stop. [`Event::Notice`] brings the answer with the id that this returns.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn extend(&self) -> Result<u64, NotTaken> {
        self.request(Connection::extend)
    }

    /// Dials at once instead of after the pause, or as soon as a gateway that asked for one allows.
    /// Changes nothing where the attachment stands or is being dialled.
    pub fn retry_now(&self) {
        let now = self.shared.now();
        self.shared.core().connection.retry_now(now);
        self.shared.driver.notify_one();
        self.shared.caller.notify_one();
    }

    fn request(&self, ask: impl FnOnce(&mut Connection) -> Option<u64>) -> Result<u64, NotTaken> {
        let mut core = self.shared.core();
        if core.connection.type_in(&[]).is_none() {
            return Err(NotTaken::NoInput);
        }
        let id = ask(&mut core.connection).ok_or(NotTaken::Busy)?;
        drop(core);
        self.shared.driver.notify_one();
        Ok(id)
    }

    /// Ends the attachment; the session lives on. [`Event::Closed`] follows. Input that is not
    /// applied by now may be lost: see [`Input::flush`].
    pub fn leave(&self) {
        self.shared.leave();
    }
}

impl Shared {
    fn leave(&self) {
        let now = self.now();
        self.core().connection.leave(now);
        self.driver.notify_one();
        self.caller.notify_one();
        self.room.notify_waiters();
    }
}

/// What happens to an attachment. Dropping it leaves the session.
pub struct Events {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

impl Events {
    /// The next event; `None` after [`Event::Closed`]. Asking says that the event before has been
    /// consumed (rendered): only then is it acknowledged, so that a caller who does not ask makes
    /// the program wait. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let told = self.shared.caller.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            {
                let now = self.shared.now();
                let mut core = self.shared.core();
                let could_read = core.connection.may_read();
                let event = core.connection.next_event(now);
                let due = core.connection.deadline(now, true).is_some_and(|due| due < core.armed);
                let reads_again = !could_read && core.connection.may_read();
                let over = event.is_none() && core.connection.is_over();
                drop(core);
                if due || reads_again {
                    self.shared.driver.notify_one();
                }
                if event.is_some() || over {
                    return event;
                }
            }
            told.await;
        }
    }

    /// Waits until the last socket is closed. Call after [`Event::Closed`], at a process's end.
    pub async fn finished(self) {
        self.tasks.wait().await;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.shared.leave();
    }
}
