//! Drives a [`Connection`](super::connection::Connection) over sockets: one task, which writes,
//! reads and keeps time until the attachment is over. Decides nothing.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream};
use shellgate_protocol::CloseCode;
use shellgate_protocol::client_leg::Token;
use tokio::sync::futures::Notified;
use tokio::time::{Sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::Shared;
use super::connection::{DialFailure, Outgoing, Want};
use super::dial::{Dialler, Socket};
use super::event::Break;
use crate::problem::plain;
use crate::token::{TokenError, TokenSource};

/// A closing handshake may take this long.
const CLOSING: Duration = Duration::from_secs(1);

/// Without a deadline the pump looks again after so many milliseconds.
const IDLE_MILLIS: u64 = 3_600_000;

/// Messages read in a row before the writer gets its turn.
const READ_TURN: usize = 32;

pub(crate) async fn run(shared: Arc<Shared>, dialler: Dialler, tokens: TokenSource) {
    let _ends = EndsWithMe(&shared);
    let mut socket: Option<Socket> = None;
    let mut used: Option<Token> = None;
    loop {
        let want = shared.core().connection.want();
        match want {
            Want::Dial { renew } => {
                socket = None;
                let dialled = dial(&dialler, &tokens, &mut used, renew);
                let Some(dialled) = unless_over(&shared, dialled).await else { continue };
                let now = shared.now();
                let mut core = shared.core();
                match dialled {
                    Ok(opened) => {
                        core.connection.opened(now);
                        socket = Some(opened);
                    }
                    Err(failure) => core.connection.failed(failure, now),
                }
                drop(core);
                tell_everybody(&shared);
            }
            Want::Rest => {
                rest(&shared).await;
                tell_everybody(&shared);
            }
            Want::Talk => match socket.as_mut() {
                Some(open) => {
                    let broke = Talk::new(&shared, open, &tokens, &mut used).run().await;
                    if let Some(why) = broke {
                        socket = None;
                        let now = shared.now();
                        shared.core().connection.broke(why, now);
                    }
                    tell_everybody(&shared);
                }
                None => {
                    let now = shared.now();
                    shared.core().connection.broke(Break::Lost(String::new()), now);
                }
            },
            Want::HangUp(code) => {
                if let Some(open) = socket.take() {
                    hang_up(&shared, open, code).await;
                }
                let now = shared.now();
                shared.core().connection.hung_up(now);
                tell_everybody(&shared);
            }
            Want::Nothing => {
                tell_everybody(&shared);
                return;
            }
        }
    }
}

/// Whatever ends the pump, a runtime that goes down or a panic, ends the attachment: nobody waits
/// for what cannot come.
struct EndsWithMe<'a>(&'a Shared);

impl Drop for EndsWithMe<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

fn tell_everybody(shared: &Shared) {
    shared.caller.notify_one();
    shared.room.notify_waiters();
}

async fn dial(
    dialler: &Dialler,
    tokens: &TokenSource,
    used: &mut Option<Token>,
    renew: bool,
) -> Result<Socket, DialFailure> {
    let token = match used {
        Some(used) if renew => tokens.renew(used).await,
        _ => tokens.current().await,
    };
    let token = token.map_err(|error| DialFailure::NoToken {
        why: error.to_string(),
        passes: error.is_passing(),
    })?;
    let socket = dialler.dial(&token).await;
    *used = Some(token);
    socket
}

/// Waits for `work`, unless the attachment is over before.
async fn unless_over<T>(shared: &Shared, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    loop {
        let woken = shared.driver.notified();
        let until = {
            let now = shared.now();
            let mut core = shared.core();
            core.connection.tick(now);
            if core.connection.is_over() {
                return None;
            }
            arm(&mut core, now)
        };
        tokio::select! {
            done = &mut work => return Some(done),
            () = woken => {}
            () = sleep_until(shared.started + Duration::from_millis(until)) => {}
        }
    }
}

