//! When to dial, with which number and with or without the token, and when to give up. Knows no
//! program and nothing that crosses a link.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use shellgate_protocol::Dial;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::backoff;
use crate::config::{DialTo, Token};
use crate::dial::{DialError, Linked, dial};
use crate::identity::{Identity, nonce};

/// How long a bridge that was never welcomed looks for a gateway.
const ORPHAN_AT_FIRST: Duration = Duration::from_secs(600);

/// So many refusals in a row mean that nobody wants this launch any more; fewer may come from a
/// gateway that is just starting.
const REFUSALS: u32 = 3;

/// Why there will be no link any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GiveUp {
    /// No gateway has answered for too long.
    #[error("no gateway has answered for {0:?}")]
    Orphaned(Duration),
    /// Whoever runs the task wants its end before any gateway was found.
    #[error("told to end before a gateway was found")]
    Dismissed,
    /// The gateway does not know this launch, or takes it for one that is over.
    #[error("this launch is not wanted any more: the gateway answers {0}")]
    Unwanted(u16),
}

enum State {
    /// There is a link, and nobody asked for another.
    Content,
    Waiting(Pin<Box<Sleep>>),
    Dialling(Pin<Box<dyn Future<Output = Result<Linked, DialError>>>>),
}

/// The one who dials.
pub struct Dialler {
    to: Rc<DialTo>,
    identity: Rc<Identity>,
    token: Option<Rc<Token>>,
    number: u32,
    failures: u32,
    refusals: u32,
    orphan: Duration,
    /// Since when no gateway has answered.
    alone_since: Instant,
    /// Whether an older link is still served while this one is dialled.
    has_link: bool,
    state: State,
    /// The last failure, for the log.
    failure: Option<String>,
}

impl Dialler {
    /// Dials at once.
    #[must_use]
    pub fn new(to: DialTo, identity: Rc<Identity>, token: Token) -> Self {
        Self {
            to: Rc::new(to),
            identity,
            token: Some(Rc::new(token)),
            number: 0,
            failures: 0,
            refusals: 0,
            orphan: ORPHAN_AT_FIRST,
            alone_since: Instant::now(),
            has_link: false,
            state: State::Waiting(Box::pin(sleep(Duration::ZERO))),
            failure: None,
        }
    }

    /// The link is gone: dials at once, unless it is dialling already.
    pub fn link_lost(&mut self) {
        self.has_link = false;
        self.alone_since = Instant::now();
        if matches!(self.state, State::Content) {
            self.wait(Duration::ZERO);
        }
    }

    /// The gateway leaves: dials after so long.
    pub fn dial_in(&mut self, wait: Duration) {
        if matches!(self.state, State::Content) {
            self.wait(wait);
        }
    }

    /// What the last failed dial died of, once.
    pub fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    /// The next link. Pending while there is one and nobody asked for another.
    ///
    /// # Errors
    /// Where there will be none any more.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Linked, GiveUp>> {
        loop {
            match &mut self.state {
                State::Content => return Poll::Pending,
                State::Waiting(sleep) => {
                    std::task::ready!(sleep.as_mut().poll(cx));
                    if !self.has_link && self.alone_since.elapsed() >= self.orphan {
                        return Poll::Ready(Err(GiveUp::Orphaned(self.orphan)));
                    }
                    self.number = self.number.saturating_add(1);
                    let (to, identity, token) =
                        (self.to.clone(), self.identity.clone(), self.token.clone());
                    let number = Dial(self.number);
                    self.state = State::Dialling(Box::pin(async move {
                        dial(&to, &identity, number, token.as_deref()).await
                    }));
                }
                State::Dialling(dialling) => match std::task::ready!(dialling.as_mut().poll(cx)) {
                    Ok(linked) => {
                        self.token = None;
                        (self.failures, self.refusals) = (0, 0);
                        self.orphan = linked.orphan;
                        self.has_link = true;
                        self.state = State::Content;
                        return Poll::Ready(Ok(linked));
                    }
                    Err(error) => self.failed(&error)?,
                },
            }
        }
    }

    fn failed(&mut self, error: &DialError) -> Result<(), GiveUp> {
        self.failure = Some(error.to_string());
        self.refusals = match error {
            DialError::Refused(status @ (403 | 404 | 409 | 410)) => {
                if self.refusals + 1 >= REFUSALS && !self.has_link {
                    return Err(GiveUp::Unwanted(*status));
                }
                self.refusals + 1
            }
            DialError::Unreachable(_)
            | DialError::Distrusted(_)
            | DialError::Closed(..)
            | DialError::TooLate(_)
            | DialError::Broken(_)
            | DialError::Unexpected(_)
            | DialError::NoKey(_)
            | DialError::Refused(_) => 0,
        };
        if matches!(error, DialError::Refused(_)) {
            self.alone_since = Instant::now();
        }
        self.failures = self.failures.saturating_add(1);
        // Without random numbers nothing can be dialled either: the longest wait is right then.
        let random =
            nonce().map_or(u32::MAX, |n| u32::from_be_bytes([n.0[0], n.0[1], n.0[2], n.0[3]]));
        self.wait(backoff::wait(self.failures, random));
        Ok(())
    }

    fn wait(&mut self, wait: Duration) {
        let mut until = Instant::now() + wait;
        if !self.has_link {
            until = until.min(self.alone_since + self.orphan);
        }
        self.state = State::Waiting(Box::pin(sleep_until(until)));
    }
}
