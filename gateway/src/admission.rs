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

    /// For a bridge that calls while the place that its session has for a link is taken.
    pub fn take_dial(&self) -> Result<DialPermit, Denied> {
        Total::take(&self.descriptors, 1)
            .map(|descriptor| DialPermit { _descriptor: descriptor })
            .ok_or_else(|| Denied::new(Reason::GatewayFull))
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::Ipv6Addr;

    use proptest::prelude::*;

    use super::*;

    const LIMITS: AdmissionLimits = AdmissionLimits {
        sessions_per_user: 2,
        sessions: 4,
        starts_per_minute_per_user: 3,
        attachments_per_session: 2,
        unauthenticated_per_address: 2,
        connections: 6,
        descriptors: 20,
    };

    /// A held permit: what it is and whose.
    #[derive(Debug)]
    enum Permit {
        Connection(#[allow(dead_code)] ConnectionPermit),
        Socket(u8, #[allow(dead_code)] SocketPermit),
        Session(u8, #[allow(dead_code)] SessionPermit),
        Attachment(u8, #[allow(dead_code)] AttachmentPermit),
    }

    #[derive(Debug, Clone)]
    enum Step {
        Connection,
        Socket(u8),
        Session(u8),
        Adopt(u8),
        Attachment(u8),
        Drop(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            Just(Step::Connection),
            (0u8..3).prop_map(Step::Socket),
            (0u8..3).prop_map(Step::Session),
            (0u8..3).prop_map(Step::Adopt),
            (0u8..3).prop_map(Step::Attachment),
            any::<prop::sample::Index>().prop_map(Step::Drop),
            any::<prop::sample::Index>().prop_map(Step::Drop),
        ]
    }

    fn user(n: u8) -> String {
        format!("user {n}")
    }

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    /// What a list of permits amounts to.
    #[derive(Debug, Default, PartialEq)]
    struct Counted {
        connections: u32,
        sockets: HashMap<u8, u32>,
        sessions: HashMap<u8, u32>,
        attachments: HashMap<u8, u32>,
    }

    impl Counted {
        fn of(permits: &[Permit]) -> Self {
            let mut counted = Self::default();
            for permit in permits {
                match permit {
                    Permit::Connection(_) => counted.connections += 1,
                    Permit::Socket(n, _) => *counted.sockets.entry(*n).or_default() += 1,
                    Permit::Session(n, _) => *counted.sessions.entry(*n).or_default() += 1,
                    Permit::Attachment(n, _) => *counted.attachments.entry(*n).or_default() += 1,
                }
            }
            counted
        }

        fn sessions(&self) -> u32 {
            self.sessions.values().sum()
        }

        fn descriptors(&self) -> u32 {
            self.connections + self.sessions() * DESCRIPTORS_PER_SESSION
        }
    }

    fn at(of: &HashMap<u8, u32>, key: u8) -> u32 {
        of.get(&key).copied().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn after_any_takes_and_drops_the_counts_are_exact_and_a_no_is_never_wrong(
            steps in proptest::collection::vec(step(), 1..200)
        ) {
            let admission = Admission::new(LIMITS);
            let sessions: Vec<_> = (0..3).map(|_| SessionId::generate()).collect();
            let mut held = Vec::new();
            for step in steps {
                let before = Counted::of(&held);
                let room = |places: u32| before.descriptors() + places <= LIMITS.descriptors;
                match step {
                    Step::Connection => {
                        let yes = before.connections < LIMITS.connections && room(1);
                        let answer = admission.take_connection();
                        prop_assert_eq!(answer.is_ok(), yes);
                        held.extend(answer.ok().map(Permit::Connection));
                    }
                    Step::Socket(n) => {
                        let yes = at(&before.sockets, n) < LIMITS.unauthenticated_per_address;
                        let answer = admission.take_socket(address(n));
                        prop_assert_eq!(answer.is_ok(), yes);
                        held.extend(answer.ok().map(|permit| Permit::Socket(n, permit)));
                    }
                    Step::Session(n) => {
                        let own = at(&before.sessions, n) < LIMITS.sessions_per_user;
                        let all = before.sessions() < LIMITS.sessions && room(DESCRIPTORS_PER_SESSION);
                        match admission.take_session(&user(n)) {
                            Ok(permit) => {
                                prop_assert!(own && all);
                                held.push(Permit::Session(n, permit));
                            }
                            Err(denied) => {
                                let owed =
                                    if own { Reason::GatewayFull } else { Reason::TooManySessions };
                                prop_assert_eq!(denied.reason, owed);
                                prop_assert!(!(own && all));
                            }
                        }
                    }
                    Step::Adopt(n) => {
                        held.push(Permit::Session(n, admission.adopt_session(&user(n))));
                    }
                    Step::Attachment(n) => {
                        let yes = at(&before.attachments, n) < LIMITS.attachments_per_session;
                        let answer = admission.take_attachment(sessions[usize::from(n)]);
                        prop_assert_eq!(answer.is_ok(), yes);
                        held.extend(answer.ok().map(|permit| Permit::Attachment(n, permit)));
                    }
                    Step::Drop(index) if !held.is_empty() => {
                        held.swap_remove(index.index(held.len()));
                    }
                    Step::Drop(_) => {}
                }
                let now = Counted::of(&held);
                prop_assert_eq!(admission.taken(), Taken {
                    connections: now.connections,
                    sessions: now.sessions(),
                    descriptors: now.descriptors(),
                    users: now.sessions.len(),
                    attached_sessions: now.attachments.len(),
                    addresses: now.sockets.len(),
                    starters: 0,
                });
            }
            drop(held);
            prop_assert_eq!(admission.taken(), Taken::default());
        }
    }

    #[test]
    fn of_many_who_come_at_once_as_many_get_in_as_there_are_places() {
        let limits = AdmissionLimits { descriptors: 1_000, ..LIMITS };
        let admission = Admission::new(limits);
        for _ in 0..50 {
            let gate = std::sync::Barrier::new(8);
            let permits: Vec<_> = std::thread::scope(|scope| {
                let callers: Vec<_> = (0..8)
                    .map(|n| {
                        let (admission, gate) = (&admission, &gate);
                        scope.spawn(move || {
                            gate.wait();
                            (admission.take_session(&user(n % 3)), admission.take_connection())
                        })
                    })
                    .collect();
                callers.into_iter().map(|caller| caller.join().unwrap()).collect()
            });
            let count = |yes: usize, limit: u32| assert_eq!(yes, limit as usize);
            count(permits.iter().filter(|(session, _)| session.is_ok()).count(), limits.sessions);
            count(permits.iter().filter(|(_, other)| other.is_ok()).count(), limits.connections);
            drop(permits);
            assert_eq!(admission.taken(), Taken::default());
        }
    }

    #[test]
    fn operators_come_in_however_full_it_is_and_are_not_without_number_either() {
        let admission =
            Admission::new(AdmissionLimits { connections: 0, descriptors: 0, ..LIMITS });
        assert!(admission.take_connection().is_err());
        let held: Vec<_> = (0..OPERATOR_CONNECTIONS)
            .map(|_| admission.take_operator_connection().expect("a place"))
            .collect();
        assert!(admission.take_operator_connection().is_err());
        drop(held);
        assert_eq!(admission.taken(), Taken::default());
    }

    #[test]
    fn a_call_beyond_a_sessions_link_takes_a_place_that_others_may_have() {
        let limits = AdmissionLimits { descriptors: DESCRIPTORS_PER_SESSION + 1, ..LIMITS };
        let admission = Admission::new(limits);
        let _session = admission.take_session("ada").expect("a session");
        let dial = admission.take_dial().expect("a place");
        assert_eq!(admission.take_dial().unwrap_err().reason, Reason::GatewayFull);
        assert!(admission.take_connection().is_err());
        drop(dial);
        assert!(admission.take_connection().is_ok());
    }

    #[test]
    fn a_user_follows_so_many_streams_and_no_more() {
        let admission = Admission::new(LIMITS);
        let held: Vec<_> = (0..100).filter_map(|_| admission.take_stream("ada").ok()).collect();
        assert_eq!(held.len(), STREAMS_PER_USER as usize);
        assert!(admission.take_stream("bob").is_ok());
        drop(held);
        assert!(admission.take_stream("ada").is_ok());
    }

    #[test]
    fn a_slash_64_counts_as_one_address_and_leaves_nothing_behind() {
        let admission = Admission::new(LIMITS);
        let from =
            |low: u64| IpAddr::from(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(low)));
        let held: Vec<_> =
            (0..1000).filter_map(|low| admission.take_socket(from(low)).ok()).collect();
        assert_eq!((held.len(), admission.taken().addresses), (2, 1));
        let denied = admission.take_socket(from(7)).unwrap_err();
        assert_eq!((denied.code, denied.scope), ("too_many_sockets", Scope::Gateway));
        drop(held);
        assert_eq!(admission.taken(), Taken::default());
    }

    #[test]
    fn a_permit_goes_wherever_its_holder_goes() {
        fn is_free<T: Send + Sync + 'static>() {}
        is_free::<SessionPermit>();
        is_free::<StartPermit>();
        is_free::<AttachmentPermit>();
        is_free::<ConnectionPermit>();
        is_free::<SocketPermit>();
        is_free::<Ticket>();
        is_free::<Admission>();
    }

    #[test]
    fn descriptors_that_the_process_has_not_got_are_not_given_out() {
        let config = Config::development("state".as_ref(), "bin".as_ref());
        assert_eq!(AdmissionLimits::new(&config, 1024).descriptors, 1024 - 128);
        assert_eq!(AdmissionLimits::new(&config, 5).descriptors, 0);
        assert_eq!(AdmissionLimits::new(&config, u64::MAX).descriptors, u32::MAX);
        let admission = Admission::new(AdmissionLimits::new(&config, 5));
        assert_eq!(admission.take_connection().unwrap_err().reason, Reason::GatewayFull);
        assert_eq!(admission.take_session("ada").unwrap_err().code, "gateway_full");
        assert_eq!(admission.taken(), Taken::default());
    }
}