/// Waits for the pause's end, or whatever the caller does.
async fn rest(shared: &Shared) {
    let woken = shared.driver.notified();
    let until = {
        let now = shared.now();
        let mut core = shared.core();
        core.connection.tick(now);
        if core.connection.want() != Want::Rest {
            return;
        }
        arm(&mut core, now)
    };
    tokio::select! {
        () = woken => {}
        () = sleep_until(shared.started + Duration::from_millis(until)) => {}
    }
}

fn arm(core: &mut super::Core, now: u64) -> u64 {
    core.armed = core.connection.deadline(now, true).unwrap_or(now + IDLE_MILLIS);
    core.armed
}

async fn hang_up(shared: &Shared, mut socket: Socket, code: CloseCode) {
    let now = shared.now();
    let last = shared.core().connection.next_message(now);
    let closing = async {
        if let Some(last) = last {
            socket.feed(message(last)).await?;
        }
        let frame = CloseFrame { code: code.number().into(), reason: "".into() };
        socket.close(Some(frame)).await?;
        // The peer's answer: without it a reset could overtake what was written last.
        while poll_fn(|cx| Pin::new(&mut socket).poll_next(cx)).await.is_some_and(|m| m.is_ok()) {}
        Ok::<(), tokio_tungstenite::tungstenite::Error>(())
    };
    // A peer that does not answer is left alone; nothing depends on it.
    let _ = tokio::time::timeout(CLOSING, closing).await;
}

fn message(outgoing: Outgoing) -> Message {
    match outgoing {
        Outgoing::Text(text) => Message::Text(text.into()),
        Outgoing::Binary(bytes) => Message::Binary(bytes),
    }
}

type Renewal<'a> = Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + 'a>>;

/// One socket's talk, in a single poll function: reading never waits for writing.
struct Talk<'a> {
    shared: &'a Shared,
    socket: &'a mut Socket,
    tokens: &'a TokenSource,
    used: &'a mut Option<Token>,
    renewal: Option<Renewal<'a>>,
    unflushed: bool,
    /// The kernel takes nothing more for now.
    blocked: bool,
    /// The peer has closed with this; its goodbye is being answered.
    closing: Option<Break>,
}

impl<'a> Talk<'a> {
    fn new(
        shared: &'a Shared,
        socket: &'a mut Socket,
        tokens: &'a TokenSource,
        used: &'a mut Option<Token>,
    ) -> Self {
        Self {
            shared,
            socket,
            tokens,
            used,
            renewal: None,
            unflushed: true,
            blocked: false,
            closing: None,
        }
    }

