//! Control messages between a client and the gateway: JSON text, `{"type": …}`.
//!
//! Unknown fields are ignored, so that a newer peer may add some; an unknown type is an error,
//! because a type is sent only to who said in `can` that it knows it.

use serde::{Deserialize, Serialize};

use crate::id::{ClientId, InputStream, Launch, SessionId};
use crate::limits;
use crate::object;
use crate::offset::Offset;
use crate::size::TerminalSize;

/// What an attachment may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Types, resizes, signals. One a session.
    Driver,
    /// Watches. Its input and control are dropped and counted.
    Observer,
}

/// How a session's program is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// On a terminal.
    Terminal,
    /// On stdin and stdout, by lines of UTF-8.
    Lines,
}

/// The first message of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// What it asks to be.
    pub role: Role,
    /// Made per page load or process.
    pub client: ClientId,
    /// Take the session from another driver. Never set by an automatic reconnect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub takeover: bool,
    /// The launch that `output` and `input_stream` speak of, once the client has heard of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch: Option<Launch>,
    /// All output before this offset is known. Absent: a keyframe, then live. 0: all that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Offset>,
    /// Where the offsets of this client's input count.
    pub input_stream: InputStream,
    /// The client's terminal.
    #[serde(default)]
    pub size: TerminalSize,
    /// Bytes of output that may be under way to this client; held within the wire's limits.
    #[serde(default = "default_window", deserialize_with = "window")]
    pub window: u32,
    /// Types of message beyond the first version's that this client understands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub can: Vec<String>,
}

fn default_window() -> u32 {
    limits::WINDOW_DEFAULT
}

/// Whoever grants more than anybody may is granted what anybody may: any whole number below 2^64
/// will do.
fn window<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    u64::deserialize(from).map(|window| window.min(limits::WINDOW_MAX.into()) as u32)
}

/// Client → gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromClient {
    /// First, within [`limits::FIRST_MESSAGE_SECONDS`].
    Attach(Attach),
    /// The client's terminal has another size. Acts at once, ahead of queued input.
    Resize(TerminalSize),
    /// Whether anybody can see the terminal. A hidden driver counts as absent.
    Visible {
        /// It can be seen.
        yes: bool,
    },
    /// Sends a signal to the terminal's foreground processes.
    Signal {
        /// Chosen by the client; repeated with the same id until answered, applied once.
        id: u64,
        /// Which one.
        name: Signal,
    },
    /// Puts off the idle stop, and the end of the lifetime as far as its limit allows.
    Extend {
        /// Chosen by the client; repeated with the same id until answered, applied once.
        id: u64,
    },
    /// A newer token of the same issuer and user.
    Reauth {
        /// The JSON Web Token.
        token: Token,
    },
    /// Measures the way there and back.
    Ping {
        /// Comes back in `pong`.
        t: u64,
    },
}

/// A JSON Web Token on its way. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The signals that a client may ask for, by their POSIX names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)]
pub enum Signal {
    Hup,
    Int,
    Quit,
    Term,
    Kill,
    Usr1,
    Usr2,
    Tstp,
    Cont,
}

/// What a session that is not attached yet is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Its turn to be started.
    Queued,
    /// Its user's files.
    Volume,
    /// Its user's secrets.
    Secrets,
    /// Its task.
    Task,
    /// Its bridge's first call.
    Dialling,
    /// Its bridge's next call, after a link broke.
    Reconnecting,
}

/// How a client's place in the output was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resume {
    /// Output goes on exactly at `from`.
    Exact,
    /// A keyframe at `from` comes first.
    Keyframe,
    /// The session has ended: its last screen and its status follow.
    Ended,
}

/// Where output goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputStart {
    /// The first byte that will come.
    pub from: Offset,
    /// How that was found.
    pub resume: Resume,
}

/// Where input goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputStart {
    /// All input of this stream before this offset has been taken by the program's terminal.
    pub applied: Offset,
}

/// What the gateway holds a client to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of output that may be under way, as granted.
    pub window: u32,
    /// Largest payload of an input frame, in bytes.
    pub input_frame: u32,
    /// Input that may be sent and not applied yet, in bytes.
    pub input_unapplied: u32,
    /// Largest control message, in bytes.
    pub control: u32,
}

impl Limits {
    /// The wire's limits with a granted window.
    #[must_use]
    pub fn with_window(window: u32) -> Self {
        Self {
            window,
            input_frame: limits::INPUT_FRAME_MAX as u32,
            input_unapplied: limits::INPUT_UNAPPLIED_MAX as u32,
            control: limits::CONTROL_MAX as u32,
        }
    }
}

/// Why output is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// It is not kept any more.
    Lost,
    /// It is kept, but this slow observer was moved on to the newest screen.
    Skipped,
}

