//! What an attachment tells its caller, and why it breaks or ends. Knows no sockets.

use std::fmt;

use bytes::Bytes;
use shellgate_protocol::client_leg::{
    ExitStatus, GapReason, Limits, Mode, Notice, Phase, Resume, Role,
};
use shellgate_protocol::close::STREAM_FORGOTTEN;
use shellgate_protocol::{CloseCode, Launch, Offset, SessionId, TerminalSize};

/// What happens to an attachment, in order. The streams' promise is the caller's to use: output
/// comes without a hole and without a repeat; what is missing is announced by [`Event::Gap`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The session is on its way.
    Starting {
        /// What it waits for.
        phase: Phase,
        /// Its place in the start queue, from 1.
        position: Option<u32>,
        /// Milliseconds since this phase began.
        elapsed_ms: u64,
        /// Milliseconds that the phase usually takes; 0 where nobody knows yet.
        expected_ms: u64,
    },
    /// The attachment stands; also after each reconnect.
    Attached(Attached),
    /// The program's output.
    Output {
        /// Where its first byte lies.
        from: Offset,
        /// The bytes; never none.
        bytes: Bytes,
        /// A driver has seen them before: a terminal that is fed with them must not answer the
        /// queries among them again.
        replay: bool,
    },
    /// A piece of a screen to be drawn from nothing. All pieces of one have the same offset.
    Keyframe {
        /// The screen shows all output before this offset.
        at: Offset,
        /// The piece.
        bytes: Bytes,
        /// It is the first piece.
        first: bool,
    },
    /// Output that will not come.
    Gap {
        /// The first missing byte.
        from: Offset,
        /// The first byte after it.
        to: Offset,
        /// Why.
        why: GapReason,
    },
    /// The session's terminal has another size from here on.
    Size(TerminalSize),
    /// All that was kept has come: from here on output is new.
    Live,
    /// For a person.
    Notice(Notice),
    /// The program has ended, and its output with it. [`Event::Closed`] follows.
    Exit {
        /// Where the output ends.
        at: Offset,
        /// How the program ended.
        status: ExitStatus,
    },
    /// The connection is gone; it is dialled again.
    Reconnecting {
        /// The how-many-th dial since the attachment last stood, from 1.
        attempt: u32,
        /// Milliseconds until then.
        wait_ms: u64,
        /// Why.
        why: Break,
    },
    /// The last event: the attachment is over.
    Closed(Closed),
}

/// An attachment that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// To which session.
    pub session: SessionId,
    /// To which launch of it.
    pub launch: Launch,
    /// It is another launch than before: another program, and nothing of the old screen holds.
    pub new_launch: bool,
    /// How the program runs.
    pub mode: Mode,
    /// What this client may do.
    pub role: Role,
    /// The first byte of output that will come.
    pub from: Offset,
    /// How that was found.
    pub resume: Resume,
    /// The terminal's size now.
    pub size: TerminalSize,
    /// What the gateway holds this client to.
    pub limits: Limits,
    /// Bytes of input that are not known to be applied and are dropped: they were typed to an
    /// earlier launch, or on an input stream that the session has forgotten.
    pub dropped_input: u64,
}

/// Why a connection broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// It was closed with a code.
    Closed {
        /// The code.
        code: u16,
        /// The words that came with it, made fit for a terminal.
        reason: String,
    },
    /// The upgrade was refused.
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the gateway says about it, made fit for a terminal.
        detail: String,
    },
    /// There was no close: the network broke.
    Lost(String),
    /// The gateway was not reached.
    Unreachable(String),
    /// There is no token to dial with, for now or for good.
    NoToken(String),
    /// Nothing was heard for [`shellgate_protocol::limits::SILENCE_SECONDS`].
    Silent,
    /// The gateway leaves and asked to come back.
    Goaway,
    /// The gateway sent what it must not.
    Violation(Violation),
}

impl Break {
    /// The session does not know this client's input stream any more: another one mends that.
    pub(crate) fn is_forgotten_stream(&self) -> bool {
        let Self::Closed { code, reason } = self else { return false };
        *code == CloseCode::BadRequest.number() && reason == STREAM_FORGOTTEN
    }

