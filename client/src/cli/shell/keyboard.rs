//! From the keyboard, or a pipe, into the session. Knows nothing of what is shown.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;

use rustix::io::Errno;
use shellgate_client::Input;
use shellgate_protocol::client_leg::Mode;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::LEAVING;
use super::held::Held;
use super::status::UNNOTICED;
use super::view::Told;
use crate::cli::escape::{Escape, Escapes, Typed};
use crate::cli::terminal;

/// What is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// ^D: a terminal's end of input.
const END_OF_INPUT: u8 = 4;

/// Why nobody types any more.
pub enum Left {
    /// `~.`
    Detached {
        /// Bytes typed before that are not known to have been taken.
        undelivered: u64,
    },
}

/// Types until somebody detaches; from when the attachment stands.
pub async fn run(
    input: Input,
    stood: oneshot::Receiver<Mode>,
    view: mpsc::Sender<Told>,
    typed: Arc<Notify>,
    escape: Option<u8>,
    observes: bool,
) -> Left {
    let Ok(mode) = stood.await else { return std::future::pending().await };
    // Who reads goes on reading while the session takes nothing: whoever types can always leave.
    let held = if escape.is_some() { Held::from_keyboard() } else { Held::from_pipe() };
    let reads = async {
        let view = view.clone();
        let mut typist = Typist { input: &input, held: &held, view, typed, observes };
        let left = typist.types(escape, mode).await;
        // Where there is nothing more to read, there is still something to see.
        if !left {
            std::future::pending().await
        }
    };
    let mut fills = pin!(fills(&input, &held));
    tokio::select! {
        () = reads => {}
        never = &mut fills => match never {},
    }
    // What was typed before the escape was meant to arrive. A session that takes it needs no more
    // than a moment, and one that does not keeps nobody.
    let arrives = async {
        held.drained().await;
        let _ = input.flush().await;
    };
    let says_so = async {
        sleep(UNNOTICED).await;
        let _ = view.try_send(Told::Leaves);
        std::future::pending().await
    };
    tokio::select! {
        _ = timeout(LEAVING, arrives) => {}
        () = says_so => {}
        never = &mut fills => match never {},
    }
    let (applied, typed) = input.position();
    Left::Detached { undelivered: typed.since(applied) + held.len() }
}

/// Fills the session's input with what is held, as there is room.
async fn fills(input: &Input, held: &Held) -> Infallible {
    loop {
        let piece = held.take().await;
        // After the end of the session typing means nothing; the view says why.
        let _ = input.send(piece).await;
    }
}

/// Who reads what is typed.
struct Typist<'a> {
    input: &'a Input,
    held: &'a Held,
    view: mpsc::Sender<Told>,
    /// Told of each key that is not an escape, in the sense in which nobody counts them.
    typed: Arc<Notify>,
    observes: bool,
}

impl Typist<'_> {
    /// Reads until somebody detaches, `true`, or there is nothing more to read.
    async fn types(&mut self, escape: Option<u8>, mode: Mode) -> bool {
        let mut chunks = read_stdin();
        let mut escapes = match mode {
            Mode::Terminal => Escapes::new(escape),
            Mode::Lines => Escapes::by_lines(escape),
        };
        let mut last = b'\n';
        let by_a_person = terminal::is_typed_at();
        while let Some(chunk) = chunks.recv().await {
            if by_a_person {
                self.input.retry_now();
            }
            for typed in escapes.take(&chunk) {
                match typed {
                    Typed::Bytes(bytes) => {
                        last = bytes.last().copied().unwrap_or(last);
                        if by_a_person {
                            self.typed.notify_one();
                        }
                        self.hold(&bytes).await;
                    }
                    Typed::Escape(Escape::Detach) => return true,
                    Typed::Escape(Escape::Suspend) => {
                        terminal::suspend();
                        if let Some(size) = terminal::size() {
                            self.input.resize(size);
                        }
                        self.tell(Told::Redraw);
                    }
                    Typed::Escape(Escape::Extend) => {
                        // A refusal means that there is no time to win; the notices say how much
                        // is left.
                        let _ = self.input.extend();
                    }
                    // Any key does that; this one does nothing else.
                    Typed::Escape(Escape::Retry) => {}
                    Typed::Escape(Escape::Help) => self.tell(Told::Help),
                }
            }
        }
        // A pipe has ended: so does the terminal's input. In the middle of a line the first ^D only
        // hands over the line.
        if mode == Mode::Terminal && escape.is_none() {
            let ends: &[u8] = if last == b'\n' { &[END_OF_INPUT] } else { &[END_OF_INPUT; 2] };
            self.hold(ends).await;
        }
        false
    }

    async fn hold(&self, bytes: &[u8]) {
        if !self.observes && self.held.put(bytes).await.is_err() {
            self.tell(Told::Dropped);
        }
    }

    /// Tells the view. It may wait for the terminal itself, and reading must not wait with it: what
    /// it has no room for is left unsaid.
    fn tell(&self, what: Told) {
        let _ = self.view.try_send(what);
    }
}

/// Reads standard input on a thread of its own: nothing else can wait for a terminal without
/// changing it for everybody who shares it.
fn read_stdin() -> mpsc::Receiver<Vec<u8>> {
    let (chunks, receiver) = mpsc::channel(4);
    let reads = move || {
        let stdin = std::io::stdin();
        let mut buffer = vec![0; CHUNK];
        loop {
            match rustix::io::read(&stdin, &mut buffer) {
                Ok(0) | Err(Errno::IO) => return,
                Ok(len) => {
                    if chunks.blocking_send(buffer[..len].to_vec()).is_err() {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => terminal::waits(),
                Err(_) => return,
            }
        }
    };
    // Without a thread nothing is typed, and the shell can still be watched.
    let _ = std::thread::Builder::new().name("stdin".into()).spawn(reads);
    receiver
}
