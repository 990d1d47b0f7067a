//! Control messages between a bridge and the gateway that it dialled: JSON text, `{"type": …}`.
//!
//! The order of a link's start: bridge `hello` → gateway `challenge` → bridge `proof` → gateway
//! `welcome`. Nothing else is legal before `welcome`.

use serde::{Deserialize, Serialize};

use crate::client_leg::{
    Attach, ExitStatus, GapReason, InputStart, Mode, Notice, OutputStart, Signal,
};
use crate::enrolment::{Bytes32, Bytes64, Opaque};
use crate::id::{ChannelNumber, Dial, Launch};
use crate::object;
use crate::offset::Offset;
use crate::size::TerminalSize;

/// Bridge → gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromBridge {
    /// First: who dials.
    Hello {
        /// The bridge's Ed25519 public key (RFC 8032), made when it started.
        key: Bytes32,
        /// Fresh random bytes.
        nonce: Bytes32,
        /// Which task of the session this is.
        launch: Launch,
        /// The how-many-th dial of this launch.
        dial: Dial,
        /// The bridge's version.
        version: String,
        /// Types of message beyond the first version's that this bridge understands.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        can: Vec<String>,
    },
    /// The answer to `challenge`: a signature over [`crate::enrolment::transcript`].
    Proof {
        /// Ed25519.
        signature: Bytes64,
    },
    /// The answer to `open`: the channel is there; its output follows.
    Attached {
        /// Which.
        channel: ChannelNumber,
        /// Where output goes on.
        #[serde(deserialize_with = "object::read")]
        output: OutputStart,
        /// Where this stream's input goes on.
        #[serde(deserialize_with = "object::read")]
        input: InputStart,
        /// The terminal's size now.
        size: TerminalSize,
    },
    /// The answer to `open`, or the bridge's own end of a channel: it is not there (any more).
    Refused {
        /// Which.
        channel: ChannelNumber,
        /// Why.
        why: Refused,
    },
    /// The answer to `close`.
    Closed {
        /// Which.
        channel: ChannelNumber,
        /// All input of its stream before this offset was applied.
        applied: Offset,
    },
    /// In a channel's stream: see [`crate::ToClient::Size`].
    Size {
        /// Which.
        channel: ChannelNumber,
        /// Cells in a row.
        cols: u16,
        /// Rows.
        rows: u16,
        /// From here on.
        at: Offset,
    },
    /// In a channel's stream: see [`crate::ToClient::Gap`].
    Gap {
        /// Which.
        channel: ChannelNumber,
        /// The first missing byte.
        from: Offset,
        /// The first byte after it.
        to: Offset,
        /// Why.
        why: GapReason,
    },
    /// In a channel's stream: see [`crate::ToClient::Live`].
    Live {
        /// Which.
        channel: ChannelNumber,
    },
    /// In a channel's stream: the program has ended and all its output before `at` was sent.
    /// Without a channel: news for the gateway itself, as soon as the bridge knows, again on each link.
    Exit {
        /// Which, or the gateway.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channel: Option<ChannelNumber>,
        /// Where the output ends.
        at: Offset,
        /// How.
        #[serde(flatten)]
        status: ExitStatus,
    },
    /// A channel's client should know this.
    Notice {
        /// Which.
        channel: ChannelNumber,
        /// What.
        #[serde(flatten)]
        notice: Notice,
    },
    /// The bridge has nothing left to do: a driver has acknowledged the end, or nobody came for it
    /// in time. The gateway stores this and answers `stop`.
    Ended {
        /// Where the output ends.
        at: Offset,
        /// All output before this offset was acknowledged by a driver.
        acknowledged: Offset,
        /// The last screen as terminal output, at most [`crate::limits::LAST_SCREEN_MAX`] bytes.
        screen: Opaque,
        /// Its size.
        size: TerminalSize,
        /// How the program ended.
        #[serde(flatten)]
        status: ExitStatus,
    },
    /// What the program has been up to: every few seconds while that changes.
    Stats(Stats),
    /// For the operator's log: a line of the bridge's own, or of a line-mode program's stderr.
    Log {
        /// Whose words they are.
        source: LogSource,
        /// At most 4 KiB.
        text: String,
    },
}

/// Why a channel is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// So many streams came after this one that its position is not known any more.
    StreamForgotten,
    /// Another channel drives.
    AnotherDriver,
    /// Its client sent what no client may: see the bridge's log.
    BadInput,
    /// There are more channels than a bridge serves.
    TooMany,
}

/// Whose words a log line has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogSource {
    /// The bridge's own.
    Bridge,
    /// The program's stderr, in line mode.
    Program,
}

/// What the idle policy and an operator look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stats {
    /// Where the output ends by now.
    pub output: Offset,
    /// The oldest byte of it that is kept.
    pub kept_from: Offset,
    /// Processor time of the whole process tree so far, in milliseconds.
    pub cpu_ms: u64,
    /// Processes in the task, the bridge not counted.
    pub processes: u32,
    /// Whether a job other than the program itself is in the terminal's foreground.
    pub foreground_job: bool,
    /// Resident memory of the whole process tree, in bytes.
    pub memory: u64,
}