    /// The close code, where there is one.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Closed { code, .. } => Some(*code),
            Self::Refused { .. }
            | Self::Lost(_)
            | Self::Unreachable(_)
            | Self::NoToken(_)
            | Self::Silent
            | Self::Goaway
            | Self::Violation(_) => None,
        }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed { reason, .. } if reason == STREAM_FORGOTTEN => {
                f.write_str("the session has forgotten what was typed here")
            }
            Self::Closed { code, reason } if reason.is_empty() => {
                write!(f, "{}", meaning(*code))
            }
            Self::Closed { reason, .. } => f.write_str(reason),
            Self::Refused { status, detail } if detail.is_empty() => {
                write!(f, "the gateway refused the connection (HTTP status {status})")
            }
            Self::Refused { detail, .. } => f.write_str(detail),
            Self::Lost(_) => f.write_str("the connection broke"),
            Self::Unreachable(why) => write!(f, "the gateway cannot be reached: {why}"),
            Self::NoToken(why) => f.write_str(why),
            Self::Silent => f.write_str("the gateway has been silent for too long"),
            Self::Goaway => f.write_str("the gateway restarts"),
            Self::Violation(violation) => write!(f, "the gateway made a mistake: {violation}"),
        }
    }
}

/// What a close code says to a person.
fn meaning(code: u16) -> String {
    let Some(code) = CloseCode::from_u16(code) else {
        return format!("the gateway closed the connection with the unknown code {code}");
    };
    match code {
        CloseCode::Normal => "the session is over",
        CloseCode::GoingAway | CloseCode::Restart => "the gateway restarts",
        CloseCode::Protocol | CloseCode::BadRequest => {
            "the gateway does not understand this client: is one of them too old?"
        }
        CloseCode::NotUtf8 => "a line was not UTF-8",
        CloseCode::TooBig => "a message was too big",
        CloseCode::Overloaded => "the gateway has too much to do",
        CloseCode::Unauthenticated => "the token is missing, wrong or has run out",
        CloseCode::Forbidden => "the token does not allow this",
        CloseCode::NotFound => "there is no such session",
        CloseCode::Idle => "the session was stopped because nobody worked in it",
        CloseCode::AnotherDriver => "somebody else drives this session",
        CloseCode::Ended => "the session has ended",
        CloseCode::Quota => "a limit is reached",
        CloseCode::Internal => "the gateway failed",
        CloseCode::LinkLost => "the gateway lost its link to the session",
        CloseCode::Timeout => "the session did not answer in time",
    }
    .to_owned()
}

/// What no honest gateway sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Output is missing and no gap was announced.
    #[error("output went on at {at} where {expected} was next")]
    Hole {
        /// Where it went on.
        at: Offset,
        /// Where it should.
        expected: Offset,
    },
    /// More output than was asked for.
    #[error("output came up to {end}, beyond the window's end at {limit}")]
    BeyondWindow {
        /// Where it ends.
        end: Offset,
        /// Where it may end.
        limit: Offset,
    },
    /// A keyframe larger than one may be.
    #[error("a keyframe has more than {} bytes", shellgate_protocol::limits::KEYFRAME_MAX)]
    KeyframeTooBig,
    /// Input was reported as applied that was not sent.
    #[error("input was applied up to {at}, though only {sent} was sent")]
    AppliedBeyondSent {
        /// What it claims.
        at: Offset,
        /// What was sent.
        sent: Offset,
    },
    /// Input that was reported as applied is asked for again.
    #[error("input was applied up to {applied}, and now only up to {at}")]
    AppliedTakenBack {
        /// What it claims now.
        at: Offset,
        /// What it claimed before.
        applied: Offset,
    },
    /// A message that is not of this protocol.
    #[error("{0}")]
    Message(String),
    /// A message that has its time, and not now.
    #[error("{0} came out of turn")]
    OutOfTurn(&'static str),
}

impl Violation {
    /// Coming back cannot help: bytes that would be needed are gone.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::AppliedTakenBack { .. })
    }
}

/// Why an attachment is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Which end it is.
    pub why: Why,
    /// What went before, where something did; its `Display` is for a person.
    pub last: Option<Break>,
    /// Bytes of input that are not known to be applied. Those that were on their way when the
    /// program ended do not count.
    pub undelivered: u64,
}

impl Closed {
    /// The close code that ended it, where one did.
    #[must_use]
    pub fn code(&self) -> Option<CloseCode> {
        self.last.as_ref().and_then(Break::code).and_then(CloseCode::from_u16)
    }
}

/// The ways in which an attachment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The caller left.
    Left,
    /// The program has ended: [`Event::Exit`] came before.
    Exited,
    /// The gateway closed with a code that says stop.
    Stopped,
    /// The token was refused, and so was a newer one, or there is none.
    Unauthenticated,
    /// It took longer than the caller's patience.
    OutOfPatience,
    /// The gateway's mistake cannot be mended by coming back.
    Broken,
}
