//! The wire's numbers: each with its unit and its reason. What an operator may change is in the
//! gateway's configuration, not here.

/// Largest payload of one output frame, in bytes. Also a channel's turn at a link's writer.
pub const OUTPUT_FRAME_MAX: usize = 64 * 1024;

/// Largest payload of one input frame, in bytes.
pub const INPUT_FRAME_MAX: usize = 16 * 1024;

/// Input that a client may have sent and not yet seen applied, in bytes.
pub const INPUT_UNAPPLIED_MAX: u64 = 1024 * 1024;

/// Largest keyframe, all its frames together, in bytes.
pub const KEYFRAME_MAX: usize = 1024 * 1024;

/// Largest last screen that a bridge hands over at its end, in bytes.
pub const LAST_SCREEN_MAX: usize = 64 * 1024;

/// Smallest output window that a client may ask for, in bytes.
pub const WINDOW_MIN: u32 = 64 * 1024;

/// The output window of a client that asks for none, in bytes.
pub const WINDOW_DEFAULT: u32 = 1024 * 1024;

/// Largest output window that a client may ask for, in bytes.
pub const WINDOW_MAX: u32 = 4 * 1024 * 1024;

/// Largest control message, in bytes of JSON.
pub const CONTROL_MAX: usize = 16 * 1024;

/// Largest control message that carries a program, its environment or its secrets, in bytes of
/// JSON: `hello`, `welcome`, `secrets`, and the bridge's last screen.
pub const CONTROL_LARGE_MAX: usize = 256 * 1024;

/// Control messages a second that a peer may send before it is cut off, averaged over ten seconds.
pub const CONTROL_PER_SECOND: u32 = 50;

/// How long a socket may take to authenticate and say `attach` or `hello`, in seconds.
pub const FIRST_MESSAGE_SECONDS: u64 = 10;

/// Largest `attach`, in bytes of JSON.
pub const ATTACH_MAX: usize = 4 * 1024;

/// Input streams whose positions a bridge keeps.
pub const INPUT_STREAMS_KEPT: usize = 64;

/// WebSocket pings of the gateway, to each leg: every so many seconds, ± 10 %.
pub const PING_SECONDS: u64 = 20;

/// An end that has heard nothing for so many seconds takes its peer for dead.
pub const SILENCE_SECONDS: u64 = 60;

/// A small acknowledgement (kinds 3 and 4) rides along with the next message its sender writes
/// once it has waited this long, in milliseconds, so that typing does not double the messages.
pub const LAZY_RIDE_MILLIS: u64 = 400;

/// A small acknowledgement that found nothing to ride on goes out alone after so many
/// milliseconds. A quarter of the window goes out at once.
pub const LAZY_ALONE_MILLIS: u64 = 1000;

/// Largest JSON Web Token that is looked at, in bytes (it is refused unread beyond).
pub const TOKEN_MAX: usize = 8 * 1024;

/// Smallest and largest terminal edge, in cells.
pub const EDGE_RANGE: std::ops::RangeInclusive<u16> = 1..=1000;

/// The longest `detail` of an exit status, in bytes.
pub const EXIT_DETAIL_MAX: usize = 2 * 1024;

/// The longest text of one `log` message, in bytes.
pub const LOG_TEXT_MAX: usize = 4 * 1024;