/// What a task runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The program and its arguments; found on `PATH`.
    pub command: Vec<String>,
    /// On a terminal, or by lines.
    pub mode: Mode,
    /// Its whole environment, besides what the bridge sets itself (`TERM`, `SHELLGATE_SESSION`).
    pub env: Vec<(String, String)>,
    /// Where it starts; the home directory where absent or not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// The terminal's size until a driver says otherwise.
    #[serde(default)]
    pub size: TerminalSize,
    /// A line for the person at the terminal before the first prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motd: Option<String>,
}

/// What the name of a replaced secret's file ends with. No secret's own name does.
pub const PREVIOUS_SUFFIX: &str = ".previous";

/// A secret for the program. Its `Debug` shows its name only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The name of its file; letters, digits, `_`, `-`, `.`, not beginning with a dot, nor
    /// ending with [`PREVIOUS_SUFFIX`].
    pub name: String,
    /// Its bytes.
    pub value: Opaque,
    /// The environment variable that has it as well, where the template asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secret").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Gateway → bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToBridge {
    /// The answer to `hello`.
    Challenge {
        /// Fresh random bytes.
        nonce: Bytes32,
    },
    /// The link stands. The first one of a launch starts the program; later ones are the same
    /// message and start nothing.
    Welcome {
        /// What to run.
        program: Program,
        /// What it gets. Absent where the gateway can't tell at the moment: it keeps what it has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secrets: Option<Vec<Secret>>,
        /// How long the values that these replace are kept; see [`ToBridge::Secrets`].
        #[serde(default, skip_serializing_if = "is_zero")]
        overlap_ms: u64,
        /// How long the bridge may find no gateway before it stops its task, in seconds.
        orphan_seconds: u64,
        /// Types of message beyond the first version's that this gateway understands.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        can: Vec<String>,
    },
    /// A client has come.
    Open {
        /// Its number from now on.
        channel: ChannelNumber,
        /// What it asked for, its window within the limits. The gateway has settled who drives:
        /// a driver's `open` replaces the driver that the bridge has.
        #[serde(flatten)]
        attach: Attach,
    },
    /// See [`crate::FromClient::Resize`].
    Resize {
        /// Whose.
        channel: ChannelNumber,
        /// Its size now.
        #[serde(flatten)]
        size: TerminalSize,
    },
    /// See [`crate::FromClient::Visible`].
    Visible {
        /// Whose.
        channel: ChannelNumber,
        /// Whether it can be seen.
        yes: bool,
    },
    /// See [`crate::FromClient::Signal`].
    Signal {
        /// Whose.
        channel: ChannelNumber,
        /// Its client's id for the request.
        id: u64,
        /// Which one.
        name: Signal,
    },
    /// A client has gone. Answered by `closed`; frames of the channel are dropped from here on.
    Close {
        /// Which.
        channel: ChannelNumber,
        /// Drop what its stream has queued and not applied: somebody else has taken over.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        drop_input: bool,
    },
    /// Secrets have changed: these replace those of the same names.
    Secrets {
        /// The changed ones.
        secrets: Vec<Secret>,
        /// How long each value that is replaced stays beside the new one, in the file of the secret's
        /// name with [`PREVIOUS_SUFFIX`], in milliseconds. The bridge counts them from the
        /// replacement.
        #[serde(default, skip_serializing_if = "is_zero")]
        overlap_ms: u64,
    },
    /// End the program (its signals: HUP and TERM, after the grace KILL), say `exit`, hand over the
    /// end, and leave. After `ended`: leave now.
    Stop {
        /// Why, for `exit`.
        reason: crate::client_leg::EndReason,
        /// Milliseconds between asking and killing.
        grace_ms: u64,
    },
    /// The gateway leaves: dial again in so many milliseconds.
    Goaway {
        /// Milliseconds.
        retry_ms: u64,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client_leg::Role;
    use crate::id::{ClientId, InputStream};

    #[test]
    fn open_is_attach_with_a_channel() {
        let open = ToBridge::Open {
            channel: ChannelNumber(7),
            attach: Attach {
                role: Role::Driver,
                client: ClientId::from_bits(1),
                takeover: false,
                launch: None,
                output: Offset::new(5),
                input_stream: InputStream::from_bits(2),
                size: TerminalSize::DEFAULT,
                window: 65536,
                can: vec![],
            },
        };
        let text = serde_json::to_string(&open).unwrap();
        assert!(text.starts_with(r#"{"type":"open","channel":7,"role":"driver""#), "{text}");
        assert_eq!(serde_json::from_str::<ToBridge>(&text).unwrap(), open);
    }

    #[test]
    fn a_resize_is_flat() {
        let resize = ToBridge::Resize { channel: ChannelNumber(1), size: TerminalSize::DEFAULT };
        let text = serde_json::to_string(&resize).unwrap();
        assert_eq!(text, r#"{"type":"resize","channel":1,"cols":80,"rows":24}"#);
        assert_eq!(serde_json::from_str::<ToBridge>(&text).unwrap(), resize);
    }

    #[test]
    fn a_secret_does_not_show_in_debug() {
        let secret = Secret { name: "k".into(), value: Opaque(b"hidden".to_vec()), env: None };
        assert!(!format!("{secret:?}").contains("hidden"));
    }
}
