//! What crosses Shellgate's wire: ids, frames, control messages, offsets, close codes.
//!
//! No I/O, no async, no clock and no cryptography: values in, values out. Everything that a
//! client, the gateway and the bridge must agree on lives here, and `vectors/*.json` holds golden
//! messages that the Rust and the TypeScript tests both read.
//!
//! In the order in which a connection meets them:

pub mod id;
pub mod limits;
pub mod object;
pub mod size;

pub mod enrolment;

pub mod client_leg;
pub mod link_leg;

pub mod credit;
pub mod frame;
pub mod offset;

pub mod close;

pub use client_leg::{FromClient, ToClient};
pub use close::CloseCode;
pub use frame::{Frame, Kind, LinkFrame};
pub use id::{ChannelNumber, ClientId, Dial, InputStream, Launch, SessionId};
pub use link_leg::{FromBridge, ToBridge};
pub use object::Object;
pub use offset::Offset;
pub use size::TerminalSize;

/// The WebSocket subprotocol of the client leg.
pub const CLIENT_SUBPROTOCOL: &str = "shellgate.v1";

/// The WebSocket subprotocol of the link leg.
pub const LINK_SUBPROTOCOL: &str = "shellgate.link.v1";

/// What stands before a ticket among the subprotocols that a browser offers.
pub const TICKET_SUBPROTOCOL_PREFIX: &str = "ticket.";

/// The header in which a bridge's first dial carries its enrolment token.
pub const INTERNAL_TOKEN_HEADER: &str = "x-internal-token";
