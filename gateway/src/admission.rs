//! Admission: says yes or no to whoever wants a connection, a session, a start or an attachment,
//! and counts each yes until its permit is dropped. Knows no request, no clock and no task.
//!
//! A user is known by a key: one text for each pair of issuer and subject, made by the caller.
//! Checking and taking are one step: of two callers at the last place one gets it. A permit gives
//! its place back when it is dropped, whatever happens to its holder.

mod denied;
mod line;
mod start_queue;
mod starts;
mod tally;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use shellgate_protocol::SessionId;

use crate::config::{Config, Network};

pub use denied::{Denied, Reason, Scope};
pub use start_queue::{Place, StartQueue, Ticket};
pub use starts::StartPermit;

use starts::Starts;
use tally::{Share, Tally, Total};

/// Descriptors that a session takes: the socket that its bridge dials, the link, and its task's.
const DESCRIPTORS_PER_SESSION: u32 = 3;

/// Connections that operators' listener has of its own: however full the gateway is, it says so.
const OPERATOR_CONNECTIONS: u32 = 64;

/// Calls of tasks over a network that are not links yet, at the same time, beside two of each session
/// that there may be: whoever would take all places from the others' bridges needs a quarter of all
/// tasks for it. Each costs a handshake and a descriptor.
const CALLS: u32 = 256;

/// The same of one address, where each task has its own: a bridge makes one call at a time, and what
/// it runs may call, too.
const CALLS_PER_ADDRESS: u32 = 8;

/// Event streams that one user may follow at the same time. Each holds a connection.
const STREAMS_PER_USER: u32 = 64;

/// Whose something is: the user's key, one spelling for each pair of issuer and subject.
type UserKey = Arc<str>;

/// How much of everything there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionLimits {
    /// Sessions of one user.
    pub sessions_per_user: u32,
    /// Sessions of all users.
    pub sessions: u32,
    /// Starts of one user in a minute.
    pub starts_per_minute_per_user: u32,
    /// Attachments to one session.
    pub attachments_per_session: u32,
    /// Sockets of one address, or /64 of IPv6, that have not authenticated.
    pub unauthenticated_per_address: u32,
    /// Connections on the public listener.
    pub connections: u32,
    /// Descriptors for connections and sessions together.
    pub descriptors: u32,
}

impl AdmissionLimits {
    /// The configured limits, in a process that may have so many descriptors (`RLIMIT_NOFILE`).
    #[must_use]
    pub fn new(config: &Config, descriptors: u64) -> Self {
        let reserve = u64::from(config.limits.descriptor_reserve);
        Self {
            sessions_per_user: config.limits.sessions_per_user,
            sessions: config.limits.sessions,
            starts_per_minute_per_user: config.limits.starts_per_minute_per_user,
            attachments_per_session: config.limits.attachments_per_session,
            unauthenticated_per_address: config.listen.unauthenticated_per_address,
            connections: config.listen.max_connections,
            descriptors: u32::try_from(descriptors.saturating_sub(reserve)).unwrap_or(u32::MAX),
        }
    }
}

/// Says yes or no. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct Admission {
    descriptors: Arc<Total>,
    connections: Arc<Total>,
    operators: Arc<Total>,
    peers: Arc<Total>,
    calls: Arc<Total>,
    calls_of: Arc<Tally<IpAddr>>,
    sessions: Arc<Total>,
    sessions_of: Arc<Tally<UserKey>>,
    attachments_of: Arc<Tally<SessionId>>,
    streams_of: Arc<Tally<UserKey>>,
    sockets_of: Arc<Tally<Network>>,
    starts: Arc<Starts>,
}

/// A place on a listener, held by an accepted connection.
#[derive(Debug)]
pub struct ConnectionPermit {
    _connection: Share,
    _descriptor: Share,
}

/// A place for a bridge's call beyond the one link that its session has a place for.
#[derive(Debug)]
pub struct DialPermit {
    _descriptor: Share,
    /// Over a network: among all such calls, and those of its address.
    _call: Option<(Share, Option<tally::Held<IpAddr>>)>,
}

/// A place of an address, held by a socket until it has authenticated.
#[derive(Debug)]
pub struct SocketPermit {
    _socket: tally::Held<Network>,
}

/// A right to have a session, held until its task is gone.
#[derive(Debug)]
pub struct SessionPermit {
    _session: Share,
    _descriptors: Share,
    _of_user: tally::Held<UserKey>,
}

/// A right to be attached to a session.
#[derive(Debug)]
pub struct AttachmentPermit {
    _attachment: tally::Held<SessionId>,
}

/// A right to follow a session's events.
#[derive(Debug)]
pub struct StreamPermit {
    _stream: tally::Held<UserKey>,
}

/// What is held now, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Connections on the public listener.
    pub connections: u32,
    /// Sessions of all users.
    pub sessions: u32,
    /// Descriptors of connections and sessions, as estimated.
    pub descriptors: u32,
    /// Users who have a session.
    pub users: usize,
    /// Sessions that have an attachment.
    pub attached_sessions: usize,
    /// Addresses with a socket that has not authenticated.
    pub addresses: usize,
    /// Users with a start in the last minute.
    pub starters: usize,
}