    /// Talks until the socket breaks (`Some`), or the core wants something else (`None`).
    async fn run(mut self) -> Option<Break> {
        let shared = self.shared;
        // Long past: the first look sets it.
        let mut timer = pin!(sleep_until(shared.started));
        let mut woken = pin!(shared.driver.notified());
        let why = poll_fn(|cx| self.poll(cx, timer.as_mut(), woken.as_mut())).await;
        if self.closing.is_some() {
            // Sends the answer to the peer's close.
            let _ = tokio::time::timeout(CLOSING, self.socket.flush()).await;
        }
        why
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        mut woken: Pin<&mut Notified<'a>>,
    ) -> Poll<Option<Break>> {
        loop {
            // Registered before the core is looked at: nothing told meanwhile is missed.
            while woken.as_mut().poll(cx).is_ready() {
                woken.set(self.shared.driver.notified());
            }
            if let Err(why) = self.write(cx) {
                return Poll::Ready(Some(why));
            }
            let read = match self.read(cx) {
                Ok(read) => read,
                Err(why) => return Poll::Ready(Some(why)),
            };
            self.renew(cx);
            let now = self.shared.now();
            {
                let mut core = self.shared.core();
                core.connection.tick(now);
                if core.connection.want() != Want::Talk {
                    return Poll::Ready(None);
                }
                if read > 0 {
                    // More may have come, and what came may want an answer.
                    continue;
                }
                let due = core.connection.deadline(now, !self.blocked);
                let due = due.unwrap_or(now + IDLE_MILLIS);
                // Setting a timer costs: one that rings too early does no harm.
                if due < core.armed || timer.is_elapsed() {
                    core.armed = due;
                    timer.as_mut().reset(self.shared.started + Duration::from_millis(due));
                }
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), Break> {
        loop {
            match Pin::new(&mut *self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Err(lost(&error)),
                Poll::Pending => {
                    self.blocked = true;
                    return Ok(());
                }
            }
            self.blocked = false;
            let now = self.shared.now();
            let Some(next) = self.shared.core().connection.next_message(now) else { break };
            Pin::new(&mut *self.socket).start_send(message(next)).map_err(|e| lost(&e))?;
            self.unflushed = true;
        }
        if self.unflushed {
            match Pin::new(&mut *self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Err(lost(&error)),
                Poll::Pending => {}
            }
        }
        Ok(())
    }

    /// Reads a turn's worth of messages, and says how many there were.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<usize, Break> {
        for turn in 0..READ_TURN {
            let now = self.shared.now();
            {
                let mut core = self.shared.core();
                let may_read = core.connection.may_read();
                core.connection.listening(may_read, now);
                if !may_read {
                    return Ok(0);
                }
            }
            let message = match Pin::new(&mut *self.socket).poll_next(cx) {
                Poll::Pending => return Ok(turn),
                Poll::Ready(None) => {
                    return Err(self.closing.clone().unwrap_or(Break::Lost(String::new())));
                }
                Poll::Ready(Some(Err(error))) => {
                    return Err(self.closing.clone().unwrap_or_else(|| lost(&error)));
                }
                Poll::Ready(Some(Ok(message))) => message,
            };
            let mut core = self.shared.core();
            // Input was applied, or dropped: somebody may wait for that.
            let mut frees = false;
            match message {
                Message::Binary(bytes) => {
                    frees = bytes.first() == Some(&(shellgate_protocol::Kind::Applied as u8));
                    core.connection.binary(bytes, now);
                }
                Message::Text(text) => {
                    frees = true;
                    core.connection.text(&text, now);
                }
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                    core.connection.heard(now);
                    // The library has put a pong into its buffer.
                    self.unflushed = true;
                }
                Message::Close(frame) => {
                    self.closing = Some(match frame {
                        Some(frame) => {
                            Break::Closed { code: frame.code.into(), reason: plain(&frame.reason) }
                        }
                        None => Break::Lost(String::new()),
                    });
                    return Err(self.closing.clone().unwrap_or(Break::Lost(String::new())));
                }
            }
            let has_events = core.connection.has_events();
            drop(core);
            if has_events {
                self.shared.caller.notify_one();
            }
            if frees {
                self.shared.room.notify_waiters();
            }
        }
        Ok(READ_TURN)
    }

    /// Gets a newer token while the socket stands, where the core wants one.
    fn renew(&mut self, cx: &mut Context<'_>) {
        if self.renewal.is_none() && self.shared.core().connection.take_reauth_wish() {
            let (tokens, used) = (self.tokens, self.used.clone());
            self.renewal = Some(Box::pin(async move {
                match used {
                    Some(used) => tokens.renew(&used).await,
                    None => tokens.current().await,
                }
            }));
        }
        let Some(renewal) = &mut self.renewal else { return };
        let Poll::Ready(renewed) = renewal.as_mut().poll(cx) else { return };
        self.renewal = None;
        // Without a newer token the gateway closes with 4401 in time, and its words say why.
        if let Ok(token) = renewed {
            *self.used = Some(token.clone());
            self.shared.core().connection.reauthenticate(token.0);
            cx.waker().wake_by_ref();
        }
    }
}

fn lost(error: &tokio_tungstenite::tungstenite::Error) -> Break {
    Break::Lost(plain(&error.to_string()))
}