/// Why a session ended, as far as its program goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Its program ended by itself.
    Exited,
    /// Its user, or an operator, stopped it.
    Stopped,
    /// Nobody worked in it.
    Idle,
    /// It reached the longest life that it may have.
    Lifetime,
    /// Its task could not be started.
    StartFailed,
    /// Its task is gone and nobody knows why.
    Lost,
    /// Somebody else used its enrolment token.
    Compromised,
    /// The gateway was told by a person to stop, and its tasks with it.
    Shutdown,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// Its exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The name of the signal that ended it (`KILL`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Why.
    pub reason: EndReason,
    /// What its user should know besides: the tail of a line-mode program's stderr, why a start
    /// failed. At most 2 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a person should know, and nothing in the streams depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Notice {
    /// Nobody works here: the session stops in so many seconds, unless extended.
    IdleWarning {
        /// Seconds left.
        seconds: u64,
    },
    /// The session reaches its longest life in so many seconds.
    LifetimeWarning {
        /// Seconds left.
        seconds: u64,
    },
    /// The answer to `extend`.
    Extended {
        /// The request's.
        id: u64,
        /// Seconds until the earlier of the session's two clocks runs out.
        seconds: u64,
    },
    /// The answer to `signal`.
    Signalled {
        /// The request's.
        id: u64,
    },
    /// Somebody watches, or has left.
    Observers {
        /// How many there are now.
        count: u32,
    },
    /// Another driver took over; what this one typed was applied up to here, the rest is dropped.
    TakenOver {
        /// All input of this stream before this offset was applied.
        applied: Offset,
    },
    /// The session runs in another launch than the client's: output starts at 0.
    NewLaunch {
        /// The launch that runs.
        launch: Launch,
    },
    /// The keyframe is incomplete: the program was made to repaint.
    PartialKeyframe,
    /// The token runs out in so many seconds: `reauth`.
    TokenExpires {
        /// Seconds left, the grace not counted.
        seconds: u64,
    },
    /// What the operator wants known.
    Policy {
        /// In words.
        text: String,
    },
}

/// Gateway → client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToClient {
    /// The session has no link yet, or has lost it.
    Starting {
        /// What it waits for.
        phase: Phase,
        /// Its place in the start queue, from 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<u32>,
        /// Since this phase began.
        elapsed_ms: u64,
        /// What the phase usually takes; 0 where nobody knows yet.
        expected_ms: u64,
    },
    /// The client is attached. Frames and input may flow.
    Attached {
        /// To which session.
        session: SessionId,
        /// To which launch of it.
        launch: Launch,
        /// How its program runs.
        mode: Mode,
        /// What this client may do.
        role: Role,
        /// Where output goes on.
        #[serde(deserialize_with = "object::read")]
        output: OutputStart,
        /// Where input goes on.
        #[serde(deserialize_with = "object::read")]
        input: InputStart,
        /// The terminal's size now.
        size: TerminalSize,
        /// What the gateway holds the client to.
        #[serde(deserialize_with = "object::read")]
        limits: Limits,
        /// Types of message beyond the first version's that this gateway understands.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        can: Vec<String>,
    },
    /// The terminal has another size from this offset on.
    Size {
        /// Cells in a row.
        cols: u16,
        /// Rows.
        rows: u16,
        /// From here on.
        at: Offset,
    },
    /// Output that will not come. Its keyframe follows.
    Gap {
        /// The first missing byte.
        from: Offset,
        /// The first byte after it.
        to: Offset,
        /// Why.
        why: GapReason,
    },
    /// All that was kept has been sent: from here on output is new.
    Live,
    /// The program has ended, and the output with it.
    Exit {
        /// Where the output ends.
        at: Offset,
        /// How.
        #[serde(flatten)]
        status: ExitStatus,
    },
    /// For a person.
    Notice {
        /// What.
        #[serde(flatten)]
        notice: Notice,
    },
    /// The gateway leaves: come back in so many milliseconds; another one will be there.
    Goaway {
        /// Milliseconds.
        retry_ms: u64,
    },
    /// The answer to `ping`.
    Pong {
        /// The request's.
        t: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attach_with_little_in_it_gets_the_defaults() {
        let text = r#"{"type":"attach","role":"driver","client":"00000000000000000000000000000001",
            "input_stream":"00000000000000000000000000000002","of_the_future":1}"#;
        let FromClient::Attach(attach) = serde_json::from_str(text).unwrap() else {
            panic!("not an attach")
        };
        assert_eq!(attach.window, limits::WINDOW_DEFAULT);
        assert_eq!(attach.size, TerminalSize::DEFAULT);
        assert_eq!((attach.launch, attach.output, attach.takeover), (None, None, false));
    }

    #[test]
    fn a_token_does_not_show_in_debug() {
        let reauth = FromClient::Reauth { token: Token("secret".into()) };
        assert!(!format!("{reauth:?}").contains("secret"));
    }

    #[test]
    fn an_exit_and_a_notice_are_flat_on_the_wire() {
        let status =
            ExitStatus { code: Some(3), signal: None, reason: EndReason::Exited, detail: None };
        let exit = ToClient::Exit { at: Offset::ZERO, status };
        assert_eq!(
            serde_json::to_string(&exit).unwrap(),
            r#"{"type":"exit","at":0,"code":3,"reason":"exited"}"#
        );
        let notice = ToClient::Notice { notice: Notice::Observers { count: 1 } };
        let text = serde_json::to_string(&notice).unwrap();
        assert_eq!(text, r#"{"type":"notice","kind":"observers","count":1}"#);
        assert_eq!(serde_json::from_str::<ToClient>(&text).unwrap(), notice);
    }

    #[test]
    fn an_unknown_type_is_an_error() {
        assert!(serde_json::from_str::<FromClient>(r#"{"type":"reboot"}"#).is_err());
    }
}