impl Admission {
    /// Nobody holds anything yet.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            descriptors: Arc::new(Total::new(limits.descriptors)),
            connections: Arc::new(Total::new(limits.connections)),
            operators: Arc::new(Total::new(OPERATOR_CONNECTIONS)),
            peers: Arc::new(Total::new(limits.connections)),
            calls: Arc::new(Total::new(CALLS.saturating_add(limits.sessions.saturating_mul(2)))),
            calls_of: Arc::new(Tally::new(CALLS_PER_ADDRESS)),
            sessions: Arc::new(Total::new(limits.sessions)),
            sessions_of: Arc::new(Tally::new(limits.sessions_per_user)),
            attachments_of: Arc::new(Tally::new(limits.attachments_per_session)),
            streams_of: Arc::new(Tally::new(STREAMS_PER_USER)),
            sockets_of: Arc::new(Tally::new(limits.unauthenticated_per_address)),
            starts: Arc::new(Starts::new(limits.starts_per_minute_per_user)),
        }
    }

    /// For a connection that was just accepted on the public listener.
    pub fn take_connection(&self) -> Result<ConnectionPermit, Denied> {
        let full = || Denied::new(Reason::GatewayFull);
        let connection = Total::take(&self.connections, 1).ok_or_else(full)?;
        let descriptor = Total::take(&self.descriptors, 1).ok_or_else(full)?;
        Ok(ConnectionPermit { _connection: connection, _descriptor: descriptor })
    }

    /// For a connection that was just accepted on the operators' listener.
    pub fn take_operator_connection(&self) -> Result<ConnectionPermit, Denied> {
        let connection =
            Total::take(&self.operators, 1).ok_or_else(|| Denied::new(Reason::GatewayFull))?;
        let descriptor = Total::add(&self.descriptors, 1);
        Ok(ConnectionPermit { _connection: connection, _descriptor: descriptor })
    }

    /// For a connection that was just accepted on the other gateways' listener.
    pub fn take_peer_connection(&self) -> Result<ConnectionPermit, Denied> {
        let full = || Denied::new(Reason::GatewayFull);
        let connection = Total::take(&self.peers, 1).ok_or_else(full)?;
        let descriptor = Total::take(&self.descriptors, 1).ok_or_else(full)?;
        Ok(ConnectionPermit { _connection: connection, _descriptor: descriptor })
    }

    /// For a bridge that calls while the place that its session has for a link is taken.
    pub fn take_dial(&self) -> Result<DialPermit, Denied> {
        Total::take(&self.descriptors, 1)
            .map(|descriptor| DialPermit { _descriptor: descriptor, _call: None })
            .ok_or_else(|| Denied::new(Reason::GatewayFull))
    }

    /// For a connection that was just accepted on the tasks' port, from an address that counts for
    /// itself where there is one.
    pub fn take_call(&self, address: Option<IpAddr>) -> Result<DialPermit, Denied> {
        let full = || Denied::new(Reason::GatewayFull);
        let own = match address {
            // Each address: tasks share a /64.
            Some(address) => Some(
                Tally::take(&self.calls_of, address)
                    .ok_or_else(|| Denied::new(Reason::TooManySockets))?,
            ),
            None => None,
        };
        let call = Total::take(&self.calls, 1).ok_or_else(full)?;
        let descriptor = Total::take(&self.descriptors, 1).ok_or_else(full)?;
        Ok(DialPermit { _descriptor: descriptor, _call: Some((call, own)) })
    }

    /// For a user who wants to follow a session's events.
    pub fn take_stream(&self, user: &str) -> Result<StreamPermit, Denied> {
        Tally::take(&self.streams_of, user.into())
            .map(|stream| StreamPermit { _stream: stream })
            .ok_or_else(|| Denied::new(Reason::TooManyStreams))
    }

    /// For a socket whose client's address is known, until it has authenticated.
    pub fn take_socket(&self, address: IpAddr) -> Result<SocketPermit, Denied> {
        let subscriber = Network::of_one_subscriber(address);
        Tally::take(&self.sockets_of, subscriber)
            .map(|socket| SocketPermit { _socket: socket })
            .ok_or_else(|| Denied::new(Reason::TooManySockets))
    }

    /// For a new session.
    pub fn take_session(&self, user: &str) -> Result<SessionPermit, Denied> {
        let of_user = Tally::take(&self.sessions_of, user.into())
            .ok_or_else(|| Denied::new(Reason::TooManySessions))?;
        let full = || Denied::new(Reason::GatewayFull);
        let session = Total::take(&self.sessions, 1).ok_or_else(full)?;
        let descriptors =
            Total::take(&self.descriptors, DESCRIPTORS_PER_SESSION).ok_or_else(full)?;
        Ok(SessionPermit { _session: session, _descriptors: descriptors, _of_user: of_user })
    }

    /// For a session that is there already, from before this gateway's start: counted, not refused.
    #[must_use]
    pub fn adopt_session(&self, user: &str) -> SessionPermit {
        SessionPermit {
            _session: Total::add(&self.sessions, 1),
            _descriptors: Total::add(&self.descriptors, DESCRIPTORS_PER_SESSION),
            _of_user: Tally::add(&self.sessions_of, user.into()),
        }
    }

    /// For a start. It counts for a minute once it is kept; dropped before, it never was.
    ///
    /// `now` is the time since any one moment, the same in all calls; it never goes back.
    pub fn take_start(&self, user: &str, now: Duration) -> Result<StartPermit, Denied> {
        Starts::take(&self.starts, user, now)
    }

    /// For a client that wants to be attached.
    pub fn take_attachment(&self, session: SessionId) -> Result<AttachmentPermit, Denied> {
        Tally::take(&self.attachments_of, session)
            .map(|attachment| AttachmentPermit { _attachment: attachment })
            .ok_or_else(|| Denied::new(Reason::TooManyAttachments))
    }

    /// What is held now.
    #[must_use]
    pub fn taken(&self) -> Taken {
        Taken {
            connections: self.connections.taken(),
            sessions: self.sessions.taken(),
            descriptors: self.descriptors.taken(),
            users: self.sessions_of.len(),
            attached_sessions: self.attachments_of.len(),
            addresses: self.sockets_of.len(),
            starters: self.starts.len(),
        }
    }
}
